# SPDX-License-Identifier: Apache-2.0
"""Every node's view, kept up to date node by node.

Enters: nodes' facts as they change. Leaves: an immutable map of views, which nodes placement may judge
differently, and when each view changes through time alone. Guarantees: one node's change costs that node's view; a
view that cannot be computed makes that node unknown and is counted. Used under its owner's lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from extender.cluster.assumptions import Assumptions
from extender.cluster.node_entry import NodeEntry
from extender.cluster.workload_totals import WorkloadTotals
from extender.model.demand import predict
from extender.model.layered_map import Layered
from extender.model.ledger import BoundPod, mice_cut
from extender.model.mice_free_links import KnownLinks
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import NodeFacts, NodeState, NodeView, measures_now, view_node
from footprint.classes import TrafficClass

_log = structlog.get_logger()


@dataclass(slots=True)
class Rebuilt:
    """What rebuilding some views has shown."""

    judged: set[str] = field(default_factory=set)
    """Nodes that placement may judge differently now."""
    recount: set[str] = field(default_factory=set)
    """Nodes whose tallies begin or cease to count."""
    change_at: dict[str, float] = field(default_factory=dict)
    """When each rebuilt view changes through time alone, monotonic seconds."""


class NodeViews:
    """``stale_after`` and ``hold`` are seconds, ``default_rate`` bit/s; ``running_since`` is by pod UID."""

    def __init__(
        self, totals: WorkloadTotals, assumptions: Assumptions, running_since: Mapping[str, float], *,
        stale_after: float, hold: float, default_rate: float,
    ) -> None:  # fmt: skip
        self._totals, self._assumptions, self._running_since = totals, assumptions, running_since
        self._stale_after, self._hold, self._default_rate = stale_after, hold, default_rate
        self.entries: dict[str, NodeEntry] = {}
        self.views: Layered[NodeView] = Layered()
        self.links = KnownLinks()
        self._expecting: dict[WorkloadKey, set[str]] = {}
        self.failures = 0
        """Views that could not be computed."""

    def entry(self, name: str) -> NodeEntry:
        """The node's entry, a new one if need be."""
        return self.entries.setdefault(name, NodeEntry())

    def expecting(self, key: WorkloadKey) -> set[str]:
        """Nodes on which pods of the workload may count by prediction."""
        return self._expecting.get(key, set())

    def counts(self, entry: NodeEntry, now: float) -> bool:
        """Whether the node's tallies count for its workloads at ``now``."""
        return measures_now(entry.annotation.footprint, entry.renewal, now, self._stale_after)

    def measured_class(self, pod: PodInfo, now: float) -> TrafficClass | None:
        """What fresh data says of a pod that runs, or ended lately; None: nothing."""
        entry = self.entries.get(pod.node)
        if entry is None or not self.counts(entry, now):
            return None
        return entry.annotation.class_of(pod.uid)

    def rebuild(self, names: set[str], now: float) -> Rebuilt:
        """Recompute the views of ``names``, and swap the map of views."""
        rebuilt, changed, gone = Rebuilt(), dict[str, NodeView](), set[str]()
        for name in names:
            entry = self.entries.get(name)
            if entry is None:
                continue
            if entry.counted is not self.counts(entry, now):
                rebuilt.recount.add(name)
            bound = self._bound(name, entry, now)
            self._expect(name, entry, frozenset(b.pod.key for b in bound))
            before = self.views.get(name)
            if entry.present:
                view = changed[name] = self.compute(self.facts(name, entry, bound), now)
                rebuilt.change_at[name] = view.changes_at
                self.links.swap(before, view)
                if not view.judged_like(before):
                    rebuilt.judged.add(name)
                continue
            if before is not None:
                self.links.swap(before, None)
                gone.add(name)
                rebuilt.judged.add(name)
            if entry.renewal is None and not entry.pods and not self._assumptions.on(name):
                del self.entries[name]
        self.views = self.views.after(changed, gone)
        return rebuilt

    def compute(self, facts: NodeFacts, now: float) -> NodeView:
        """The view of ``facts``. Never raises: a fault of ours must cost this node alone."""
        try:
            return view_node(facts, now, self._stale_after, self._hold)
        except Exception as error:
            self.failures += 1
            _log.warning("view of a node failed, the node counts as unknown", node=facts.name, exc_info=True)
            return NodeView(facts.name, NodeState.FAILED, f"{type(error).__name__}: {error}")

    def facts_of(self, name: str, now: float) -> NodeFacts | None:
        """The facts of a node that is there."""
        entry = self.entries.get(name)
        if entry is None or not entry.present:
            return None
        return self.facts(name, entry, self._bound(name, entry, now))

    @staticmethod
    def facts(name: str, entry: NodeEntry, bound: tuple[BoundPod, ...]) -> NodeFacts:
        said = entry.annotation
        return NodeFacts(name, said.footprint, said.problem, entry.renewal, bound, entry.gone, said.running)

    def _bound(self, name: str, entry: NodeEntry, now: float) -> tuple[BoundPod, ...]:
        """The node's pods that may count by prediction."""
        footprint, learned = entry.annotation.footprint, self._totals.demands
        cut = footprint is not None and mice_cut(footprint)
        bound = []
        for pod in (*entry.pods.values(), *self._assumptions.on(name)):
            since = self._running_since.get(pod.uid)
            if not pod.ended and (cut or since is None or since + self._hold > now):
                bound.append(BoundPod(pod, predict(pod.declared, learned.get(pod.key), self._default_rate), since))
        return tuple(bound)

    def _expect(self, name: str, entry: NodeEntry, keys: frozenset[WorkloadKey]) -> None:
        for key in keys - entry.expected:
            self._expecting.setdefault(key, set()).add(name)
        for key in entry.expected - keys:
            self._expecting[key].discard(name)
            if not self._expecting[key]:
                del self._expecting[key]
        entry.expected = keys
