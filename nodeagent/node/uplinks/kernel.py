# SPDX-License-Identifier: Apache-2.0
"""Ask the kernel for this network namespace's interfaces, and for the routes of the tables that rules reach.

Effects: rtnetlink sockets. Needs no privilege. Guarantees: at most ``MOST_INTERFACES``, ``MOST_TABLES`` tables and
``MOST_ROUTES`` routes of each are taken; raises OSError when the kernel refuses.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final

from nodeagent.node.netlink import listing
from nodeagent.node.uplinks.interfaces import IFINFOMSG, Interfaces, parse_interface
from nodeagent.node.uplinks.routes import RTA_OIF, RTA_TABLE, RTMSG, VRF, Route, parse_route, parse_rule, rule_mark

MOST_INTERFACES: Final = 8192
MOST_TABLES: Final = 256
MOST_ROUTES: Final = 10_000
"""Of one table and family. The kernel lists short prefixes first where it lists by prefix, the default before
all."""

MOST_MARKS: Final = 8
"""Marks of a firewall that are asked for, flow by flow."""

MOST_CARDS: Final = 16
"""Interfaces that are looked for by themselves."""

_RTM_GETLINK, _RTM_GETROUTE, _RTM_GETRULE = 18, 26, 34
_MAIN: Final = 254
_LOCAL: Final = 255
_SKIP_STATISTICS: Final = struct.pack("=HHI", 8, 29, 8)  # IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS


@dataclass(frozen=True, slots=True)
class Routes:
    """What the tables hold."""

    main: tuple[Route, ...] = ()
    """Of the main table."""
    others: tuple[Route, ...] = ()
    cut: bool = False
    """Some were left out."""

    @property
    def all(self) -> tuple[Route, ...]:
        return self.main + self.others


def read_interfaces() -> Interfaces:
    """Every interface of this network namespace. Raises OSError."""
    bodies = listing(_RTM_GETLINK, IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0) + _SKIP_STATISTICS)
    found = (parse_interface(body) for body in bodies)
    return Interfaces(islice((interface for interface in found if interface is not None), MOST_INTERFACES))


def read_tables(interfaces: Interfaces) -> frozenset[int]:
    """Numbers of the tables that a rule leads to, the main one always among them. Raises OSError."""
    found = {_MAIN}
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):  # no policy routing, or no IPv6, in this kernel: the main table is all there is
            for body in listing(_RTM_GETRULE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                table = parse_rule(body)
                if table == VRF:
                    found.update(_of_vrfs(interfaces))
                elif table is not None and len(found) < MOST_TABLES:
                    found.add(table)
    return frozenset(found - {_LOCAL, 0})


def read_marks() -> tuple[int, ...]:
    """The marks that rules follow, each once. Raises no OSError: without rules there are none."""
    found: dict[int, None] = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            for body in listing(_RTM_GETRULE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)):
                if len(found) >= MOST_MARKS:
                    break
                if mark := rule_mark(body):
                    found[mark] = None
    return tuple(found)


def _of_vrfs(interfaces: Interfaces) -> Iterator[int]:
    tables = (interface.table for interface in interfaces.by_index.values() if interface.table)
    return islice(tables, MOST_TABLES)


def read_routes(tables: frozenset[int], cards: Iterable[int] = ()) -> Routes:
    """Ways to other machines in ``tables``. ``cards``: indices of interfaces for which one route is looked for
    where a table has more than are taken. Raises OSError."""
    found: dict[bool, list[Route]] = {True: [], False: []}
    cut: list[tuple[int, socket.AddressFamily]] = []
    for table in sorted(tables):
        for family in (socket.AF_INET, socket.AF_INET6):
            for number, body in enumerate(_routes(table, family)):
                if number >= MOST_ROUTES:
                    cut.append((table, family))
                    break
                found[table == _MAIN] += parse_route(body)
    seen = {route.interface for routes in found.values() for route in routes}
    for card in islice((card for card in cards if card not in seen), MOST_CARDS if cut else 0):
        for table, family in cut:
            found[table == _MAIN] += islice(_by_card(table, family, card), 1)
    return Routes(tuple(found[True]), tuple(found[False]), bool(cut))


def _by_card(table: int, family: int, card: int) -> Iterator[Route]:
    for body in _routes(table, family, struct.pack("=HHI", 8, RTA_OIF, card)):
        yield from parse_route(body)


def _routes(table: int, family: int, chosen: bytes = b"") -> Iterator[bytes]:
    named = struct.pack("=HHI", 8, RTA_TABLE, table) + chosen
    request = RTMSG.pack(family, 0, 0, 0, table if table < 256 else 0, 0, 0, 0, 0) + named
    try:
        yield from listing(_RTM_GETROUTE, request, strict=True)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP):  # a rule may name no table
            raise
