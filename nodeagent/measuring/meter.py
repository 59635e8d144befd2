# SPDX-License-Identifier: Apache-2.0
"""One reading from start to end: give the source this node's addresses, read it, and compute the footprint.

Enters: an opened flow source, this node's pods, a way to find the link. Leaves: a ``Measurement`` per reading.
Guarantees: what cannot be refreshed keeps its last value and is logged; the caller decides when to read.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from footprint.models import NodeFootprint
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.followers import Followers
from nodeagent.measuring.links import Links
from nodeagent.measuring.shares import BookedFlow
from nodeagent.node.capacity.links import LinkCapacities, LinkState, Load
from nodeagent.node.link import Link, LinkError, read_counters_of
from nodeagent.node.locality import locality, node_addresses
from nodeagent.node.pods import LocalPod
from nodeagent.node.tunnels import Tunnels, program_counters, read_tunnels
from nodeagent.node.uplinks.paths import Paths
from nodeagent.node.uplinks.watch import Watch
from nodeagent.sources.base import FlowSource, Locality, Reading

REFRESH: Final = 30.0
"""Seconds between reads of the node's own addresses, tunnels and links, which change with CNI and failover
only."""
_AT_LEAST: Final = 2.0
"""Seconds between two such reads that changed routes bring about: a router's may change all the time ..."""
_COST: Final = 50.0
"""... or, if that is more, so many times what the last one took."""

_log = structlog.get_logger()


class KnownPods(Protocol):
    """Whoever knows the pods of this node."""

    def changed(self) -> bool:
        """Whether the pods differ from those at the last call; True at the first call."""

    def living_here(self, node: frozenset[bytes]) -> Mapping[str, LocalPod]:
        """The pods by UID, as of the last call of ``changed``. ``node``: the packed addresses of this node."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The outcome of one reading."""

    reading: Reading
    footprint: NodeFootprint | None
    """None while there are too few readings for a rate."""
    pods: Mapping[str, LocalPod]
    """By UID, as the source knew them."""
    pods_refreshed: bool
    """Whether the source got the pods again before this reading."""
    link: Link


class Meter:
    """Keeps what lasts from one reading to the next. Raises LinkError when the link named does not exist."""

    def __init__(
        self,
        source: FlowSource,
        *,
        pods: KnownPods,
        aggregator: Aggregator,
        find_link: Callable[[], Link],
        capacities: LinkCapacities | None = None,
    ) -> None:
        self._source, self._known, self._find_link = source, pods, find_link
        self._capacities = capacities
        self.aggregator = aggregator
        self.links = Links()
        self._link = find_link()
        self._paths, self._watch = Paths(), Watch()
        self._addresses: frozenset[bytes] = frozenset()
        self._tunnels, self._followers = Tunnels(), Followers()
        self._refreshed_at = -math.inf
        self._pause = _AT_LEAST
        self._pods: Mapping[str, LocalPod] = {}

    def measure(self, now: float) -> Measurement:
        """Read at monotonic ``now``. Raises SourceUnavailable."""
        refreshed = self._set_locality(now)
        before = program_counters(self._tunnels.programs)
        reading = self._source.read(now)
        self._follow(reading, before)
        counters = read_counters_of(self._link.all)
        owners, links = self.aggregator, self.links
        footprint = owners.advance(reading, self._pods, self._link.capacity, scale=links.truth.scale)
        flows = self._booked(reading)
        links.advance(self._link, counters, owners, flows, reading.taken_at)
        states = self._states(flows, now)
        told = links.told(footprint, states) if footprint is not None else None
        if told is not None and self._capacities is not None and self._capacities.reasons:
            told = replace(told, bad=tuple(sorted({*told.bad, *self._capacities.reasons})))
        return Measurement(reading, told, self._pods, refreshed, self._link)

    def _states(self, flows: list[BookedFlow], now: float) -> Mapping[str, LinkState]:
        """What each uplink can carry, and whether it is full; nothing where nobody follows that."""
        if self._capacities is None:
            return {}
        count = Counter(flow.uplink for flow in flows)
        loads = {
            link.interface: Load(self.links.elephants(link.interface), count[link.interface], link.carriers)
            for link in self._link.all
            if link.interface is not None
        }
        return self._capacities.advance(loads, now)

    def _booked(self, reading: Reading) -> list[BookedFlow]:
        """The elephants of each owner with their uplinks."""
        self._paths.begin()
        flows = [(flow, self._paths.ways(flow)) for flow in reading.elephants if not flow.local]
        return [
            BookedFlow(owner, uplink, flow.rate, tuple(instead))
            for flow, (uplink, *instead) in flows
            for owner in dict.fromkeys(flow.owners)
        ]

    def _set_locality(self, now: float) -> bool:
        since = now - self._refreshed_at
        refresh = since >= REFRESH or (since >= self._pause and self._routes_changed())
        if refresh:
            self._refreshed_at = now
            self._refresh()
        if not (self._known.changed() or refresh):
            return False
        self._pods = self._known.living_here(self._addresses)
        found = self._tell_source()
        self._paths.update(self._link, self._addresses, found.pods)
        return True

    def _tell_source(self) -> Locality:
        carriers = self._tunnels.carriers | self._followers.carriers
        found = locality(self._pods.values(), self._addresses, carriers)
        self._source.set_locality(found)
        return found

    def _follow(self, reading: Reading, before: Mapping[str, tuple[int, int]]) -> None:
        """Find the tunnels that programs run. ``before``: their devices' counters just before the reading."""
        after = program_counters(self._tunnels.programs)
        devices = {name: (before[name], after[name]) for name in before.keys() & after.keys()}
        if self._followers.advance(reading.elephants, devices, self._addresses):
            self._tell_source()

    def _routes_changed(self) -> bool:
        names = {name for link in self._link.all for name in (link.interface, *link.carriers)}
        known = self._link.known.by_name
        return self._watch.changed({known[name].index for name in names if name in known})

    def _refresh(self) -> None:
        began = time.perf_counter()
        try:
            self._addresses = node_addresses()
            link = self._find_link()
        except (OSError, LinkError) as error:
            _log.warning("cannot read addresses or link, keeping the previous ones", error=str(error))
            return
        self._refresh_tunnels()
        if link != self._link:
            _log.info("links changed", uplinks=[one.interface for one in link.all], capacity=link.capacity.tx)
        self._link = link
        self._pause = max(_AT_LEAST, _COST * (time.perf_counter() - began))

    def _refresh_tunnels(self) -> None:
        try:
            tunnels = read_tunnels()
        except OSError as error:
            _log.warning("cannot read tunnels, keeping the previous ones", error=str(error))
            return
        if tunnels != self._tunnels:
            _log.info("tunnels changed", carriers=len(tunnels.carriers), programs=sorted(tunnels.programs))
            self._tunnels = tunnels
