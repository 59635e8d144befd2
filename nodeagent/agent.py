# SPDX-License-Identifier: Apache-2.0
"""The loop: read, aggregate, decide, hand to the writer, at fixed times.

Enters: an opened flow source, the pod store, the link. Leaves: Node writes through ``NodeWriter``. Guarantees:
never waits for the API server; readings keep an absolute schedule, and elephants bring them forward
(``nodeagent.measuring.pacing``); on stop one last reading is published if it changed anything.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from prometheus_client import Histogram

from footprint.models import NodeFootprint
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.coverage import Coverage
from nodeagent.measuring.pacing import Pace
from nodeagent.metrics import Figures
from nodeagent.node.link import Link, LinkError, read_counters
from nodeagent.node.locality import locality, node_addresses
from nodeagent.node.pods import PodInfo, PodStore
from nodeagent.publishing.decide import Change, PublishState, WritePolicy, change, decide
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.node_writer import NodeWriter
from nodeagent.sources.base import Elephant, FlowSource

REFRESH: Final = 30.0
"""Seconds between looks at the node's own addresses and link, which change with CNI and failover only."""
_LOGGED_PER_READING: Final = 5
_LAST_WRITE: Final = 3.2
_HEARS_STOP: Final = 0.25
"""Seconds until a stop is noticed while the source is listened to."""

_log = structlog.get_logger()
_FlowKey = tuple[int, str, str]


class Agent:
    """One node's measuring loop. All effects come in from outside."""

    def __init__(
        self,
        *,
        source: FlowSource,
        store: PodStore,
        synced: threading.Event,
        writer: NodeWriter,
        reporter: EventReporter,
        aggregator: Aggregator,
        policy: WritePolicy,
        find_link: Callable[[], Link],
        figures: Figures,
        durations: Histogram,
        poll_interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._store, self._synced = source, store, synced
        self._writer, self._reporter, self._aggregator = writer, reporter, aggregator
        self._policy, self._find_link, self._interval = policy, find_link, poll_interval
        self.figures, self._durations, self._clock = figures, durations, clock
        self._link = find_link()
        self._coverage = Coverage()
        self._state = PublishState()
        self._draw = random.random()  # noqa: S311 - spreads load, guards nothing
        self._generation = -1
        self._addresses: frozenset[bytes] = frozenset()
        self._refreshed_at = -math.inf
        self._flows: dict[_FlowKey, Elephant] = {}

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. Raises SourceUnavailable when the source cannot go on."""
        pace = Pace(self._interval, self._clock())
        try:
            while self._wait(pace, stop):
                began = self._clock()
                beginning = self.tick()
                self.figures.overruns += pace.took(began, self._clock(), beginning=beginning)
            self.tick(last=True)
        finally:
            written = self._writer.close(_LAST_WRITE)
            _log.info("stopped", all_written=written)

    def _wait(self, pace: Pace, stop: threading.Event) -> bool:
        """Until a reading is due; False when it is time to stop."""
        while not stop.is_set():
            now = self._clock()
            remaining = pace.due - now
            if remaining <= 0:
                return True
            if now < pace.listen_from:
                stop.wait(min(remaining, pace.listen_from - now))
            elif self._source.wait(min(remaining, _HEARS_STOP)):
                pace.told(self._clock())
        return False

    def tick(self, *, last: bool = False) -> bool:
        """One reading and what follows; whether an elephant on the link began. Raises SourceUnavailable."""
        now = self._clock()
        with self._durations.time():
            self._tell_locality(now)
            reading = self._source.read(now)
            counters = read_counters(self._link.interface) if self._link.interface else None
            pods = self._store.snapshot().pods
            footprint = self._aggregator.advance(reading, pods, self._link.capacity, bad=self._coverage.reasons)
            self._coverage.advance(self._aggregator.link_bytes, counters, reading.taken_at)
        beginning = self._note_elephants(reading.elephants)
        figures = self.figures
        figures.readings += 1
        figures.refused = self._aggregator.refused
        figures.reading, figures.coverage, figures.beat_at = reading, self._coverage.ratio, now
        if footprint is not None:
            figures.footprint = footprint
            if self._synced.is_set():  # before, every pod's traffic would be nobody's
                self._publish(footprint, now, last=last)
        return beginning

    def _publish(self, footprint: NodeFootprint, now: float, *, last: bool) -> None:
        self._state, write = decide(self._state, footprint, now, self._policy, self._draw)
        if last and not write and self._state.written is not None:
            write = change(self._state.written, footprint, self._policy) is not Change.NONE
        if write:
            self._draw = random.random()  # noqa: S311 - spreads load, guards nothing
            self._writer.submit(footprint)

    def _tell_locality(self, now: float) -> None:
        snapshot = self._store.snapshot()
        refresh = now - self._refreshed_at >= REFRESH
        if refresh:
            self._refresh(now)
        if refresh or snapshot.generation != self._generation:
            self._generation = snapshot.generation
            self._source.set_locality(locality(snapshot.pods.values(), self._addresses))
            self._reporter.offer(snapshot.pods.values())

    def _refresh(self, now: float) -> None:
        self._refreshed_at = now
        try:
            self._addresses = node_addresses()
            link = self._find_link()
        except (OSError, LinkError) as error:
            _log.warning("node's addresses or link not read, those known before stay", error=str(error))
            return
        if link != self._link:
            _log.info("link changed", uplink=link.interface, capacity=link.capacity.tx)
            self._link = link

    def _note_elephants(self, elephants: tuple[Elephant, ...]) -> bool:
        """Log and count beginnings and ends; whether one on the link began."""
        flows = {(flow.protocol, flow.source, flow.destination): flow for flow in elephants}
        begun, ended = flows.keys() - self._flows.keys(), self._flows.keys() - flows.keys()
        self.figures.elephants_begun += len(begun)
        for key in list(begun)[:_LOGGED_PER_READING]:
            _log.info("elephant begins", **self._described(flows[key]))
        for key in list(ended)[:_LOGGED_PER_READING]:
            _log.info("elephant ends", **self._described(self._flows[key]))
        unsaid = max(len(begun) - _LOGGED_PER_READING, 0) + max(len(ended) - _LOGGED_PER_READING, 0)
        if unsaid:
            _log.info("more elephants began or ended", count=unsaid)
        self._flows = flows
        return any(not flows[key].local for key in begun)

    def _described(self, flow: Elephant) -> dict[str, object]:
        pods = self._store.snapshot().pods
        return {
            "owners": [_spoken(pods.get(owner), owner) for owner in flow.owners],
            "source": flow.source,
            "destination": flow.destination,
            "protocol": flow.protocol,
            "bytes": flow.bytes,
            "rate": round(flow.rate),
            "local": flow.local,
        }


def _spoken(pod: PodInfo | None, owner: str) -> str:
    """A pod as people call it, with the virtual machine it runs."""
    if pod is None:
        return owner
    return f"{pod.ns}/{pod.name}" + (f" (VM {pod.vm})" if pod.vm else "")
