# SPDX-License-Identifier: Apache-2.0
"""Which interfaces are the node's uplinks. Pure.

Enters: interfaces, the routes of the tables that rules reach, the node's addresses. Leaves: names of the uplinks,
the default route's first.

An uplink is an interface by which a route leaves the node: of hardware, and devices on top of it, any route does.
A veth, a tap, a bridge without hardware mostly lead to guests. They count where a route through them is the
default, or names a gateway that is not the node itself. Open vSwitch's ports count by a default route alone:
overlays have gateways behind them. Tunnels never count: what they send leaves by another interface.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from nodeagent.node.uplinks.interfaces import NOWHERE, Interface, Interfaces
from nodeagent.node.uplinks.kernel import Routes
from nodeagent.node.uplinks.routes import Route, default_interface

MOST_UPLINKS: Final = 16


def uplinks(known: Interfaces, routes: Routes, own: frozenset[bytes]) -> tuple[str, ...]:
    """Names of at most ``MOST_UPLINKS`` uplinks: first the default route's, then others with a default route, then
    the rest by name. ``own``: packed addresses of the node."""
    found: dict[int, bool] = {}
    for route in routes.all:
        interface = known.by_index.get(route.interface)
        if interface is not None and leads_out(interface, route, known, own):
            found[route.interface] = found.get(route.interface, False) or route.default
    first = _default(routes, frozenset(found))
    ordered = sorted(found, key=lambda i: (i != first, not found[i], known.by_index[i].name))
    return tuple(known.by_index[index].name for index in ordered[:MOST_UPLINKS])


def leads_out(interface: Interface, route: Route, known: Interfaces, own: frozenset[bytes]) -> bool:
    """Whether ``route`` makes ``interface`` an uplink."""
    if interface.kind in NOWHERE or interface.tunnel:
        return False
    if interface.kind == "openvswitch":
        return route.default
    if interface.for_guests or (interface.kind == "bridge" and not known.ports(interface)):
        return route.default or (bool(route.gateway) and route.gateway not in own)
    return True


def leads_in(interface: Interface, known: Interfaces) -> bool:
    """Whether what is sent by ``interface`` without a gateway stays on this machine."""
    return interface.for_guests or (interface.kind == "bridge" and not known.ports(interface))


def _default(routes: Routes, usable: frozenset[int]) -> int | None:
    """The main table's default route decides, else any table's, else the first of all."""
    for table in (routes.main, routes.others):
        found = default_interface(table, usable)
        if found is not None:
            return found
    return _lowest(usable)


def _lowest(indices: Iterable[int]) -> int | None:
    return min(indices, default=None)
