# SPDX-License-Identifier: Apache-2.0
"""Routes and rules as rtnetlink lists them. Pure.

Enters: bodies of rtnetlink's answers. Leaves: ``Route`` values, and the tables that rules reach.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nodeagent.node.netlink import attributes

RTMSG: Final = struct.Struct("=BBBBBBBBI")
"""family, length of destination, of source, TOS, table, protocol, scope, type, flags."""
_FIB_RULE: Final = struct.Struct("=BBBBBBBBI")
RTA_DST, RTA_SRC, RTA_IIF, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 2, 3, 4, 5, 6
_RTA_MULTIPATH, RTA_TABLE, RTA_MARK, _RTA_VIA = 9, 15, 16, 18
_NEXT_HOP: Final = struct.Struct("=HBBi")  # rtnexthop
_FRA_MARK, _FRA_TABLE, _FRA_L3MDEV = 10, 15, 19
_TO_TABLE: Final = 1
UNICAST: Final = 1
_DEAD: Final = 0x1 | 0x10
"""RTNH_F_DEAD and RTNH_F_LINKDOWN: the next hop's interface cannot be used."""
_HOST: Final[dict[int, int]] = {socket.AF_INET: 32, socket.AF_INET6: 128}
VRF: Final = -1
"""Stands for the tables of all VRFs."""


@dataclass(frozen=True, slots=True)
class Route:
    """One way that a table knows; a route of several next hops is several."""

    family: int
    length: int
    """Bits of the destination's prefix; 0: default."""
    interface: int
    """Index."""
    gateway: bytes = b""
    metric: int = 0

    @property
    def default(self) -> bool:
        return self.length == 0

    @property
    def to_a_host(self) -> bool:
        return self.length == _HOST.get(self.family)


def parse_route(body: bytes) -> Iterator[Route]:
    """The ways of a RTM_NEWROUTE to other machines; none for local, broadcast, link-local and dead routes."""
    if len(body) < RTMSG.size:
        return
    family, length, _, _, _, _, _, kind, flags = RTMSG.unpack_from(body)
    if kind != UNICAST or flags & _DEAD or family not in _HOST:
        return
    values = attributes(body[RTMSG.size :])
    if _link_local(values.get(RTA_DST, b"")):
        return
    metric = int.from_bytes(values.get(RTA_PRIORITY, b""), sys.byteorder)
    for index, hop in _hops(values):
        yield Route(family, length, index, hop.get(RTA_GATEWAY) or hop.get(_RTA_VIA, b"")[2:], metric)


def _hops(values: dict[int, bytes]) -> Iterator[tuple[int, dict[int, bytes]]]:
    """Interface and attributes of each next hop."""
    if RTA_OIF in values:
        yield int.from_bytes(values[RTA_OIF], sys.byteorder), values
    several, offset = values.get(_RTA_MULTIPATH, b""), 0
    while offset + _NEXT_HOP.size <= len(several):
        length, flags, _, index = _NEXT_HOP.unpack_from(several, offset)
        if length < _NEXT_HOP.size:
            return
        if not flags & _DEAD:
            yield index, attributes(several[offset + _NEXT_HOP.size : offset + length])
        offset += (length + 3) & ~3


def _link_local(destination: bytes) -> bool:
    if len(destination) == 16:
        return destination[0] == 0xFF or (destination[0] == 0xFE and destination[1] & 0xC0 == 0x80)
    return destination[:2] == b"\xa9\xfe" or (len(destination) == 4 and destination[0] >= 224)


def parse_rule(body: bytes) -> int | None:
    """The table that a RTM_NEWRULE leads to, VRF for those of all VRFs; None when it leads to none."""
    if len(body) < _FIB_RULE.size:
        return None
    _, _, _, _, table, _, _, action, _ = _FIB_RULE.unpack_from(body)
    values = attributes(body[_FIB_RULE.size :])
    if action != _TO_TABLE:
        return None
    if any(values.get(_FRA_L3MDEV, b"")):
        return VRF
    return int.from_bytes(values[_FRA_TABLE], sys.byteorder) if _FRA_TABLE in values else table


def rule_mark(body: bytes) -> int:
    """The firewall's mark that a RTM_NEWRULE asks for, to lead to a table; 0: none."""
    if len(body) < _FIB_RULE.size or _FIB_RULE.unpack_from(body)[7] != _TO_TABLE:
        return 0
    return int.from_bytes(attributes(body[_FIB_RULE.size :]).get(_FRA_MARK, b""), sys.byteorder)


def default_interface(routes: Iterable[Route], usable: frozenset[int]) -> int | None:
    """Index of the ``usable`` interface with the default route of lowest metric, IPv4 first."""
    found = [
        (route.family, route.metric, route.interface)
        for route in routes
        if route.default and route.interface in usable
    ]
    return min(found)[2] if found else None
