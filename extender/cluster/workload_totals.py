# SPDX-License-Identifier: Apache-2.0
"""What is known of workloads, kept up to date node by node and object by object.

Enters: one node's tallies at a time (None: they no longer count), and one TrafficFootprint at a time. Leaves: the
typical demand of each workload. Guarantees: a node's change costs only the workloads that it measured differently,
and costs the same however many nodes measure them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

from extender.model.demand import DEFAULT_ELEPHANT_RATE, Demand, Tally, believed, learned_demand
from extender.model.pods import NOTHING_DECLARED, WorkloadKey
from extender.model.running_sums import Total
from extender.model.trafficfootprint import Record

NodeTallies = Mapping[WorkloadKey, Tally]
"""Tallies of one node, per workload (``demand.tally_node``)."""

V = TypeVar("V")
_NOTHING: Final[NodeTallies] = {}


class WorkloadTotals:
    """Tallies per workload and node, and what is written down. Used under its owner's lock."""

    def __init__(self, default_rate: float = DEFAULT_ELEPHANT_RATE) -> None:
        self._default_rate = default_rate
        self._by_node: dict[str, NodeTallies] = {}
        self._sums: dict[WorkloadKey, Total] = {}
        self._rewritten: dict[WorkloadKey, Record | None] = {}
        """Records since the last ``update``."""
        self.totals: dict[WorkloadKey, Tally] = {}
        """What was measured of each workload, over all nodes with fresh data."""
        self.demands: Mapping[WorkloadKey, Demand] = {}
        """Typical demand per workload; replaced, never changed."""
        self.records: Mapping[WorkloadKey, Record] = {}
        """The workloads' TrafficFootprints; replaced, never changed."""

    def replace_node(self, node: str, tallies: NodeTallies | None) -> set[WorkloadKey]:
        """Replace the tallies of ``node``; returns the workloads whose tallies this changes."""
        known = self._by_node.get(node)
        if known is tallies:
            return set()
        if tallies is None:
            del self._by_node[node]
        else:
            self._by_node[node] = tallies
        before, after = known or _NOTHING, tallies or _NOTHING
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        for key in changed:
            if (total := self._sums.get(key)) is None:
                total = self._sums[key] = Total()
            total.swap(before.get(key), after.get(key))
            if not total.nodes:
                del self._sums[key]
        return changed

    def put_records(self, changes: Mapping[WorkloadKey, Record | None]) -> None:
        """Replace the records of some workloads at the next ``update``; None: the workload has none any more."""
        self._rewritten.update(changes)

    @property
    def pending(self) -> bool:
        """Something was written down since the last ``update``."""
        return bool(self._rewritten)

    def update(self, changed: set[WorkloadKey]) -> set[WorkloadKey]:
        """Recompute the demands of ``changed`` workloads and of those whose record changed. Returns the workloads
        whose demand differs from before."""
        if self._rewritten:
            changed = changed | self._rewritten.keys()
            self.records = _after(self.records, self._rewritten)
            self._rewritten = {}
        found = {key: self._demand(key) for key in changed}
        different = {key: demand for key, demand in found.items() if demand != self.demands.get(key)}
        if different:
            self.demands = _after(self.demands, different)
        return set(different)

    def _demand(self, key: WorkloadKey) -> Demand | None:
        total = sums.tally if (sums := self._sums.get(key)) is not None else Tally()
        if total.pods:
            self.totals[key] = total
        else:
            self.totals.pop(key, None)
        live, record = learned_demand(total), self.records.get(key)
        if record is None:
            return live
        return believed(record.stated or NOTHING_DECLARED, live, record.demand, self._default_rate)


def _after(before: Mapping[WorkloadKey, V], changes: Mapping[WorkloadKey, V | None]) -> dict[WorkloadKey, V]:
    """``before`` with ``changes``; None: nothing any more."""
    after = dict(before)
    for key, value in changes.items():
        if value is not None:
            after[key] = value
        else:
            after.pop(key, None)
    return after
