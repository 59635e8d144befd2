# SPDX-License-Identifier: Apache-2.0
"""The agent's loop: measure, decide, give the footprint to the writer, at fixed times.

Enters: an opened flow source, the pod store, the link. Leaves: Node writes through ``NodeWriter``. Guarantees:
never waits for the API server. Readings keep a fixed schedule, and elephants add readings
(``nodeagent.measuring.pacing``). At the end, one last reading is published if it changed anything.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import structlog
from prometheus_client import Histogram

from footprint.models import NodeFootprint
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.meter import Measurement, Meter
from nodeagent.measuring.pacing import Pace
from nodeagent.measuring.unseen import Unseen, unseen
from nodeagent.metrics import LoopState
from nodeagent.node.capacity.links import LinkCapacities
from nodeagent.node.link import Link
from nodeagent.node.pods import LocalPod, PodSnapshot, PodStore
from nodeagent.publishing.crossings import Crossings
from nodeagent.publishing.decide import Change, PublishState, WritePolicy, change, decide
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.node_events import Notices
from nodeagent.publishing.node_writer import NodeWriter
from nodeagent.sources.base import Elephant, FlowSource
from nodeagent.sources.changing import ChangingSource
from nodeagent.tuning.tuner import Tuner

_LOGGED_PER_READING: Final = 5
_LAST_WRITE: Final = 3.2
_HEARS_STOP: Final = 0.25
"""Seconds until a stop is noticed while the source is listened to."""

_log = structlog.get_logger()
_FlowKey = tuple[int, str, str]


class _StoredPods:
    """The pod watch's store, as the meter asks for it."""

    def __init__(self, store: PodStore) -> None:
        self._store = store
        self._snapshot: PodSnapshot | None = None

    def changed(self) -> bool:
        before, self._snapshot = self._snapshot, self._store.snapshot()
        return before is None or before.generation != self._snapshot.generation

    def living_here(self, _node: frozenset[bytes]) -> Mapping[str, LocalPod]:
        return self._snapshot.pods if self._snapshot is not None else {}


