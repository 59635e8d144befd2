# SPDX-License-Identifier: Apache-2.0
"""Every step of a verdict as JSON: why a pod would go where it would go.

Enters: a decoded request, the snapshot, the policy and the time. Leaves: a plain dict. Pure. It calls the same
functions as filter and prioritize, so that it cannot differ from them. Nodes that the filter drops have no score,
because kube-scheduler asks for none.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from extender.model.cost import PlacementCost, placement_cost
from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeState, NodeView, Snapshot
from extender.model.trafficfootprint import Record
from extender.placement.filtering import effective_placement, filter_nodes
from extender.placement.node_verdict import judge
from extender.placement.policy import Policy
from extender.placement.scoring import score_nodes
from extender.placement.tie_break import break_tie_if_known, needs_tie_break
from footprint.declared import PlacementMode


def _cost(cost: PlacementCost) -> dict[str, float]:
    return {
        "waiting": cost.waiting, "harm": cost.harm, "slowdown": cost.slowdown, "room": cost.first_mouse,
        "total": cost.total,
    }  # fmt: skip


def _node(demand: Demand, view: NodeView, scarce: bool) -> dict[str, Any]:
    if not view.known:
        return {"state": view.state.value, "why": view.detail}
    judged = judge(demand, view, scarce)
    if judged.error:
        return {"state": NodeState.FAILED.value, "why": judged.error}
    view = view.met_by(demand)
    link = view.link
    cost = placement_cost(demand.tx, demand.rx, demand.suffers, link, scarce) if not demand.neutral else None
    return {
        "state": view.state.value,
        "load": view.load,
        "link": {
            **asdict(link),
            "u_tx": link.u_tx,
            "u_rx": link.u_rx,
            "waiting": view.waiting,
            "capacity_by": view.capacity_by,
            "sure": view.sure,
            "full": list(view.full),
            "guessed": list(view.guessed),
        },
        "predicted_pods": view.ledger.pods,
        "cost": _cost(cost) if cost else None,
        "unsuitable": judged.reason,
    }


def _record(record: Record | None) -> dict[str, Any] | None:
    """The TrafficFootprint of the pod's workload; None when there is none."""
    if record is None:
        return None
    remembered, stated = record.demand, record.stated
    return {
        "name": record.name,
        "spec": {
            "class": stated.cls, "expected_bandwidth": stated.bandwidth, "placement": stated.placement,
        },
        "status": remembered.describe() if remembered is not None else None,
        "malformed": list(record.problems),
    }  # fmt: skip


def _scores(
    pod: PodInfo, passed: list[str], demand: Demand, snapshot: Snapshot
) -> tuple[dict[str, int], str | None]:
    """The scores of ``passed``, and the node that the tie break chose."""
    scores, chosen = score_nodes(passed, demand, snapshot), None
    # A manifest has no UID yet, and the UID decides which of equal nodes is chosen.
    if pod.uid and needs_tie_break(demand, snapshot):
        scores, chosen = break_tie_if_known(passed, scores, pod.uid, demand, snapshot)
    return dict(zip(passed, scores, strict=True)), chosen


def explain(pod: PodInfo, names: list[str], snapshot: Snapshot, policy: Policy, now: float) -> dict[str, Any]:
    """The verdict on ``pod`` over ``names``, with everything it rests on."""
    demand = snapshot.demand(pod)
    waited = snapshot.waited(pod, now)
    default = snapshot.placement(pod, policy.placement)
    placement = effective_placement(pod, default, waited, policy.relax_after)
    verdict = filter_nodes(names, demand, placement, snapshot)
    neutral = Demand() if placement is PlacementMode.IGNORE else demand
    scores, chosen = _scores(pod, verdict.passed, neutral, snapshot)
    return {
        "pod": {
            "namespace": pod.ns,
            "name": pod.name,
            "workload": pod.workload,
            "exempt": pod.exempt,
            "node": pod.node or None,
        },
        "problems": [problem.message for problem in pod.declared.problems],
        "demand": {**asdict(demand), "text": demand.describe()},
        "traffic_footprint": _record(snapshot.records.get(pod.key)),
        "placement": placement.value,
        "mice_free_links_scarce": snapshot.scarce,
        "waited_seconds": round(waited, 1),
        "committed_to": chosen,
        "nodes": {
            name: {
                **_node(demand, snapshot.view(name), snapshot.scarce),
                "score": scores.get(name),
                "passes": name in scores,
            }
            for name in names
        },
    }
