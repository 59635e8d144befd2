# SPDX-License-Identifier: Apache-2.0
"""The rebalancer's figures for Prometheus, read from their owners when scraped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extender.learning.elector import Elector
from extender.rebalancing.gain import Reason
from extender.rebalancing.rebalancer import Rebalancer

_P: Final = "traffic_footprint_extender_rebalance_"
OUTCOMES: Final = ("evicted", "advised", "refused", "gone", "failed")


class RebalancingCollector(Collector):
    """One per application."""

    def __init__(self, elector: Elector, rebalancer: Rebalancer) -> None:
        self._elector, self._rebalancer = elector, rebalancer

    def collect(self) -> Iterable[Metric]:
        """The last plan, and what became of moves."""
        rebalancer, plan = self._rebalancer, self._rebalancer.plan
        for name, text, value in (
            ("leads", "1 on the replica that moves pods, or advises", self._elector.leads()),
            ("stopped", "1 while the kill switch, failures or pending pods stop it", bool(rebalancer.stopped)),
            ("troubled_nodes", "Nodes on which mice wait or transfers slow each other", plan.troubled),
            ("misplaced_pods", "Pods that would cost less elsewhere by the price of a restart", plan.misplaced),
            ("gain", "Cost that the moves of the last plan save, in service times", plan.gain),
        ):
            yield GaugeMetricFamily(_P + name, text, float(value))
        refused = Counter(refusal.reason for refusal in plan.refused)
        family = GaugeMetricFamily(
            _P + "refused_pods", "Pods of troubled nodes that the last plan leaves, by reason", labels=["reason"]
        )
        for reason in Reason:
            family.add_metric([reason.value], refused[reason])
        yield family
        moves = CounterMetricFamily(
            _P + "moves", "Moves that were due, by what became of them", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            moves.add_metric([outcome], rebalancer.moves[outcome])
        yield moves
        for name, text, count in (
            ("doubts", "Pods not moved because something could not be read or understood", rebalancer.doubts),
            ("event_failures", "Events on moved pods that could not be sent", rebalancer.event_failures),
            ("election_errors", "Requests about the rebalancer's Lease that failed", self._elector.errors),
        ):
            yield CounterMetricFamily(_P + name, text, count)
