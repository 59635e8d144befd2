"""The loop: read, aggregate, decide, hand to the writer, at fixed times.

Enters: an opened flow source, the pod store, the link. Leaves: Node writes through ``NodeWriter``. Guarantees:
never waits for the API server; readings keep an absolute schedule, those that cannot be kept are counted; on
stop one last reading is published if it changed anything.
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
from nodeagent.aggregation import Aggregator
from nodeagent.coverage import Coverage
from nodeagent.events import EventReporter
from nodeagent.kubernetes_writer import NodeWriter
from nodeagent.link import Link, LinkError, read_counters
from nodeagent.locality import locality, node_addresses
from nodeagent.metrics import Figures
from nodeagent.pods import PodInfo, PodStore
from nodeagent.publishing import Change, PublishState, WritePolicy, change, decide
from nodeagent.sources.base import Elephant, FlowSource

REFRESH: Final = 30.0
"""Seconds between looks at the node's own addresses and link, which change with CNI and failover only."""
_LOGGED_PER_READING: Final = 5
_LAST_WRITE: Final = 3.2

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
    ) -> None:
        self._source, self._store, self._synced = source, store, synced
        self._writer, self._reporter, self._aggregator = writer, reporter, aggregator
        self._policy, self._find_link, self._interval = policy, find_link, poll_interval
        self._figures, self._durations = figures, durations
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
        due = time.monotonic()
        try:
            while not stop.wait(max(due - time.monotonic(), 0.0)):
                self.tick()
                due, missed = next_due(due, time.monotonic(), self._interval)
                self._figures.overruns += missed
            self.tick(last=True)
        finally:
            written = self._writer.close(_LAST_WRITE)
            _log.info("stopped", all_written=written)

    def tick(self, *, last: bool = False) -> None:
        """One reading and what follows from it. Raises SourceUnavailable."""
        now = time.monotonic()
        with self._durations.time():
            self._tell_locality(now)
            reading = self._source.read(now)
            counters = read_counters(self._link.interface) if self._link.interface else None
            pods = self._store.snapshot().pods
            footprint = self._aggregator.advance(reading, pods, self._link.capacity, bad=self._coverage.reasons)
            self._coverage.advance(self._aggregator.link_bytes, counters, reading.taken_at)
        self._log_elephants(reading.elephants)
        figures = self._figures
        figures.readings += 1
        figures.refused = self._aggregator.refused
        figures.reading, figures.coverage, figures.beat_at = reading, self._coverage.ratio, now
        if footprint is not None:
            figures.footprint = footprint
            if self._synced.is_set():  # before, every pod's traffic would be nobody's
                self._publish(footprint, now, last=last)

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

    def _log_elephants(self, elephants: tuple[Elephant, ...]) -> None:
        flows = {(flow.protocol, flow.source, flow.destination): flow for flow in elephants}
        begun, ended = flows.keys() - self._flows.keys(), self._flows.keys() - flows.keys()
        self._figures.elephants_begun += len(begun)
        for key in list(begun)[:_LOGGED_PER_READING]:
            _log.info("elephant begins", **self._described(flows[key]))
        for key in list(ended)[:_LOGGED_PER_READING]:
            _log.info("elephant ends", **self._described(self._flows[key]))
        unsaid = max(len(begun) - _LOGGED_PER_READING, 0) + max(len(ended) - _LOGGED_PER_READING, 0)
        if unsaid:
            _log.info("more elephants began or ended", count=unsaid)
        self._flows = flows

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


def next_due(due: float, now: float, interval: float) -> tuple[float, int]:
    """When the next reading is due on the schedule of ``due``, and how many had to be left out."""
    following = due + interval
    if following >= now:
        return following, 0
    missed = math.ceil((now - following) / interval)
    return following + missed * interval, missed
