"""What is known of workloads, kept up to date node by node and object by object.

Enters: one node's footprint at a time (or None: it teaches nothing any more), and one TrafficFootprint at a time.
Leaves: the typical demand of each workload. Guarantees: a node's change costs the workloads that it measured
differently, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from extender.demand import DEFAULT_ELEPHANT_RATE, Demand, Tally, believed, learned_demand, tally_node
from extender.learning.record import Record
from extender.pods import NO_WISHES, WorkloadKey
from footprint.models import NodeFootprint


class Lessons:
    """Tallies per workload and node, and what is written down. Used under its owner's lock."""

    def __init__(self, default_rate: float = DEFAULT_ELEPHANT_RATE) -> None:
        self._default_rate = default_rate
        self._by_workload: dict[WorkloadKey, dict[str, Tally]] = {}
        self._by_node: dict[str, dict[WorkloadKey, Tally]] = {}
        self._footprints: dict[str, NodeFootprint] = {}
        self._rewritten: set[WorkloadKey] = set()
        """Workloads whose record changed since the last ``update``."""
        self.totals: dict[WorkloadKey, Tally] = {}
        """What was measured of each workload, over all nodes that teach."""
        self.demands: Mapping[WorkloadKey, Demand] = {}
        """Typical demand per workload; replaced, never changed."""
        self.records: Mapping[WorkloadKey, Record] = {}
        """The workloads' TrafficFootprints; replaced, never changed."""

    @property
    def pending(self) -> bool:
        """Records changed since the last ``update``."""
        return bool(self._rewritten)

    def teach(self, node: str, footprint: NodeFootprint | None) -> set[WorkloadKey]:
        """Replace what ``node`` teaches; returns the workloads whose tallies this changes."""
        if self._footprints.get(node) is footprint:
            return set()
        before = self._by_node.pop(node, {})
        after = tally_node(footprint) if footprint is not None else {}
        if footprint is None:
            del self._footprints[node]
        else:
            self._footprints[node], self._by_node[node] = footprint, after
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        for key in changed:
            self._put(key, node, after.get(key))
        return changed

    def _put(self, key: WorkloadKey, node: str, tally: Tally | None) -> None:
        tallies = self._by_workload.setdefault(key, {})
        if tally is not None:
            tallies[node] = tally
            return
        tallies.pop(node, None)
        if not tallies:
            del self._by_workload[key]

    def write_down(self, changes: Mapping[WorkloadKey, Record | None]) -> None:
        """Replace the records of some workloads; None: there is none any more."""
        self.records = {k: r for k, r in {**self.records, **changes}.items() if r is not None}
        self._rewritten.update(changes)

    def update(self, changed: set[WorkloadKey]) -> set[WorkloadKey]:
        """Work out the demands of ``changed`` workloads, and of those whose record changed; returns those whose
        demand is another one now."""
        demands = dict(self.demands)
        different = set()
        for key in changed | self._rewritten:
            before = demands.pop(key, None)
            after = self._demand(key)
            if after is not None:
                demands[key] = after
            if after != before:
                different.add(key)
        self._rewritten.clear()
        if different:
            self.demands = demands
        return different

    def _demand(self, key: WorkloadKey) -> Demand | None:
        total = sum(self._by_workload.get(key, {}).values(), Tally())
        if total.pods:
            self.totals[key] = total
        else:
            self.totals.pop(key, None)
        live, record = learned_demand(total), self.records.get(key)
        if record is None:
            return live
        return believed(record.stated or NO_WISHES, live, record.demand, self._default_rate)
