# SPDX-License-Identifier: Apache-2.0
"""What the extender counts, as Prometheus reads it.

Request counters are kept here; everything that the cluster state and the watches know already is read from them
when scraped, never kept twice.
"""

from __future__ import annotations

import platform
from collections import Counter as Tallies
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from extender.cluster.feed import WatchCounters
from extender.cluster.state import ClusterState
from extender.model.snapshot import NodeState
from extender.placement.shadow import Shadow, ShadowOutcome
from footprint.codec import DecodeReason
from footprint.declared import PlacementMode
from footprint.version import installed

_P: Final = "traffic_footprint_extender_"
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
"""Up to the 500 ms that kube-scheduler waits."""


class CertificateFigures(Protocol):
    """What is known of the certificates in use (``extender.serving.certificates``)."""

    changes: Tallies[str]
    """Of their files, by what became of them."""
    not_after: dict[str, float]
    """Seconds since 1970, by ``server`` and ``client-ca``."""


@dataclass(frozen=True, slots=True)
class ServerFigures:
    """What the server counts and knows (``extender.serving``)."""

    refused: Mapping[str, int] = field(default_factory=dict)
    """Connections and requests turned away, by reason."""
    warnings: Mapping[str, int] = field(default_factory=dict)
    """Warnings and errors of libraries, by their logger."""
    certificates: CertificateFigures | None = None


class _StateCollector(Collector):
    def __init__(self, state: ClusterState, watches: Mapping[str, WatchCounters], server: ServerFigures) -> None:
        self._state, self._watches, self._server = state, watches, server

    def collect(self) -> Iterable[Metric]:
        snapshot = self._state.snapshot
        yield InfoMetricFamily(
            _P + "build", "1: the version of the extender, and of Python and the kernel that it runs on",
            {"version": installed(), "python": platform.python_version(), "kernel": platform.release()},
        )  # fmt: skip
        yield self._nodes()
        yield GaugeMetricFamily(_P + "workloads", "Workloads with a learned footprint", len(snapshot.learned))
        yield GaugeMetricFamily(_P + "pods_waiting", "Pods seen that have no node yet", self._state.pods_waiting)
        yield GaugeMetricFamily(
            _P + "pods_predicted", "Pods on nodes that count by prediction, not yet by measurement",
            sum(view.ledger.pods for view in snapshot.nodes.values()),
        )  # fmt: skip
        yield _labelled(
            "malformed_footprints", "Node annotations that were no footprint", "reason",
            {**dict.fromkeys(map(str, DecodeReason), 0), **self._state.malformed_footprints},
        )  # fmt: skip
        yield _labelled(
            "annotation_problems", "Pod annotations that were not understood", "key",
            self._state.annotation_problems,
        )  # fmt: skip
        yield _labelled(
            "connections_refused", "Connections and requests that the server turned away, by reason", "reason",
            self._server.refused,
        )  # fmt: skip
        yield _labelled(
            "server_warnings", "Warnings and errors of the server's libraries", "logger", self._server.warnings
        )
        if self._server.certificates is not None:
            yield from self._certificate_figures(self._server.certificates)
        yield from self._watch_counters()

    def _nodes(self) -> Metric:
        family = GaugeMetricFamily(_P + "nodes", "Nodes by what is known of them", labels=["state"])
        counts = Tallies(view.state for view in self._state.snapshot.nodes.values())
        for state in NodeState:
            family.add_metric([state.value], counts[state])
        return family

    def _certificate_figures(self, certificates: CertificateFigures) -> Iterable[Metric]:
        changes = certificates.changes
        yield _labelled("certificate_changes", "Changes of the certificates' files", "result", changes)
        family = GaugeMetricFamily(
            _P + "certificate_not_after_timestamp_seconds",
            "When a certificate in use ends, seconds since 1970: the server's chain, the CA of its clients",
            labels=["which"],
        )
        for which, moment in sorted(certificates.not_after.items()):
            family.add_metric([which], moment)
        yield family

    def _watch_counters(self) -> Iterable[Metric]:
        connected = GaugeMetricFamily(
            _P + "watch_connected", "1 while a watch is open; 0: answers rest on what was seen last",
            labels=["resource"],
        )  # fmt: skip
        for resource, watch in self._watches.items():
            connected.add_metric([resource], watch.connected)
        yield connected
        age = GaugeMetricFamily(
            _P + "watch_age_seconds", "Seconds since the API server last said anything about the collection",
            labels=["resource"],
        )  # fmt: skip
        for resource, watch in self._watches.items():
            age.add_metric([resource], watch.age)
        yield age
        for name, text in (
            ("connects", "Watches opened; each one after the first is a reconnect"),
            ("relists", "Lists forced by a version that the server refused"),
            ("errors", "Failed lists and watches"),
            ("undecodable", "Objects passed over"),
        ):
            counts = {resource: getattr(watch, name) for resource, watch in self._watches.items()}
            yield _labelled(f"watch_{name}", text, "resource", counts)


