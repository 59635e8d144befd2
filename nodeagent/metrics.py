# SPDX-License-Identifier: Apache-2.0
"""The agent's figures for Prometheus, its liveness and its readiness.

Enters: the ``LoopState`` that the loop keeps, counts of the threads beside it. Leaves: metric families, and
whether the loop is alive and measuring. It is not alive after standing still for longer than ``stuck_after``.
Compiling before the first reading is no standstill, but no measuring either. Figures are collected when scraped,
so that measuring pays nothing for it.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from footprint.classes import TrafficClass
from footprint.models import CapacitySource, NodeFootprint, Uplink
from footprint.version import installed
from nodeagent.measuring.totals import TrafficTotals
from nodeagent.measuring.unseen import Unseen
from nodeagent.node.pods import LocalPod
from nodeagent.pod_metrics import pod_families
from nodeagent.sources.base import LossKind, Reading
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.tuning.modes import Mode, Refusal
from nodeagent.tuning.part import Status

_PREFIX: Final = "traffic_footprint_agent_"
_STATISTICS: Final = Path("/proc/sys/kernel/bpf_stats_enabled")


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
    tuning: Callable[[], Status] | None = None
    """What is tuned on this node; None: nothing is to be."""
    totals: TrafficTotals = field(default_factory=TrafficTotals)
    pods: Mapping[str, LocalPod] = field(default_factory=dict)
    """This node's, by UID."""
    unseen: Unseen = field(default_factory=Unseen)

    def alive(self, poll_interval: float) -> bool:
        """False once readings have stopped; how long the first one may take is the startup probe's to say."""
        return self.beat_at is None or self.measuring(poll_interval)

    def measuring(self, poll_interval: float) -> bool:
        """Whether a reading was taken lately."""
        return self.beat_at is not None and time.monotonic() - self.beat_at < stuck_after(poll_interval)


Counts = Callable[[], Mapping[str, float]]


class WatchCounters(Protocol):
    """What is counted of one watched collection (``footprint.cluster.reflector``)."""

    connects: int
    relists: int
    errors: int
    undecodable: int

    @property
    def connected(self) -> bool: ...
    @property
    def age(self) -> float: ...


