# SPDX-License-Identifier: Apache-2.0
"""Values for the extender's tests: a 200 Mbit/s cluster in a few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from extender.api.protocol import Reader, Request
from extender.model.demand import Demand, Origin
from extender.model.ledger import BoundPod
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeFacts, NodeView, Snapshot, view_node
from extender.placement.policy import Policy
from footprint.classes import TrafficClass
from footprint.codec import encode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from footprint.staleness import LastRenewal

M = 1e6
PATIENCE_SECONDS = 3600.0
"""For tests that are not about deadlines: a machine with much to do answers late, as if nobody were there."""
LINK = 200 * M
STALE_AFTER = 180.0


def patient(*values: Any, **named: Any) -> Policy:
    """A policy without haste."""
    return Policy(*values, **{"deadline": PATIENCE_SECONDS, **named})


def elephant(
    uid: str, tx: float = 190 * M, rx: float = 0.0, wl: str = "Job/bulk", ns: str = "default"
) -> PodFootprint:
    return PodFootprint(
        uid=uid, ns=ns, name=uid, wl=wl, cls=TrafficClass.ELEPHANT, tx=tx, rx=rx, etx=tx, erx=rx, el=1, nf=0.1
    )


def mouse(uid: str, nf: float = 0.0, wl: str = "Deployment/web", ns: str = "default") -> PodFootprint:
    return PodFootprint(uid=uid, ns=ns, name=uid, wl=wl, cls=TrafficClass.MOUSE, tx=1 * M, rx=1 * M, nf=nf, ms=1.0)


def other(uid: str, cls: TrafficClass, wl: str = "Deployment/web", **values: Any) -> PodFootprint:
    return PodFootprint(uid=uid, ns="default", name=uid, wl=wl, cls=cls, **values)


def footprint(
    *pods: PodFootprint, ended: Iterable[PodFootprint] = (), cap: float = LINK, cut: int = 0
) -> NodeFootprint:
    """A node whose link's elephants are those of its pods."""
    el = LinkRates(sum(p.etx for p in pods), sum(p.erx for p in pods))
    return NodeFootprint(
        src="ctnetlink", cap=LinkRates(cap, cap), pods=tuple(pods), ended=tuple(ended), el=el, cut=cut
    )


def view(name: str, *pods: PodFootprint, bound: Iterable[BoundPod] = (), cap: float = LINK) -> NodeView:
    """A fresh node's view at time 0."""
    facts = NodeFacts(name, footprint(*pods, cap=cap), "", LastRenewal("1", 0.0), tuple(bound))
    return view_node(facts, 0.0, STALE_AFTER)


def unknown(name: str) -> NodeView:
    return view_node(NodeFacts(name), 0.0, STALE_AFTER)


def cluster(*views: NodeView, learned: Mapping[tuple[str, str], Demand] | None = None) -> Snapshot:
    return Snapshot({v.name: v for v in views}, learned or {})


def pod_info(uid: str, *, wl: str = "Job/bulk", ns: str = "default", **values: Any) -> PodInfo:
    return PodInfo(uid=uid, ns=ns, name=uid, workload=wl, **values)


AN_ELEPHANT = Demand(TrafficClass.ELEPHANT, 150 * M, 0.0, 0.0, Origin.LEARNED, 3)
A_MOUSE = Demand(TrafficClass.MOUSE, 0.0, 0.0, 1.0, Origin.LEARNED, 3)
MIXED = Demand(TrafficClass.MIXED, 50 * M, 0.0, 0.5, Origin.LEARNED, 3)


def pod_json(
    name: str = "web-7c9-x", *, uid: str = "u-1", ns: str = "default",
    annotations: Mapping[str, Any] | None = None,
    owner: tuple[str, str] | None = ("Job", "bulk"), node: str = "", phase: str = "Pending",
) -> dict[str, Any]:  # fmt: skip
    """A Pod as the API server serves it."""
    owners = (
        [{"apiVersion": "v1", "kind": owner[0], "name": owner[1], "uid": "o", "controller": True}] if owner else []
    )
    return {
        "metadata": {
            "name": name, "namespace": ns, "uid": uid, "resourceVersion": "7", "ownerReferences": owners,
            "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": dict(annotations or {}),
            "managedFields": [{"manager": "kubectl", "operation": "Update"}],
        },
        "spec": {
            "containers": [{"name": "c", "image": "i", "resources": {}}], "schedulerName": "default-scheduler",
            **({"nodeName": node} if node else {}),
        },
        "status": {"phase": phase, "qosClass": "BestEffort"},
    }  # fmt: skip


def decode_request(body: bytes) -> Request:
    """The request in ``body``, by itself. Raises ArgsError, and nothing else."""
    return Reader().read(body)


def node_json(name: str, annotation: str | None = None) -> dict[str, Any]:
    annotations = {NODE_FOOTPRINT: annotation} if annotation is not None else {}
    return {
        "metadata": {"name": name, "resourceVersion": "5", "annotations": annotations},
        "status": {"capacity": {"cpu": "2"}},
    }


def annotation(*pods: PodFootprint, **values: Any) -> str:
    return encode(footprint(*pods, **values)).text
