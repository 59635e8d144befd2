"""What nodes' measurements teach about workloads, kept up to date node by node.

Enters: one node's footprint at a time (or None: it teaches nothing any more). Leaves: the typical demand of each
workload over all nodes that teach. Guarantees: a node's change costs the workloads that it measured differently,
nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

from extender.demand import Demand, Tally, learned_demand, tally_node
from extender.pods import WorkloadKey
from footprint.models import NodeFootprint


class Lessons:
    """Tallies per workload and node. Used under its owner's lock."""

    def __init__(self) -> None:
        self._by_workload: dict[WorkloadKey, dict[str, Tally]] = {}
        self._by_node: dict[str, dict[WorkloadKey, Tally]] = {}
        self._footprints: dict[str, NodeFootprint] = {}
        self.demands: Mapping[WorkloadKey, Demand] = {}
        """Typical demand per workload; replaced, never changed."""

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

    def update(self, changed: set[WorkloadKey]) -> set[WorkloadKey]:
        """Work out the demands of ``changed`` workloads; returns those whose demand is another one now."""
        demands = dict(self.demands)
        different = set()
        for key in changed:
            before = demands.pop(key, None)
            after = learned_demand(self._by_workload.get(key, {}).values())
            if after is not None:
                demands[key] = after
            if after != before:
                different.add(key)
        if different:
            self.demands = demands
        return different
