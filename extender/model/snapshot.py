# SPDX-License-Identifier: Apache-2.0
"""The cluster as placement sees it: immutable values that requests read and watches replace.

Enters: what is known of each node: annotation, Lease, bound pods. Leaves: one NodeView per node, with everything
computed that does not depend on the pod to place. Pure. Guarantees: whatever is wrong with one node's data makes
that node unknown, with the reason named, and changes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from extender.model.cost import LinkLoad, capacity_now, careful_capacity, waiting
from extender.model.demand import DEFAULT_ELEPHANT_RATE, Demand, mice_weight, predict
from extender.model.ledger import HOLD_SECONDS, NEVER, NOTHING_EXPECTED, BoundPod, ExpectedLoad, expected_load
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.trafficfootprint import Record
from footprint.declared import PlacementMode
from footprint.keys import NODE_LINK_CAPACITY
from footprint.models import CapacitySource, LinkRates, NodeFootprint
from footprint.staleness import Freshness, LastRenewal, freshness
from footprint.units import format_rate

FIRM: Final = 0.5
"""Confidence from which an estimated capacity filters. Below it, it moves scores alone, as an assumed one does."""
_DIRECTIONS: Final = ("tx", "rx")
_STATE_IT: Final = f"annotate the Node with {NODE_LINK_CAPACITY}, such as 10G"

REMEMBERED_CHANGES: Final = 256
"""Versions that a reader may lag behind and still learn what changed: seconds, in the busiest cluster."""


class NodeState(StrEnum):
    """Whether a node's data can be used; everything but KNOWN scores neutral and never filters."""

    KNOWN = "known"
    NO_FOOTPRINT = "no-footprint"  # no agent ever wrote the annotation
    MALFORMED = "malformed-footprint"  # the annotation is not a footprint; the codec names the reason
    NO_LEASE = "no-lease"  # an annotation, but no sign of a living agent
    STALE = "stale"  # the agent stopped renewing its Lease
    NO_CAPACITY = "capacity-unknown"  # shares of the link cannot be computed
    FAILED = "failed"  # our own arithmetic failed on its data; counted, and the log has the error
    UNSEEN = "unseen"  # kube-scheduler named a node that our watch has not shown yet


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node, ready for filter and score."""

    name: str
    state: NodeState
    detail: str = ""
    """Why it is not known, for people."""
    link: LinkLoad = field(default_factory=lambda: LinkLoad(0.0, 0.0))
    mouse_pods: int = 0
    ledger: ExpectedLoad = NOTHING_EXPECTED
    utilisation: float = 0.0
    """Elephants' share of the busier direction."""
    waiting: float = 0.0
    """How long a mouse waits here, in service times."""
    load: str = ""
    """``elephants use 81 percent of the link (3 pods, 162 Mbit/s of 200 Mbit/s)``."""
    changes_at: float = NEVER
    """Own monotonic seconds when the view changes through time alone."""
    capacity_by: str = ""
    """Where the link's capacity comes from; empty: the agent does not say."""
    sure: float = 0.0
    """Of an estimated capacity, 0-1."""
    full: tuple[str, ...] = ()
    """Directions in which the link is saturated while elephants use it."""
    guessed: tuple[str, ...] = ()
    """Directions whose capacity is assumed, or estimated with little confidence: they count in scores alone."""
    home: NodeView | None = None
    """The node by its default route's uplink, where that is another one and known. Else a pod may leave by any
    uplink, and the view is that of the worst."""

    def met_by(self, demand: Demand) -> NodeView:
        """The view of whoever has that demand."""
        return self.home if self.home is not None and demand.by_default_route else self

    @property
    def known(self) -> bool:
        return self.state is NodeState.KNOWN

    @property
    def firm(self) -> LinkLoad:
        """The link as the filter sees it, without capacities that are guessed."""
        if not self.guessed:
            return self.link
        return replace(
            self.link,
            cap_tx=0.0 if "tx" in self.guessed else self.link.cap_tx,
            cap_rx=0.0 if "rx" in self.guessed else self.link.cap_rx,
        )

    def judged_like(self, other: NodeView | None) -> bool:
        """Filter and score say the same of both views. An assumed pod that is then seen bound changes nothing."""
        return (
            other is not None
            and self.state is other.state
            and self.link == other.link
            and self.guessed == other.guessed
            and self.mouse_pods == other.mouse_pods
            and (other.home is None if self.home is None else self.home.judged_like(other.home))
        )