class Agent:
    """One node's measuring loop. Its parts with effects are given to it."""

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
        capacities: LinkCapacities | None = None,
        figures: LoopState,
        durations: Histogram,
        poll_interval: float,
        tuner: Tuner | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._synced = source, synced
        self._writer, self._reporter = writer, reporter
        self._policy, self._interval, self._tuner = policy, poll_interval, tuner
        self.figures, self._durations, self._clock = figures, durations, clock
        self._meter = Meter(
            source, pods=_StoredPods(store), aggregator=aggregator, find_link=find_link, capacities=capacities
        )
        self._state = PublishState()
        self._draw = random.random()  # noqa: S311 - spreads load, guards nothing
        self._flows: dict[_FlowKey, Elephant] = {}
        self._crossings = Crossings(policy.hold)
        self._capacities, self._notices = capacities, Notices()

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
                pace.reported(self._clock())
        return False

    def tick(self, *, last: bool = False) -> bool:
        """One reading and what follows; whether an elephant on the link began. Raises SourceUnavailable."""
        now = self._clock()
        with self._durations.time():
            found = self._meter.measure(now)
        if found.pods_refreshed:
            self._reporter.offer(found.pods.values())
        beginning = self._note_elephants(found.reading.elephants, found.pods)
        if self._tuner is not None:
            self._tuner.offer(found.reading.elephants)
        figures = self.figures
        figures.readings += 1
        figures.totals.advance(found.reading)
        figures.pods = found.pods
        figures.refused = self._meter.aggregator.refused
        figures.corrected = self._meter.links.truth.corrected
        figures.uplink_coverage = self._meter.links.coverage.ratios
        figures.reading, figures.coverage, figures.beat_at = (
            found.reading,
            self._meter.links.coverage.all.ratio,
            now,
        )
        footprint = self._with_unseen(found)
        self._reconsider(now)
        if footprint is not None:
            figures.footprint = footprint
            misunderstood = self._capacities.misunderstood if self._capacities is not None else ()
            self._reporter.tell(self._notices.advance(footprint, misunderstood, now))
            if self._synced.is_set():  # before that, all traffic would be unattributed
                self._publish(footprint, now, last=last)
        return beginning

    def _with_unseen(self, found: Measurement) -> NodeFootprint | None:
        """The footprint, which says whether there are pods whose traffic the source cannot see."""
        before, missing = self.figures.unseen, unseen(found.pods, found.reading, self._meter.aggregator.source)
        self.figures.unseen = missing
        if missing != before:
            _log_unseen(before, missing, found.pods)
        if found.footprint is None or not missing.reasons:
            return found.footprint
        return replace(found.footprint, bad=tuple(sorted({*found.footprint.bad, *missing.reasons})))

    def _reconsider(self, now: float) -> None:
        """Let ``auto`` change its source, after the coverage of the one in use."""
        if not isinstance(self._source, ChangingSource):
            return
        coverage = self._meter.links.coverage.all
        if self._source.reconsider(coverage.ratio, now, low=coverage.low):
            self._meter.aggregator.source = self.figures.source = self._source.name
            self.figures.source_changes = self._source.changes

    def _publish(self, footprint: NodeFootprint, now: float, *, last: bool) -> None:
        self._state, write = decide(self._state, footprint, now, self._policy, self._draw)
        if last and not write and self._state.written is not None:
            write = change(self._state.written, footprint, self._policy) is not Change.NONE
        if write:
            self._draw = random.random()  # noqa: S311 - spreads load, guards nothing
            self._writer.submit(footprint, self._crossings.take())
        elif self._state.changed_since is None:
            self._crossings.settle(now)

    def _note_elephants(self, elephants: tuple[Elephant, ...], pods: Mapping[str, LocalPod]) -> bool:
        """Log and count beginnings and ends; whether one on the link began."""
        flows = {(flow.protocol, flow.source, flow.destination): flow for flow in elephants}
        begun, ended = flows.keys() - self._flows.keys(), self._flows.keys() - flows.keys()
        self.figures.elephants_begun += len(begun)
        for key in list(begun)[:_LOGGED_PER_READING]:
            _log.info("elephant begins", **_described(flows[key], pods))
        for key in list(ended)[:_LOGGED_PER_READING]:
            _log.info("elephant ends", **_described(self._flows[key], pods))
        unsaid = max(len(begun) - _LOGGED_PER_READING, 0) + max(len(ended) - _LOGGED_PER_READING, 0)
        if unsaid:
            _log.info("more elephants began or ended", count=unsaid)
        self._flows = flows
        on_link = [flows[key].since for key in begun if not flows[key].local]
        if self.figures.readings:  # those of the first reading were there before
            self._crossings.begun(on_link)
        return bool(on_link)


def _log_unseen(before: Unseen, now: Unseen, pods: Mapping[str, LocalPod]) -> None:
    """Name pods of which nothing, or not all, will be measured."""
    for reason, uids in now.by_reason.items():
        new = sorted(uids - before.by_reason[reason])
        for uid in new[:_LOGGED_PER_READING]:
            _log.warning(
                "traffic of this pod is not seen", pod=pods[uid].display_name, reason=reason,
                interfaces=list(pods[uid].passthrough),
            )  # fmt: skip
        if len(new) > _LOGGED_PER_READING:
            _log.warning("traffic of more pods is not seen", reason=reason, count=len(new) - _LOGGED_PER_READING)


def _described(flow: Elephant, pods: Mapping[str, LocalPod]) -> dict[str, object]:
    return {
        "owners": [pods[owner].display_name if owner in pods else owner for owner in flow.owners],
        "source": flow.source,
        "destination": flow.destination,
        "protocol": flow.protocol,
        "bytes": flow.bytes,
        "rate": round(flow.rate),
        "local": flow.local,
    }
