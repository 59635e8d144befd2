# SPDX-License-Identifier: Apache-2.0
"""The agent's figures for Prometheus, its liveness and its readiness.

Enters: the ``LoopState`` that the loop keeps, counts of the threads beside it. Leaves: metric families, and
whether the loop is alive and measuring. It is not alive after standing still for longer than ``stuck_after``.
Compiling before the first reading is no standstill, but no measuring either. Figures are collected when scraped,
so that measuring pays nothing for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from footprint.classes import TrafficClass
from footprint.models import CapacitySource, NodeFootprint, Uplink
from nodeagent.sources.base import LossKind, Reading
from nodeagent.sources.ebpf.compiling import cache

_PREFIX: Final = "traffic_footprint_agent_"


def stuck_after(poll_interval: float) -> float:
    """Seconds without a reading from which the loop counts as stuck."""
    return max(30.0, 5 * poll_interval)


@dataclass(slots=True)
class LoopState:
    """What the loop knows; written by it alone."""

    source: str = ""
    readings: int = 0
    source_changes: int = 0
    overruns: int = 0
    refused: int = 0
    beat_at: float | None = None
    """Monotonic seconds of the last reading; None before the first one."""
    reading: Reading | None = None
    footprint: NodeFootprint | None = None
    coverage: float | None = None
    uplink_coverage: Mapping[str, float] = field(default_factory=dict)
    corrected: int = 0
    """Readings after which figures were scaled down to what the links carried."""
    elephants_begun: int = 0

    def alive(self, poll_interval: float) -> bool:
        """False once readings have stopped; how long the first one may take is the startup probe's to say."""
        return self.beat_at is None or self.measuring(poll_interval)

    def measuring(self, poll_interval: float) -> bool:
        """Whether a reading was taken lately."""
        return self.beat_at is not None and time.monotonic() - self.beat_at < stuck_after(poll_interval)


Counts = Callable[[], Mapping[str, float]]


class AgentCollector(Collector):
    """Figures as metric families. ``counters`` and ``gauges`` bring those of the threads beside the loop."""

    def __init__(self, figures: LoopState, counters: Counts, gauges: Counts) -> None:
        self._figures, self._counters, self._gauges = figures, counters, gauges

    def collect(self) -> Iterator[Metric]:
        figures = self._figures
        counts = {
            "readings": figures.readings,
            "source_changes": figures.source_changes,
            "poll_overruns": figures.overruns,
            "samples_refused": figures.refused,
            "elephants_begun": figures.elephants_begun,
            "readings_corrected": figures.corrected,
            **self._counters(),
        }
        for name, value in counts.items():
            yield CounterMetricFamily(_PREFIX + name, _HELP[name], value=value)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(_PREFIX + name, _HELP[name], value=value)
        yield _of_builds()
        yield from self._of_reading(figures.reading)
        yield from self._of_footprint(figures.footprint)
        if figures.coverage is not None:
            yield GaugeMetricFamily(_PREFIX + "coverage_ratio", _HELP["coverage_ratio"], value=figures.coverage)

        several = GaugeMetricFamily(
            _PREFIX + "uplink_coverage_ratio",
            "The same of each uplink, an estimate: what is no elephant is booked on the default route's.",
            labels=["uplink"],
        )
        for name, ratio in figures.uplink_coverage.items():
            several.add_metric([name], ratio)
        yield several

    def _of_reading(self, reading: Reading | None) -> Iterator[Metric]:
        lost = CounterMetricFamily(_PREFIX + "losses", "Measurements known to be missing.", labels=["kind"])
        for kind in LossKind:
            lost.add_metric([kind.value], reading.lost.get(kind, 0) if reading else 0)
        yield lost
        flows = GaugeMetricFamily(_PREFIX + "flows", "Flows tracked now.", labels=["source"])
        flows.add_metric([self._figures.source], reading.flows if reading else 0)
        yield flows
        carried = CounterMetricFamily(
            _PREFIX + "owner_bytes",
            "IP bytes by owner (pod UID, host, unattributed, carrier): over the link (tx, rx), or node-internal "
            "(local). "
            "What carrier has is in other owners too: leave it out of sums.",
            labels=["owner", "direction"],
        )
        for owner, counters in (reading.owners if reading else {}).items():
            carried.add_metric([owner, "tx"], counters.tx_bytes)
            carried.add_metric([owner, "rx"], counters.rx_bytes)
            carried.add_metric([owner, "local"], counters.local_bytes)
        yield carried
        count = len(reading.elephants) if reading else 0
        yield GaugeMetricFamily(_PREFIX + "elephants", "Elephant flows now.", value=count)

    def _of_footprint(self, footprint: NodeFootprint | None) -> Iterator[Metric]:
        pods = GaugeMetricFamily(_PREFIX + "pods", "Pods measured, by class.", labels=["class"])
        for cls in TrafficClass:
            pods.add_metric([cls.value], sum(pod.cls is cls for pod in footprint.pods) if footprint else 0)
        yield pods
        if footprint is None:
            return
        link = GaugeMetricFamily(
            _PREFIX + "link_bits_per_second",
            "Traffic and capacity of the link, of several the one whose elephants use most of it.",
            labels=["what", "direction"],
        )
        parts = {"capacity": footprint.cap, "elephants": footprint.el, "host": footprint.host,
                 "unattributed": footprint.un, "carried": footprint.used}  # fmt: skip
        for what, rates in parts.items():
            link.add_metric([what, "tx"], rates.tx)
            link.add_metric([what, "rx"], rates.rx)
        yield link
        yield _of_uplinks(footprint)
        yield from _of_capacity(footprint)