@dataclass(frozen=True, slots=True)
class RunningPodSums:
    """The running pods of a footprint, summed once: pods come to a node far more often than it rewrites its
    footprint."""

    elephants: int = 0
    mouse_pods: int = 0
    mice: float = 0.0

    @classmethod
    def of(cls, node: NodeFootprint, gone: Collection[str] = ()) -> RunningPodSums:
        """All pods of ``node`` except those ``gone``, in their order, so that sums agree everywhere."""
        elephants, mouse_pods, mice = 0, 0, 0.0
        for pod in node.pods:
            if pod.uid not in gone:
                elephants += pod.cls.hurts
                mouse_pods += pod.cls.suffers
                mice += mice_weight(pod)
        return cls(elephants, mouse_pods, mice)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """Everything a view is made from."""

    name: str
    footprint: NodeFootprint | None = None
    problem: str = ""
    """Why the annotation is no footprint; empty when it is one, or absent."""
    heartbeat: LastRenewal | None = None
    bound: tuple[BoundPod, ...] = ()
    gone: Collection[str] = ()
    """UIDs in the footprint whose pods have ended since it was written."""
    residents: RunningPodSums | None = None
    """Those of the whole footprint, where they are known already."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What every replica derives from the API."""

    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    learned: Mapping[WorkloadKey, Demand] = field(default_factory=dict)
    waiting_since: Mapping[str, float] = field(default_factory=dict)
    """Pod UID → own monotonic seconds when it was first seen without a node."""
    default_rate: float = DEFAULT_ELEPHANT_RATE
    scarce: bool = False
    """Links without mice are no more than elephants need: mice should avoid them."""
    version: int = 0
    """Counts up with every snapshot of one cluster state."""
    recent: tuple[frozenset[str], ...] = ()
    """Names of which each of the last versions judges differently, newest last; at most ``REMEMBERED_CHANGES``."""

    def changed_since(self, version: int) -> frozenset[str] | None:
        """Names that may be judged differently than in ``version``, or were not there; None when that is too long
        ago to tell."""
        steps = self.version - version
        if not 0 < steps <= len(self.recent):
            return None
        return frozenset().union(*self.recent[-steps:])

    elephants_known: bool = False
    """Some links are to be kept free of mice at all."""
    records: Mapping[WorkloadKey, Record] = field(default_factory=dict)
    """The workloads' TrafficFootprints."""

    def demand(self, pod: PodInfo) -> Demand:
        """Demand of ``pod`` on a link."""
        demand = predict(pod.declared, self.learned.get(pod.key), self.default_rate)
        return replace(demand, by_default_route=True) if pod.host_network else demand

    def placement(self, pod: PodInfo, default: PlacementMode) -> PlacementMode:
        """The mode for a pod that does not ask for one itself: its workload's, else ``default``."""
        record = self.records.get(pod.key)
        return (record.stated.placement if record is not None else None) or default

    def waited(self, pod: PodInfo, now: float) -> float:
        """Seconds since the pod was first seen waiting for a node; 0 for one the watch has not shown yet."""
        return max(0.0, now - self.waiting_since.get(pod.uid, now))

    def view(self, name: str) -> NodeView:
        return self.nodes.get(name) or NodeView(name, NodeState.UNSEEN, "the node watch has not shown this node")


EMPTY: Final = Snapshot()


def describe_load(link: LinkLoad, by: str = "", full: Collection[str] = (), guessed: Collection[str] = ()) -> str:
    """The elephants of the busier direction, as people read it. ``by``: where its capacity comes from.

    In words: kube-scheduler runs reasons through a format string, which makes ``81 % of`` ``81 %!o(MISSING)f``.
    """
    used, capacity, way = (link.tx, link.cap_tx, "tx") if link.u_tx >= link.u_rx else (link.rx, link.cap_rx, "rx")
    who = f"{link.elephants} pod{'' if link.elephants == 1 else 's'}" if link.elephants else "no pod's own"
    if way in full:
        return f"the link is full with elephants ({who}, {format_rate(used)})"
    share = round(100 * min(link.utilisation, 1.0))
    if way in guessed:
        found = f"{who}, {format_rate(used)}"
        return f"elephants may use as much as {share} percent of the link ({found}; its capacity is {by})"
    told = f" {by}" if by in (CapacitySource.ESTIMATED, CapacitySource.ASSUMED) else ""
    return (
        f"elephants use {share} percent of the link "
        f"({who}, {format_rate(min(used, capacity))} of {format_rate(capacity)}{told})"
    )