class AgentCollector(Collector):
    """Figures as metric families. ``counters`` and ``gauges`` bring those of the threads beside the loop,
    ``watches`` those of the watched collections. At most ``pods`` pods have series of their own."""

    def __init__(
        self,
        figures: LoopState,
        counters: Counts,
        gauges: Counts,
        *,
        watches: Mapping[str, WatchCounters] | None = None,
        pods: int = 0,
    ) -> None:
        self._figures, self._counters, self._gauges = figures, counters, gauges
        self._watches, self._pods = watches or {}, pods

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
        yield self._of_build()
        yield _of_builds()
        yield from _of_watches(self._watches)
        yield from self._of_reading(figures.reading)
        yield from self._of_programs(figures.reading)
        yield from self._of_footprint(figures.footprint)
        missing = GaugeMetricFamily(
            _PREFIX + "pods_unseen",
            "Pods whose traffic the flow source cannot see, or not all of.",
            labels=["reason"],
        )
        for reason, uids in figures.unseen.by_reason.items():
            missing.add_metric([reason], len(uids))
        yield missing
        yield from _of_tuning(figures.tuning() if figures.tuning is not None else Status())
        if self._pods:
            owners = figures.reading.owners if figures.reading else {}
            yield from pod_families(_PREFIX, owners, figures.pods, figures.footprint, self._pods)
        if figures.coverage is not None:
            yield GaugeMetricFamily(_PREFIX + "coverage_ratio", _HELP["coverage_ratio"], value=figures.coverage)

        several = GaugeMetricFamily(
            _PREFIX + "link_coverage_ratio",
            "The same of each uplink, an estimate: what is no elephant is booked on the default route's.",
            labels=["uplink"],
        )
        for name, ratio in figures.uplink_coverage.items():
            several.add_metric([name], ratio)
        yield several

    def _of_build(self) -> Metric:
        """``source`` is the one in use, so that a change of it shows as another series."""
        return InfoMetricFamily(
            _PREFIX + "build",
            "1: the version of the agent and of the kernel that it runs on, and the flow source in use.",
            value={
                "version": installed(),
                "kernel": platform.release(),
                "source": self._figures.source,
            },
        )

    def _of_programs(self, reading: Reading | None) -> Iterator[Metric]:
        programs = reading.programs if reading else {}
        with suppress(OSError, ValueError):
            yield GaugeMetricFamily(
                _PREFIX + "program_statistics_enabled",
                "1 while the kernel counts the runs of eBPF programs (kernel.bpf_stats_enabled), 0 otherwise.",
                value=int(_STATISTICS.read_text()),
            )
        runs = CounterMetricFamily(
            _PREFIX + "program_runs",
            "Runs of this agent's eBPF programs, while the kernel counts them.",
            labels=["program"],
        )
        took = CounterMetricFamily(
            _PREFIX + "program_run_seconds",
            "Processor time of this agent's eBPF programs, while the kernel counts it.",
            labels=["program"],
        )
        for name, figures in programs.items():
            runs.add_metric([name], figures.runs)
            took.add_metric([name], figures.nanoseconds / 1e9)
        entries = GaugeMetricFamily(
            _PREFIX + "map_entries", "Entries of a map of the flow source.", labels=["map"]
        )
        most = GaugeMetricFamily(
            _PREFIX + "map_max_entries", "Entries for which a map of the flow source has room.", labels=["map"]
        )
        for name, fill in (reading.tables if reading else {}).items():
            entries.add_metric([name], fill.entries)
            most.add_metric([name], fill.most)
        yield from (runs, took, entries, most)

    def _of_reading(self, reading: Reading | None) -> Iterator[Metric]:
        lost = CounterMetricFamily(_PREFIX + "losses", "Measurements known to be missing.", labels=["kind"])
        for kind in LossKind:
            lost.add_metric([kind.value], reading.lost.get(kind, 0) if reading else 0)
        yield lost
        yield GaugeMetricFamily(_PREFIX + "flows", "Flows tracked now.", value=reading.flows if reading else 0)
        carried = CounterMetricFamily(
            _PREFIX + "traffic_bytes",
            "IP bytes of all pods together, the host, nobody known (unattributed) and tunnels (carrier): over the "
            "link (tx, rx), or node-internal (local). What carrier has is in others too: leave it out of sums.",
            labels=["owner", "direction"],
        )
        for owner, total in self._figures.totals.sums.items():
            carried.add_metric([owner, "tx"], total.tx)
            carried.add_metric([owner, "rx"], total.rx)
            carried.add_metric([owner, "local"], total.local)
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
        links = _links(footprint)
        yield from _of_links(links)
        yield from _of_capacity(links)


def _links(footprint: NodeFootprint) -> tuple[Uplink, ...]:
    """Every uplink; a node with one only describes it in fields of its own."""
    only = Uplink(
        footprint.up, footprint.cap, footprint.by, footprint.sure, footprint.used, footprint.el, footprint.full
    )
    return footprint.uplinks or (only,)


def _of_links(links: tuple[Uplink, ...]) -> Iterator[Metric]:
    """The footprint has bit/s, as Kubernetes' bandwidths do; Prometheus wants bytes."""
    for what, text in (
        ("capacity", "What an uplink can carry; absent while that is not known."),
        ("carried", "What an uplink carries, by its own counters; a mean of some seconds."),
        ("elephant", "What an uplink's elephants carry; a mean of some seconds."),
    ):
        family = GaugeMetricFamily(f"{_PREFIX}link_{what}_bytes_per_second", text, labels=["uplink", "direction"])
        for link in links:
            rates = {"capacity": link.cap, "carried": link.used, "elephant": link.el}[what]
            for direction, rate in (("tx", rates.tx), ("rx", rates.rx)):
                if rate or what != "capacity":
                    family.add_metric([link.name, direction], rate / 8)
        yield family


