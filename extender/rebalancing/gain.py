# SPDX-License-Identifier: Apache-2.0
"""Which pods stand wrong, and what a move would gain. Pure.

Enters: a snapshot, the measured pods of its nodes, and each node's view without one of them. Leaves: the misplaced
pods with the nodes that would cost less, and a reason for every other pod of a node on which somebody waits.
Costs are placement's own (``extender.placement.node_verdict``), so a gain is what kube-scheduler will be told.

Guarantees: a pod counts only on the node that the API says it is bound to, whatever footprints say. At most
``MAX_NODES`` nodes and ``MAX_PODS`` pods of each are looked at in one go, the worst first. Nothing follows from
guessed capacities, nor from a node whose pods are not all measured yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from extender.model.cost import SATURATED, LinkLoad, waiting
from extender.model.demand import Demand
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import NodeView, Snapshot
from extender.placement.node_verdict import MOUSE_LIMIT, judge
from extender.placement.policy import Policy
from footprint.declared import PlacementMode, Rebalance
from footprint.models import PodFootprint

MAX_NODES: Final = 64
"""Nodes looked at in one round. At one move a minute, they are more than an hour's work."""
MAX_PODS: Final = 128
"""Pods of one node looked at: more than a kubelet takes by default."""
MAX_TARGETS: Final = 16
"""Cheaper nodes kept for each pod: the first that passes the pod's own constraints is taken."""


class Reason(StrEnum):
    """Why a pod is not moved; the values are metric labels."""

    EXEMPT = "exempt"  # placement never touches it
    OPTED_OUT = "opted-out"  # the pod, its namespace or its node says never
    NOT_OPTED_IN = "not-opted-in"  # neither pod nor namespace says allow
    NOT_STEERED = "not-steered"  # placement ignores it: a new placement would be no better
    NOT_LIKE_ITS_WORKLOAD = "not-like-its-workload"  # its workload would be placed by another demand
    SUITS = "suits"  # it may stay where it is
    GAINS_LITTLE = "gains-little"  # no node is so much better that a restart pays
    BOUND_TO_PLACE = "bound-to-place"  # local storage, a static pod, nobody who would make it again
    CONSTRAINED = "constrained"  # no better node passes its own constraints
    IN_DOUBT = "in-doubt"  # what the API tells does not suffice
    NOT_YET = "not-yet"  # it must have been worth it for longer
    COOLING_DOWN = "cooling-down"  # its workload or its node was moved lately
    LIMIT = "limit"  # enough moves for now
    HALTED = "halted"  # evictions failed, or pods stayed pending
    REFUSED = "refused"  # a PodDisruptionBudget said no


class Refusal(NamedTuple):
    """Why one pod of a troubled node stays."""

    pod: PodInfo
    node: str
    reason: Reason
    detail: str


class Resident(NamedTuple):
    """A pod that is bound to a node, and what the node's footprint says of it."""

    pod: PodInfo
    measured: PodFootprint


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A pod that would cost less elsewhere."""

    pod: PodInfo
    node: str
    demand: Demand
    cost: float
    """Of the pod where it is, in service times."""
    reason: str
    """Why its node does not suit it, as kube-scheduler would be told."""
    targets: tuple[tuple[str, float], ...]
    """Nodes that cost less by the price of a restart, and their cost, the cheapest first; never empty."""
    share: float
    """Part of its link that its elephants take, 0-1."""

    @property
    def gain(self) -> float:
        """By the cheapest node."""
        return self.cost - self.targets[0][1]


@dataclass(frozen=True, slots=True)
class Survey:
    """What one look at the cluster has shown."""

    misplaced: tuple[Misplaced, ...] = ()
    """The largest gain first."""
    refused: tuple[Refusal, ...] = ()
    troubled: int = 0
    """Nodes on which mice wait or transfers slow each other."""


Residents = Callable[[str], Iterable[Resident]]
"""The measured pods of a node."""
Without = Callable[[Resident, str], NodeView]
"""The view of the node as it would be without the resident."""


def firm_view(view: NodeView) -> NodeView:
    """The view without guessed capacities: no pod is moved for a guess."""
    link = view.firm
    return replace(view, link=link, utilisation=link.utilisation, waiting=waiting(link.utilisation), home=None)


def severity(link: LinkLoad) -> float:
    """How much is wrong on a link: what its mice wait, and the transfers that share a full link; 0 for nothing."""
    waits = link.mice * waiting(link.utilisation) if link.utilisation >= MOUSE_LIMIT else 0.0
    return waits + (link.elephants if link.elephants > 1 and link.utilisation >= SATURATED else 0)


def survey(snapshot: Snapshot, residents: Residents, without: Without, *, policy: Policy, price: float) -> Survey:
    """Look at the worst nodes. ``price`` is the least gain, in service times."""
    severe = {
        name: found for name, view in snapshot.nodes.items() if view.known and (found := severity(view.firm)) > 0
    }
    worst = sorted(severe, key=lambda name: (-severe[name], name))[:MAX_NODES]
    look = _Look(snapshot, without, policy, price)
    for name in worst:
        look.at(name, residents)
    return Survey(
        tuple(sorted(look.misplaced, key=lambda found: (-found.gain, found.pod.ns, found.pod.name))),
        tuple(look.refused), len(severe),
    )  # fmt: skip


def pending(pods: Iterable[PodInfo]) -> bool:
    """Whether one of a workload's pods does not run yet."""
    return any(not pod.ended and not pod.running and not pod.deleting for pod in pods)


