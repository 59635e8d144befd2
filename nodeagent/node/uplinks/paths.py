# SPDX-License-Identifier: Apache-2.0
"""The uplink that a flow uses, by the kernel's own route look-up.

Enters: the links as found, the node's and the pods' addresses, elephants. Leaves: an uplink's name. Guarantees: at
most ``MOST_KNOWN`` answers are remembered, and ``MOST_ASKED`` flows are asked for at a reading. Where the kernel
gives no answer, the flow is booked on the default route's uplink. A flow's answers are taken to come in by the
uplink by which it leaves. A firewall's marks are not known: where rules follow some, each is asked for, and a flow
may have several ways.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from footprint.models import LinkRates
from nodeagent.node.link import Link
from nodeagent.node.uplinks.discovery import leads_in
from nodeagent.node.uplinks.interfaces import Interface
from nodeagent.node.uplinks.lookup import Lookups, NextHop, packed
from nodeagent.sources.base import Elephant

MOST_KNOWN: Final = 4096
MOST_ASKED: Final = 64
_OF_IP: Final = frozenset({"ipip", "sit", "gre", "ip6tnl", "ip6gre"})
"""Tunnels whose routes name the other end as their gateway."""
_DEEPEST: Final = 4


Ways = tuple[str | None, ...]
"""Uplinks, the one of packets without a mark first; None: none of those that are measured."""


class Paths:
    """Answers of the kernel, remembered until something changes."""

    def __init__(self, lookups: Lookups | None = None) -> None:
        self._lookups = lookups or Lookups()
        self._link = Link(None, LinkRates())
        self._own: Container[bytes] = ()
        self._pods: Container[bytes] = ()
        self._known: dict[tuple[bytes, bytes], Ways] = {}
        self._asked = 0

    def update(self, link: Link, own: Container[bytes], pods: Container[bytes]) -> None:
        """Addresses are packed. Everything is asked anew."""
        self._link, self._own, self._pods = link, own, pods
        self._known.clear()

    def begin(self) -> None:
        """A reading begins."""
        self._asked = 0

    def of(self, flow: Elephant) -> str | None:
        """The uplink of ``flow`` if its packets have no mark; None: it uses none of those that are measured."""
        return self.ways(flow)[0]

    def ways(self, flow: Elephant) -> Ways:
        """The uplinks that ``flow`` may use: several where that depends on a mark."""
        source, destination = packed(flow.source), packed(flow.destination)
        if self._link.interface is None or not source or not destination:
            return (self._link.interface,)
        key = (source, destination)
        if key not in self._known:
            if self._asked >= MOST_ASKED:
                return (self._link.interface,)
            self._asked += 1
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[key] = self._resolved(source, destination)
        return self._known[key]

    def _resolved(self, source: bytes, destination: bytes) -> Ways:
        local, remote = (source, destination) if self._is_here(source, destination) else (destination, source)
        incoming = 0
        if local not in self._own:
            towards = self._lookups.way(local)
            incoming = towards.interface if towards is not None else 0
        found = []
        for mark in (0, *self._link.marks):
            hop = self._lookups.way(remote, local, incoming, mark) or self._lookups.way(remote, mark=mark)
            found.append(self._uplink(hop, _DEEPEST) if hop is not None else self._link.interface)
        return tuple(dict.fromkeys(found))

    def _is_here(self, source: bytes, destination: bytes) -> bool:
        """Whether the initiator is this side: ours, or not behind an uplink while the responder is not ours."""
        if source in self._own or source in self._pods:
            return True
        if destination in self._own or destination in self._pods:
            return False
        hop = self._lookups.way(source)
        return hop is None or self._name(hop) not in self._uplinks

    @property
    def _uplinks(self) -> Container[str]:
        return {link.interface for link in self._link.all if link.interface} | self._link.elsewhere

    def _name(self, hop: NextHop) -> str:
        interface = self._link.known.by_index.get(hop.interface)
        return interface.name if interface is not None else ""

    def _uplink(self, hop: NextHop, depth: int) -> str | None:
        interface = self._link.known.by_index.get(hop.interface)
        if interface is None or not depth:
            return self._link.interface
        if any(link.interface == interface.name for link in self._link.all):
            return interface.name
        if interface.name in self._link.elsewhere:
            return None
        if interface.tunnel:
            below = self._below(interface, hop)
            return self._uplink(below, depth - 1) if below is not None else self._link.interface
        inside = leads_in(interface, self._link.known) and not hop.gateway
        return None if inside else self._link.interface

    def _below(self, tunnel: Interface, hop: NextHop) -> NextHop | None:
        """The way of a tunnel's own packets."""
        if tunnel.below in self._link.known.by_index:
            return NextHop(tunnel.below)
        return self._lookups.way(hop.gateway) if tunnel.kind in _OF_IP and hop.gateway else None
