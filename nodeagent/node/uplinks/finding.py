# SPDX-License-Identifier: Apache-2.0
"""Find the node's uplinks: those that the operator names, else those that the kernel's routes use.

Enters: names, a capacity, the kernel. Leaves: a ``Link`` with its ``others``. Raises LinkError when a name is not
an interface here, OSError when the kernel refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Final

import structlog

from nodeagent.node.link import Link, find_link
from nodeagent.node.locality import node_addresses
from nodeagent.node.uplinks.discovery import uplinks
from nodeagent.node.uplinks.interfaces import Interfaces, carriers
from nodeagent.node.uplinks.kernel import read_interfaces, read_marks, read_routes, read_tables

_SEPARATOR: Final = ","
_log = structlog.get_logger()


def named(text: str | None) -> tuple[str, ...]:
    """The interfaces of ``eth0,eth1``, each once."""
    return tuple(dict.fromkeys(name for name in (text or "").split(_SEPARATOR) if name))


def find_uplinks(
    text: str | None, capacity: float | None, *, one: Callable[[str | None, float | None], Link] = find_link
) -> Link:
    """The uplinks as of now, the default route's first. ``one`` finds a single link by its interface's name."""
    known = read_interfaces()
    routes = read_routes(read_tables(known), (index for index, one in known.by_index.items() if not one.kind))
    if routes.cut:
        _say_cut()
    found = uplinks(known, routes, node_addresses())
    wanted = named(text)
    # The default route's of those named, else the first one named: what cannot be told apart is booked there.
    chosen = sorted(wanted, key=lambda name: name != found[0]) if wanted and found else list(wanted or found)
    if not chosen:
        return replace(one(None, capacity), known=known)
    links = [describe(one(name, capacity), known) for name in chosen]
    elsewhere = frozenset(found) - frozenset(chosen)
    return replace(links[0], others=tuple(links[1:]), known=known, elsewhere=elsewhere, marks=read_marks())


@cache
def _say_cut() -> None:
    """Once: it stays so."""
    _log.info("more routes than are read: a virtual interface that only the rest use must be named with --uplink")


def describe(link: Link, known: Interfaces) -> Link:
    """``link`` with what carries it, and whose counters tell of it."""
    interface = known.by_name.get(link.interface or "")
    if interface is None:
        return link
    switch = interface.kind in ("bridge", "openvswitch")
    ports = tuple(port.name for port in known.ports(interface)) if switch else ()
    return replace(
        link,
        carriers=carriers(interface.name, known),
        # A switch's own counters hold only what the node itself sends and takes through it.
        counted_by=ports,
        ethernet=interface.ethernet or interface.kind == "loopback",
    )