def _labelled(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(_P + name, text, labels=[label])
    for value, count in sorted(dict(counts).items()):
        family.add_metric([value], count)
    return family


class _ShadowCollector(Collector):
    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow

    def collect(self) -> Iterable[Metric]:
        yield _labelled(
            "shadow_pods", "Pods only watched, by what acting would have done", "outcome",
            {**dict.fromkeys(map(str, ShadowOutcome), 0), **self._shadow.outcomes},
        )  # fmt: skip
        family = CounterMetricFamily(
            _P + "shadow_collisions", "Of these, those judged where they run", labels=["outcome", "collided"]
        )
        for labels, count in sorted(self._shadow.collisions.items()):
            family.add_metric(list(labels), count)
        yield family


class _NodeFailureCollector(Collector):
    def __init__(self, counts: Callable[[], Mapping[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        yield _labelled(
            "node_failures", "Single nodes that counted as unknown because computing about them failed", "stage",
            self._counts(),
        )  # fmt: skip


class Metrics:
    """One registry per application, so that several can live in one process."""

    def __init__(
        self, state: ClusterState, watches: Mapping[str, WatchCounters], server: ServerFigures | None = None
    ) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(_StateCollector(state, watches, server or ServerFigures()))
        self.requests = Counter(
            _P + "requests", "Answered requests", ["verb", "result"], registry=self.registry
        )  # result: ok, late, shed, malformed, too-large, too-slow, too-many, gone, failed
        for verb in ("filter", "prioritize"):  # a ratio needs its zero
            for result in ("ok", "late", "shed", "failed"):
                self.requests.labels(verb, result)
        self.malformed = Counter(
            _P + "malformed_requests", "Bodies that could not be used", ["verb", "reason"], registry=self.registry
        )
        self.seconds = Histogram(
            _P + "request_duration_seconds", "Time to answer, body read", ["verb"], buckets=_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.scrapes = Histogram(
            _P + "scrape_duration_seconds", "Time one rendering of the metrics took", buckets=_BUCKETS,
            registry=self.registry,
        )  # fmt: skip
        self.demands = Counter(
            _P + "demands", "Pods asked about, by class and where it comes from", ["class", "origin"],
            registry=self.registry,
        )  # fmt: skip
        self.rejections = Counter(
            _P + "rejected_nodes",
            "Candidates dropped, summed over requests",
            ["placement"],
            registry=self.registry,
        )
        for mode in (PlacementMode.PREFER, PlacementMode.STRICT):
            self.rejections.labels(mode.value)
        self.relaxed = Counter(
            _P + "relaxed_requests", "Requests of strict pods that had waited too long", registry=self.registry
        )

    def show(self, shadow: Shadow) -> None:
        """Add what ``shadow`` counts."""
        self.registry.register(_ShadowCollector(shadow))

    def show_node_failures(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Add what ``counts`` returns: failures by stage, ``view`` or ``verdict``."""
        self.registry.register(_NodeFailureCollector(counts))

    def answered(self) -> dict[str, int]:
        """Requests by verb and result, for a line in the log at the end, when nobody can scrape any more."""
        samples = [sample for family in self.requests.collect() for sample in family.samples]
        return {
            f"{sample.labels['verb']} {sample.labels['result']}": int(sample.value)
            for sample in samples
            if sample.name.endswith("_total") and sample.value
        }

    def render(self) -> bytes:
        with self.scrapes.time():
            return generate_latest(self.registry)
