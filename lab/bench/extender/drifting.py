# SPDX-License-Identifier: Apache-2.0
"""A simulated cluster whose workloads change while their pods run, with the extender's own verdicts. Pure.

Enters: a seed, sizes, and how often workloads change. Leaves: pods on nodes, minute by minute, and their demands.
Guarantees: what workloads do, and when, depends on the seed alone, so that policies can be compared on the same
day. Pods are measured as an agent would: elephants share a full link in proportion to what they want.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Final

from extender.model.cost import SATURATED
from extender.model.demand import Demand, Origin, typical
from extender.model.mice_free_links import MiceFreeLinks
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import NodeFacts, NodeView, Snapshot, unplaced, view_node
from extender.placement.filtering import filter_nodes
from extender.placement.scoring import score_nodes
from extender.rebalancing import history as memory
from extender.rebalancing.config import RebalanceConfig
from extender.rebalancing.gain import Misplaced, Reason, Resident, survey
from extender.rebalancing.plan import Examined, first_fit, plan
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from footprint.staleness import LastRenewal

CLASSES: Final = ((TrafficClass.MOUSE, 0.6), (TrafficClass.QUIET, 0.32), (TrafficClass.ELEPHANT, 0.08))
"""What part of the workloads does what, at any time."""
RATES: Final = (0.1, 0.6)
"""Part of a link that an elephant wants, drawn evenly from between."""
_FOREVER: Final = 1e12
_SAMPLED: Final = 0.1
"""Part of the nodes that kube-scheduler looks at for one pod, as shipped."""

QUIET: Final = Demand(TrafficClass.QUIET, origin=Origin.LEARNED, pods=1)


def drawn(draw: random.Random, link: float) -> Demand:
    """What a workload does for a while."""
    cls = draw.choices([cls for cls, _ in CLASSES], [part for _, part in CLASSES])[0]
    if cls is TrafficClass.ELEPHANT:
        return Demand(cls, typical(draw.uniform(*RATES) * link), 0.0, 0.0, Origin.LEARNED, 1)
    return Demand(cls, 0.0, 0.0, 1.0, Origin.LEARNED, 1) if cls is TrafficClass.MOUSE else QUIET


@dataclass(slots=True)
class Drifting:
    """``nodes`` with ``pods`` each, in workloads of ``copies``; a workload changes every ``every`` seconds on
    average. ``link`` is bit/s."""

    nodes: int
    pods: int = 10
    copies: int = 4
    every: float = 6 * 3600.0
    link: float = 2.5e9
    seed: int = 1
    now: float = 0.0
    at: dict[str, str] = field(default_factory=dict)
    """Pod UID → node."""
    made_at: dict[str, float] = field(default_factory=dict)
    info: dict[str, PodInfo] = field(default_factory=dict)
    on: dict[str, dict[str, None]] = field(default_factory=dict)
    """Node → the UIDs of its pods."""
    learned: dict[WorkloadKey, Demand] = field(default_factory=dict)
    views: dict[str, NodeView] = field(default_factory=dict)
    _facts: dict[str, NodeFacts] = field(default_factory=dict)
    _members: dict[WorkloadKey, list[str]] = field(default_factory=dict)
    _changes: list[tuple[float, WorkloadKey]] = field(default_factory=list)
    _drift: random.Random = field(init=False)
    _draw: random.Random = field(init=False)
    _expected: MiceFreeLinks = field(default_factory=lambda: MiceFreeLinks(1e8))
    _made: int = 0

    def __post_init__(self) -> None:
        self._drift, self._draw = random.Random(self.seed), random.Random(self.seed + 1)
        self.on = {f"node-{number:04d}": {} for number in range(self.nodes)}
        for number in range(self.nodes * self.pods // self.copies):
            key = ("default", f"Deployment/w{number}")
            self._change(key)
            self._members[key] = [self._new(key) for _ in range(self.copies)]
        self._refresh(self.on)

    # Pods.

    def _new(self, key: WorkloadKey) -> str:
        self._made += 1
        uid = f"pod-{self._made}"
        self.info[uid] = PodInfo(uid, *(key[0], uid, key[1]), phase="Running", controller="ReplicaSet")
        self.made_at[uid] = self.now
        self._expected.put(self.info[uid])
        return uid

    def _put(self, uid: str, node: str) -> None:
        self.at[uid] = node
        self.on[node][uid] = None

    def demand(self, uid: str) -> Demand:
        return self.learned[self.info[uid].key]

    def place_all(self, *, by_extender: bool) -> None:
        """Place every pod: as the extender would, or spread without it."""
        waiting = [uid for uid in self.info if uid not in self.at]
        self._draw.shuffle(waiting)
        for uid in waiting:
            self._place(uid, by_extender=by_extender)

    def _place(self, uid: str, *, by_extender: bool = True, near: str = "") -> str:
        """kube-scheduler's choice among a sample of the nodes."""
        sample = self._draw.sample(list(self.on), max(1, round(_SAMPLED * self.nodes)))
        names = list(dict.fromkeys([*([near] if near else []), *sample]))
        demand = self.demand(uid)
        if by_extender and not demand.neutral:
            snapshot = self.snapshot()
            names = filter_nodes(names, demand, PlacementMode.PREFER, snapshot).passed
            scores = score_nodes(names, demand, snapshot)
            names = [name for name, score in zip(names, scores, strict=True) if score == max(scores)]
        chosen = min(names, key=lambda name: (len(self.on[name]), self._draw.random()))
        self._put(uid, chosen)
        self._refresh({chosen})
        return chosen

    def move(self, uid: str) -> str:
        """Evict a pod; its successor goes where kube-scheduler sends it. Returns that node."""
        home, key = self.at.pop(uid), self.info[uid].key
        del self.on[home][uid]
        self._expected.drop(self.info.pop(uid))
        successor = self._new(key)
        self._members[key] = [successor if one == uid else one for one in self._members[key]]
        self._refresh({home})
        return self._place(successor, near=home)

    # Time.

    def _change(self, key: WorkloadKey) -> None:
        self.learned[key] = drawn(self._drift, self.link)
        self._expected.update(self.learned, (key,))
        heapq.heappush(self._changes, (self.now + self._drift.expovariate(1 / self.every), key))

    def step(self, seconds: float) -> None:
        """Time goes on; workloads change."""
        until, touched = self.now + seconds, set[str]()
        while self._changes[0][0] <= until:
            self.now, key = heapq.heappop(self._changes)
            self._change(key)
            touched |= {self.at[uid] for uid in self._members[key]}
        self.now = until
        self._refresh(touched)

    # What the extender sees.

    def _footprint(self, name: str) -> NodeFootprint:
        wanted = sum(self.demand(uid).tx for uid in self.on[name])
        got = min(1.0, SATURATED * self.link / wanted) if wanted else 1.0
        pods = []
        for uid in self.on[name]:
            pod, demand = self.info[uid], self.demand(uid)
            tx = got * demand.tx
            pods.append(PodFootprint(uid, pod.ns, pod.name, pod.workload, demand.cls, tx=tx, etx=tx, ms=1.0))
        rates = LinkRates(got * wanted, 0.0)
        return NodeFootprint(src="simulation", cap=LinkRates(self.link, self.link), pods=tuple(pods), el=rates)

    def _refresh(self, names: Collection[str]) -> None:
        for name in names:
            self._facts[name] = NodeFacts(name, self._footprint(name), "", LastRenewal("1", 0.0))
            self.views[name] = view_node(self._facts[name], 0.0, _FOREVER)

    def snapshot(self) -> Snapshot:
        keep = self._expected.links_to_keep(self.link, self.nodes)
        free = sum(view.link.mice <= 0 for view in self.views.values())
        scarce = 0 < keep >= free
        return Snapshot(dict(self.views), dict(self.learned), scarce=scarce, elephants_known=keep > 0)

    def residents(self, name: str) -> Iterator[Resident]:
        footprint = self._facts[name].footprint
        for measured in footprint.pods if footprint is not None else ():
            yield Resident(self.info[measured.uid], measured)

    def without(self, resident: Resident, name: str) -> NodeView:
        return view_node(unplaced(self._facts[name], resident.pod.uid), 0.0, _FOREVER)

    def placed(self) -> list[list[Demand]]:
        """The demands of each node's pods."""
        return [[self.demand(uid) for uid in uids] for uids in self.on.values()]


