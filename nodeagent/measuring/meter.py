# SPDX-License-Identifier: Apache-2.0
"""One reading from start to end: give the source this node's addresses, read it, and compute the footprint.

Enters: an opened flow source, this node's pods, a way to find the link. Leaves: a ``Measurement`` per reading.
Guarantees: what cannot be refreshed keeps its last value and is logged; the caller decides when to read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from footprint.models import NodeFootprint
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.coverage import Coverage
from nodeagent.node.link import Link, LinkCounters, LinkError, read_counters
from nodeagent.node.locality import locality, node_addresses
from nodeagent.node.pods import LocalPod
from nodeagent.node.tunnels import Tunnels, read_tunnels
from nodeagent.sources.base import FlowSource, Reading

REFRESH: Final = 30.0
"""Seconds between reads of the node's own addresses, tunnels and link, which change with CNI and failover only."""

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
    counters: LinkCounters | None
    """The link's own; None when the link is not known."""


class Meter:
    """Keeps what lasts from one reading to the next. Raises LinkError when the link named does not exist."""

    def __init__(
        self,
        source: FlowSource,
        *,
        pods: KnownPods,
        aggregator: Aggregator,
        find_link: Callable[[], Link],
    ) -> None:
        self._source, self._known, self._find_link = source, pods, find_link
        self.aggregator = aggregator
        self.coverage = Coverage()
        self._link = find_link()
        self._addresses: frozenset[bytes] = frozenset()
        self._tunnels = Tunnels()
        self._refreshed_at = -math.inf
        self._pods: Mapping[str, LocalPod] = {}

    def measure(self, now: float) -> Measurement:
        """Read at monotonic ``now``. Raises SourceUnavailable."""
        refreshed = self._set_locality(now)
        reading = self._source.read(now)
        counters = read_counters(self._link.interface) if self._link.interface else None
        footprint = self.aggregator.advance(reading, self._pods, self._link.capacity, bad=self.coverage.reasons)
        self.coverage.advance(self.aggregator.link_bytes, counters, reading.taken_at)
        return Measurement(reading, footprint, self._pods, refreshed, self._link, counters)

    def _set_locality(self, now: float) -> bool:
        refresh = now - self._refreshed_at >= REFRESH
        if refresh:
            self._refreshed_at = now
            self._refresh()
        if not (self._known.changed() or refresh):
            return False
        self._pods = self._known.living_here(self._addresses)
        self._source.set_locality(locality(self._pods.values(), self._addresses, self._tunnels.carriers))
        return True

    def _refresh(self) -> None:
        try:
            self._addresses = node_addresses()
            link = self._find_link()
        except (OSError, LinkError) as error:
            _log.warning("cannot read addresses or link, keeping the previous ones", error=str(error))
            return
        self._refresh_tunnels()
        if link != self._link:
            _log.info("link changed", uplink=link.interface, capacity=link.capacity.tx)
            self._link = link

    def _refresh_tunnels(self) -> None:
        try:
            tunnels = read_tunnels()
        except OSError as error:
            _log.warning("cannot read tunnels, keeping the previous ones", error=str(error))
            return
        if tunnels != self._tunnels:
            _log.info("tunnels changed", carriers=len(tunnels.carriers), programs=sorted(tunnels.programs))
            self._tunnels = tunnels
