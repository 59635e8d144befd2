# SPDX-License-Identifier: Apache-2.0
"""The learner's figures for Prometheus, read from their owners when scraped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.cluster.trafficfootprint_watch import ResourceState, TrafficFootprintWatch
from extender.learning.elector import Elector
from extender.learning.learner import Learner

_P: Final = "traffic_footprint_extender_learning_"


class LearningCollector(Collector):
    """One per application."""

    def __init__(
        self, watch: TrafficFootprintWatch, index: TrafficFootprintIndex, elector: Elector, learner: Learner
    ) -> None:
        self._watch, self._index, self._elector, self._learner = watch, index, elector, learner

    def collect(self) -> Iterable[Metric]:
        state = GaugeMetricFamily(
            _P + "state", "1 for what TrafficFootprints are to this replica", labels=["state"]
        )
        for value in ResourceState:
            state.add_metric([value.value], self._watch.state is value)
        yield state
        yield GaugeMetricFamily(
            _P + "leads", "1 on the replica that writes TrafficFootprints", self._elector.leads()
        )
        yield GaugeMetricFamily(_P + "objects", "TrafficFootprints seen", len(self._index.objects()))
        yield GaugeMetricFamily(
            _P + "left_out", "Workloads without an object because there are too many (--learn-capacity)",
            self._learner.left_out,
        )  # fmt: skip
        for name, text, label, counts in (
            ("writes", "Objects created, statuses written, objects deleted", "kind", self._writes()),
            ("write_errors", "Writes refused or failed, by HTTP status", "status", self._learner.errors),
            ("malformed", "Halves of objects that counted as absent", "part", self._index.malformed),
        ):
            family = CounterMetricFamily(_P + name, text, labels=[label])
            for which, count in sorted(dict(counts).items()):
                family.add_metric([which], count)
            yield family
        yield CounterMetricFamily(
            _P + "election_errors", "Requests about the learner's Lease that failed", self._elector.errors
        )

    def _writes(self) -> Mapping[str, int]:
        """Each kind from the start: a rate needs its zero."""
        return {**dict.fromkeys(("create", "status", "delete"), 0), **self._learner.writes}