def _of_uplinks(footprint: NodeFootprint) -> Metric:
    uplinks = GaugeMetricFamily(
        _PREFIX + "uplink_bits_per_second",
        "The same of each uplink, where the node has several.",
        labels=["uplink", "what", "direction"],
    )
    for link in footprint.uplinks:
        for what, rates in (("capacity", link.cap), ("elephants", link.el), ("carried", link.used)):
            uplinks.add_metric([link.name, what, "tx"], rates.tx)
            uplinks.add_metric([link.name, what, "rx"], rates.rx)
    return uplinks


def _of_builds() -> Metric:
    built = CounterMetricFamily(
        _PREFIX + "program_builds",
        "Programs found as kept on the node, compiled, not kept, or refused though kept (and why).",
        labels=["outcome"],
    )
    for outcome in cache.OUTCOMES:
        built.add_metric([outcome], cache.counts[outcome])
    return built


def _of_capacity(footprint: NodeFootprint) -> Iterator[Metric]:
    """Of each uplink."""
    only = Uplink(footprint.up, footprint.cap, footprint.by, footprint.sure, full=footprint.full)
    full = GaugeMetricFamily(
        _PREFIX + "link_full", "1 while an uplink is saturated in a direction.", labels=["uplink", "direction"]
    )
    source = GaugeMetricFamily(
        _PREFIX + "link_capacity_source",
        "1 for where an uplink's capacity comes from.",
        labels=["uplink", "source"],
    )
    sure = GaugeMetricFamily(
        _PREFIX + "link_capacity_confidence", "Of an estimated capacity, 0 to 1.", labels=["uplink"]
    )
    for link in footprint.uplinks or (only,):
        for direction in ("tx", "rx"):
            full.add_metric([link.name, direction], direction in link.full)
        for known in CapacitySource:
            source.add_metric([link.name, known.value], link.by == known)
        sure.add_metric([link.name], link.sure)
    yield from (full, source, sure)


_HELP: Final = {
    "readings": "Readings taken from the flow source.",
    "source_changes": "Changes of the flow source while running, because it did not see the links' traffic.",
    "poll_overruns": "Polls left out because the one before took too long.",
    "samples_refused": "Samples refused because a counter or the time went backwards.",
    "elephants_begun": "Flows that became elephants.",
    "readings_corrected": "Readings whose figures were scaled down, because they exceeded what the links carried.",
    "node_writes": "Writes of the Node that succeeded.",
    "node_write_failures": "Writes of the Node that failed and were tried again.",
    "lease_renewals": "Heartbeats.",
    "lease_failures": "Heartbeats that failed.",
    "lease_withheld": "Heartbeats withheld because what is published is not what is measured.",
    "annotation_problems": "Pod annotations that were not understood.",
    "event_failures": "Events about them that could not be sent.",
    "watch_errors": "Failures of the pod watch.",
    "watch_relists": "Times the pods were listed anew.",
    "pods_undecodable": "Pod objects passed over because they could not be read.",
    "link_capacity_problems": "Annotations and labels about the Node's links that were not understood.",
    "node_read_failures": "Reads of this Node's annotations and labels that failed.",
    "write_pending_seconds": "For how long a write has waited; 0 when none does.",
    "coverage_ratio": "Bytes counted over bytes the uplinks carried, over the last minute.",
}


def new_registry() -> tuple[CollectorRegistry, Histogram]:
    """A registry with the process's own figures, and the histogram of reading durations in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    durations = Histogram(
        _PREFIX + "read_duration_seconds", "Time one reading and its aggregation took.", registry=registry,
        buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    )  # fmt: skip
    return registry, durations
