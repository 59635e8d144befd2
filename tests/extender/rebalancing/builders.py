# SPDX-License-Identifier: Apache-2.0
"""Clusters of measured nodes, pods in full and configurations, for the tests of moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from extender.model.demand import Demand
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import NodeFacts, NodeView, Snapshot, unplaced, view_node
from extender.placement.policy import Policy
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from extender.rebalancing.gain import Misplaced, Resident, Survey, survey
from extender.rebalancing.objects import NodeInFull, PodInFull, node_in_full, pod_in_full
from footprint.keys import REBALANCE
from footprint.models import NodeFootprint, PodFootprint
from footprint.staleness import LastRenewal
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, STALE_AFTER, M, footprint, pod_info

ACT = RebalanceConfig(RebalanceMode.ACT)
AT_ONCE = replace(ACT, sustain=0.0, cooldown=0.0, node_interval=0.0, per_minute=1e6)
"""Nothing holds a move back."""
LEARNED: Mapping[WorkloadKey, Demand] = {
    ("default", "Job/bulk"): replace(AN_ELEPHANT, tx=190 * M), ("default", "Deployment/web"): A_MOUSE,
}  # fmt: skip


class Measured:
    """Nodes by name, with their footprints; pods are bound where they are measured, unless ``bound`` says else."""

    def __init__(
        self, nodes: Mapping[str, Iterable[PodFootprint] | NodeFootprint], *,
        learned: Mapping[WorkloadKey, Demand] = LEARNED, bound: Mapping[str, PodInfo] | None = None,
        change: Callable[[PodInfo], PodInfo] = lambda pod: pod,
    ) -> None:  # fmt: skip
        self.facts = {
            name: NodeFacts(
                name, pods if isinstance(pods, NodeFootprint) else footprint(*pods), "", LastRenewal("1", 0.0)
            )
            for name, pods in nodes.items()
        }
        views = {name: view_node(facts, 0.0, STALE_AFTER) for name, facts in self.facts.items()}
        self.snapshot = Snapshot(views, learned)
        self.bound = bound if bound is not None else {
            pod.uid: change(pod_info(
                pod.uid, wl=pod.wl, ns=pod.ns, node=name, phase="Running", controller="ReplicaSet"
            ))
            for name, facts in self.facts.items() if facts.footprint is not None
            for pod in facts.footprint.pods
        }  # fmt: skip

    def residents(self, name: str) -> list[Resident]:
        node = self.facts[name].footprint
        pods = node.pods if node is not None else ()
        return [
            Resident(self.bound[pod.uid], pod)
            for pod in pods if pod.uid in self.bound and self.bound[pod.uid].node == name
        ]  # fmt: skip

    def without(self, resident: Resident, name: str) -> NodeView:
        return view_node(unplaced(self.facts[name], resident.pod.uid), 0.0, STALE_AFTER)

    def survey(self, price: float = ACT.restart_cost, policy: Policy | None = None) -> Survey:
        return survey(self.snapshot, self.residents, self.without, policy=policy or Policy(), price=price)


def misplaced(
    uid: str = "p", *, wl: str = "Deployment/web", node: str = "full", targets: Mapping[str, float] | None = None,
    cost: float = 19.0, share: float = 0.0,
) -> Misplaced:  # fmt: skip
    pod = pod_info(uid, wl=wl, node=node, phase="Running", controller="ReplicaSet")
    better = tuple((targets or {"free": 0.0}).items())
    return Misplaced(pod, node, A_MOUSE, cost, "elephants use 95 percent of the link", better, share)


Change = Callable[[dict[str, Any]], object]


def pod(changes: Change | None = None, *, rebalance: str | None = "allow") -> PodInFull:
    """A ready pod of a Deployment that opted in, after ``changes`` to its JSON."""
    obj: dict[str, Any] = {
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": "web"},
            "annotations": {} if rebalance is None else {REBALANCE: rebalance},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "uid": "o", "controller": True}],
        },
        "spec": {
            "nodeName": "full", "schedulerName": "default-scheduler",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}],
            "volumes": [{"name": "token", "projected": {"sources": []}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip
    if changes is not None:
        changes(obj)
    return pod_in_full(obj)


def node(changes: Change | None = None) -> NodeInFull:
    """A ready node with room, after ``changes`` to its JSON."""
    obj: dict[str, Any] = {
        "metadata": {"name": "free", "labels": {"kubernetes.io/hostname": "free", "disk": "ssd", "gen": "7"}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    if changes is not None:
        changes(obj)
    return node_in_full(obj)