def _of_watches(watches: Mapping[str, WatchCounters]) -> Iterator[Metric]:
    """As the extender shows its own."""
    for name, text in (
        ("connected", "1 while a watch is open; 0: pods are as seen last."),
        ("age_seconds", "Seconds since the API server last said anything about the collection."),
    ):
        gauge = GaugeMetricFamily(f"{_PREFIX}watch_{name}", text, labels=["resource"])
        for resource, watch in watches.items():
            gauge.add_metric([resource], getattr(watch, name.removesuffix("_seconds")))
        yield gauge
    for name, text in (
        ("connects", "Watches opened; each one after the first is a reconnect."),
        ("relists", "Times the collection was listed anew."),
        ("errors", "Failed lists and watches."),
        ("undecodable", "Objects passed over because they could not be read."),
    ):
        counter = CounterMetricFamily(f"{_PREFIX}watch_{name}", text, labels=["resource"])
        for resource, watch in watches.items():
            counter.add_metric([resource], getattr(watch, name))
        yield counter


def _of_builds() -> Metric:
    built = CounterMetricFamily(
        _PREFIX + "program_builds",
        "Programs found as kept on the node, compiled, not kept, or refused though kept (and why).",
        labels=["outcome"],
    )
    for outcome in cache.OUTCOMES:
        built.add_metric([outcome], cache.counts[outcome])
    return built


def _of_tuning(status: Status) -> Iterator[Metric]:
    """Of the part that lets mice pass elephants; the only one."""
    state = GaugeMetricFamily(
        _PREFIX + "tuning_state", "1 for what tuning does: off, advise, apply, or refused.",
        labels=["part", "state"],
    )  # fmt: skip
    now = status.mode.value if status.refusal is None else "refused"
    for known in (*(mode.value for mode in Mode), "refused"):
        state.add_metric(["priority", known], known == now)
    yield state
    refused = GaugeMetricFamily(
        _PREFIX + "tuning_refused", "1 for why a part that is switched on does nothing.", labels=["part", "reason"]
    )
    for reason in Refusal:
        refused.add_metric(["priority", reason.value], reason is status.refusal)
    yield refused
    for name, text, value in (
        ("marked", "Elephants whose connection is marked; with advise, would be.", len(status.flows)),
        ("waiting", "Elephants for which the second had no mark left.", status.waiting),
        ("unknown", "Elephants of which conntrack knows no connection.", status.unknown),
    ):
        yield GaugeMetricFamily(f"{_PREFIX}tuning_elephants_{name}", text, value=value)
    for name, text, count in (
        ("tuning_marks_set", "Elephants that got a mark on their connection.", status.marks_set),
        ("tuning_marks_cleared", "Elephants that lost it, because they ended or grew slow.", status.marks_cleared),
        ("tuning_refusals", "Times tuning was refused and taken back.", status.refusals),
    ):
        yield CounterMetricFamily(_PREFIX + name, text, value=count)


def _of_capacity(links: tuple[Uplink, ...]) -> Iterator[Metric]:
    """Of each uplink."""
    full = GaugeMetricFamily(
        _PREFIX + "link_full", "1 while an uplink is saturated in a direction.", labels=["uplink", "direction"]
    )
    source = GaugeMetricFamily(
        _PREFIX + "link_capacity_source",
        "1 for where an uplink's capacity comes from.",
        labels=["uplink", "source"],
    )
    sure = GaugeMetricFamily(
        _PREFIX + "link_capacity_confidence_ratio", "Of an estimated capacity, 0 to 1.", labels=["uplink"]
    )
    for link in links:
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


def new_crossings(registry: CollectorRegistry) -> Histogram:
    """The histogram of how long an elephant's beginning takes to reach the Node, in ``registry``."""
    return Histogram(
        _PREFIX + "crossing_to_annotation_seconds",
        "From a flow's becoming an elephant to the write of the Node that first tells of it.", registry=registry,
        buckets=(0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 30, 60),
    )  # fmt: skip