def without_pending(found: Survey, pods: Mapping[WorkloadKey, Iterable[PodInfo]]) -> Survey:
    """``found`` without pods whose workloads have pending ones: nobody could tell these from an evicted pod's
    successor. ``pods``: those of each workload."""
    waiting = {one.pod.key for one in found.misplaced if pending(pods.get(one.pod.key, ()))}
    stay = tuple(
        Refusal(one.pod, one.node, Reason.IN_DOUBT, "another pod of its workload is pending already")
        for one in found.misplaced if one.pod.key in waiting
    )  # fmt: skip
    left = tuple(one for one in found.misplaced if one.pod.key not in waiting)
    return replace(found, misplaced=left, refused=(*stay, *found.refused))


@dataclass(slots=True)
class _Look:
    snapshot: Snapshot
    without: Without
    policy: Policy
    price: float
    misplaced: list[Misplaced] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    ranked: dict[tuple[float, float, bool], Sequence[tuple[str, float]]] = field(default_factory=dict)
    """Known nodes by cost, for each demand."""

    def at(self, name: str, residents: Residents) -> None:
        view = self.snapshot.nodes[name]
        for number, resident in enumerate(residents(name)):
            if number == MAX_PODS:
                return
            found = self._judge(resident, name, view)
            if isinstance(found, Misplaced):
                self.misplaced.append(found)
            else:
                self.refused.append(Refusal(resident.pod, name, *found))

    def _judge(self, resident: Resident, name: str, view: NodeView) -> Misplaced | tuple[Reason, str]:
        demand = self.snapshot.demand(resident.pod)
        refusal = next(_unweighed(resident, demand, view, self.snapshot, self.policy), None)
        return self._weigh(resident, demand, name) if refusal is None else refusal

    def _weigh(self, resident: Resident, demand: Demand, name: str) -> Misplaced | tuple[Reason, str]:
        bare = firm_view(self.without(resident, name))
        judged = judge(demand, bare, self.snapshot.scarce)
        if not judged.known or judged.cost is None:
            return Reason.IN_DOUBT, judged.error or bare.detail or "nothing is known of its node"
        if judged.reason is None:
            return Reason.SUITS, f"it suits {name}, and costs {judged.cost:g} there"
        best = self._cheaper(demand, name, judged.cost)
        if not best:
            return Reason.GAINS_LITTLE, f"it costs {judged.cost:g}, and no node costs less by {self.price:g}"
        return Misplaced(resident.pod, name, demand, judged.cost, judged.reason, best, _share(demand, bare.link))

    def _cheaper(self, demand: Demand, home: str, cost: float) -> tuple[tuple[str, float], ...]:
        key = (demand.tx, demand.rx, demand.suffers)
        if key not in self.ranked:
            scarce = self.snapshot.scarce
            costs = {name: judge(demand, view, scarce).cost for name, view in self.snapshot.nodes.items()}
            known = [(name, found) for name, found in costs.items() if found is not None]
            self.ranked[key] = sorted(known, key=lambda entry: (entry[1], entry[0]))
        found: list[tuple[str, float]] = []
        for name, there in self.ranked[key]:
            if cost - there < self.price or len(found) == MAX_TARGETS:
                break
            if name != home:
                found.append((name, there))
        return tuple(found)


def _share(demand: Demand, link: LinkLoad) -> float:
    shares = [rate / cap for rate, cap in ((demand.tx, link.cap_tx), (demand.rx, link.cap_rx)) if cap > 0]
    return min(max(shares, default=0.0), 1.0)


def _unweighed(
    resident: Resident, demand: Demand, view: NodeView, snapshot: Snapshot, policy: Policy
) -> Iterator[tuple[Reason, str]]:
    """Why no move of the pod is even weighed."""
    pod, measured = resident
    if pod.exempt:
        yield Reason.EXEMPT, pod.exempt
    if pod.declared.rebalance is Rebalance.NEVER:
        yield Reason.OPTED_OUT, "the pod says never"
    if not pod.controller:
        yield Reason.BOUND_TO_PLACE, "no controller would make it again"
    if pod.host_network:
        yield Reason.IN_DOUBT, "it is on the node's own network: its ports may be taken elsewhere"
    if (pod.declared.placement or snapshot.placement(pod, policy.placement)) is PlacementMode.IGNORE:
        yield Reason.NOT_STEERED, "placement ignores it: a new placement would be no better"
    if not pod.running or pod.deleting:
        yield Reason.IN_DOUBT, "it does not run, or ends"
    if view.ledger.pods:
        yield Reason.IN_DOUBT, f"{view.ledger.pods} pods of {view.name} are not measured yet"
    if demand.neutral or (demand.hurts, demand.suffers) != (measured.cls.hurts, measured.cls.suffers):
        yield Reason.NOT_LIKE_ITS_WORKLOAD, f"it is {measured.cls}, its workload is placed as {demand.cls}"