@dataclass(slots=True)
class Rebalanced:
    """The rebalancer's own rounds on a simulated cluster. Every node passes every pod's constraints."""

    cluster: Drifting
    config: RebalanceConfig
    history: memory.History = field(init=False)
    moves: list[tuple[float, WorkloadKey, str, str]] = field(default_factory=list)
    """When, which workload, from where to where."""

    def __post_init__(self) -> None:
        self.history = memory.beginning(self.config, self.cluster.now)

    def round(self) -> None:
        """Look once, and move what is due."""
        cluster, config, now = self.cluster, self.config, self.cluster.now
        pods: dict[WorkloadKey, list[PodInfo]] = {sent.workload: [] for sent in self.history.in_flight}
        self.history = memory.settled(self.history, pods, now, config)
        found = survey(
            cluster.snapshot(), cluster.residents, cluster.without, policy=config.policy, price=config.restart_cost
        )

        def examine(one: Misplaced, busy: Collection[str]) -> Examined:
            fit = first_fit(one, busy, config.restart_cost, lambda _name: None)
            age = now - cluster.made_at[one.pod.uid]
            if isinstance(fit, str):
                return Examined(memory.Wait(Reason.CONSTRAINED, fit), age=age)
            return Examined(None, *fit, age)

        made, self.history = plan(found, self.history, examine, now, config)
        for move in made.moves:
            target = cluster.move(move.found.pod.uid)
            self.moves.append((now, move.found.pod.key, move.found.node, target))
            self.history = memory.moved(self.history, move.found, target, now)