def _link(
    node: NodeFootprint, facts: NodeFacts, ledger: ExpectedLoad
) -> tuple[LinkLoad, int, tuple[str, ...], tuple[str, ...]]:
    """The loaded link, how many pods with mice live on it, its directions that are full with elephants, and those
    whose capacity is guessed."""
    ended = LinkRates()
    if facts.gone:
        for pod in node.pods:
            if pod.uid in facts.gone:
                ended += pod.elephants
        there = RunningPodSums.of(node, facts.gone)
    else:
        there = facts.residents or RunningPodSums.of(node)
    tx, rx = max(0.0, node.el.tx - ended.tx), max(0.0, node.el.rx - ended.rx)
    full = _full(node, LinkRates(tx, rx))
    cap_tx = capacity_now(node.cap.tx, tx, full="tx" in full)
    cap_rx = capacity_now(node.cap.rx, rx, full="rx" in full)
    elephants, mice = there.elephants + ledger.elephants, there.mice + ledger.mice
    tx, rx, guessed = tx + ledger.tx, rx + ledger.rx, _guessed(node, full)
    cap_tx = careful_capacity(cap_tx, tx) if "tx" in guessed else cap_tx
    cap_rx = careful_capacity(cap_rx, rx) if "rx" in guessed else cap_rx
    link = LinkLoad(cap_tx, cap_rx, tx, rx, elephants, mice)
    return link, there.mouse_pods + ledger.mouse_pods, full, guessed


def _full(node: NodeFootprint, elephants: LinkRates) -> tuple[str, ...]:
    """Directions that are saturated while ``elephants`` use them."""
    return tuple(way for way in _DIRECTIONS if way in node.full and getattr(elephants, way) > 0)


def _guessed(node: NodeFootprint, full: Collection[str]) -> tuple[str, ...]:
    """See NodeView. A direction that is full is measured, whatever its capacity is said to be."""
    unsure = node.by == CapacitySource.ASSUMED or (node.by == CapacitySource.ESTIMATED and node.sure < FIRM)
    return tuple(way for way in _DIRECTIONS if way not in full) if unsure else ()


def _unknown(facts: NodeFacts, state: NodeState, detail: str, until: float = NEVER) -> NodeView:
    return NodeView(facts.name, state, detail, changes_at=until)


def view_node(facts: NodeFacts, now: float, stale_after: float, hold: float = HOLD_SECONDS) -> NodeView:
    """The view of one node at ``now`` (own monotonic seconds)."""
    if facts.problem:
        return _unknown(facts, NodeState.MALFORMED, facts.problem)
    node = facts.footprint
    if node is None:
        return _unknown(facts, NodeState.NO_FOOTPRINT, "no node agent has written its annotation")
    fresh = freshness(facts.heartbeat, now, stale_after)
    if facts.heartbeat is None or fresh is Freshness.MISSING:
        return _unknown(facts, NodeState.NO_LEASE, "its agent's Lease was never seen")
    if fresh is Freshness.STALE:
        return _unknown(facts, NodeState.STALE, f"its agent has not renewed its Lease for {stale_after:g} s")
    stale_at = facts.heartbeat.seen_at + stale_after
    ledger = expected_load(node, facts.bound, now, hold)
    link, mouse_pods, full, guessed = _link(node, facts, ledger)
    if max(link.cap_tx, link.cap_rx) <= 0:
        return _unknown(facts, NodeState.NO_CAPACITY, _STATE_IT, stale_at)
    return NodeView(
        facts.name, NodeState.KNOWN, "", link, mouse_pods, ledger, link.utilisation, waiting(link.utilisation),
        describe_load(link, node.by, full, guessed), min(stale_at, ledger.until), node.by, node.sure, full,
        guessed, _by_default_route(facts, node, now, stale_after, hold),
    )  # fmt: skip


def _by_default_route(
    facts: NodeFacts, node: NodeFootprint, now: float, stale_after: float, hold: float
) -> NodeView | None:
    """See NodeView. Of a wire that several uplinks share all that they carry counts, as for the worst one."""
    if not node.home or node.home == node.up:
        return None
    home = next((link for link in node.uplinks if link.name == node.home), None)
    if home is None:
        return None
    alone = replace(
        node, up=home.name, cap=home.cap, by=home.by, sure=home.sure, full=home.full,
        used=home.used.at_least(home.wire), el=home.el.at_least(home.wire_el), uplinks=(), home="",
    )  # fmt: skip
    view = view_node(replace(facts, footprint=alone), now, stale_after, hold)
    return view if view.known else None


def unplaced(facts: NodeFacts, uid: str) -> NodeFacts:
    """The node as it would be had the pod ``uid`` never come there: neither measured nor expected."""
    bound = tuple(bound for bound in facts.bound if bound.pod.uid != uid)
    return replace(facts, bound=bound, gone={*facts.gone, uid})


def measures_now(
    footprint: NodeFootprint | None, heartbeat: LastRenewal | None, now: float, stale_after: float
) -> bool:
    """Whether a node's measurements count for its workloads: fresh data only."""
    return footprint is not None and freshness(heartbeat, now, stale_after) is Freshness.FRESH
