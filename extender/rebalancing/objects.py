# SPDX-License-Identifier: Apache-2.0
"""Pods and Nodes in full, as far as moves need them. Pure.

Enters: a Pod or a Node as the API serves it (a JSON dict). Leaves: plain values. Guarantees: the wrong shape is
a ValueError; what could keep a pod from another node and is not understood here becomes a named doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from kubernetes.utils.quantity import parse_quantity

from footprint.declared import Rebalance, rebalance_of

HOSTNAME: Final = "kubernetes.io/hostname"
MIRROR: Final = "kubernetes.io/config.mirror"
_SMALL_VOLUMES: Final = frozenset({"configMap", "secret", "downwardAPI", "projected"})
"""Made anew wherever the pod runs."""

Json = Mapping[str, Any]
Requests = Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Apart:
    """A required anti-affinity of a pod to others on its node."""

    namespaces: frozenset[str]
    selector: Json
    """A LabelSelector."""


@dataclass(frozen=True, slots=True)
class PodInFull:
    uid: str
    ns: str
    name: str
    node: str
    labels: Mapping[str, str]
    made_at: float
    """Seconds since 1970, by the API server's clock."""
    owner: str
    """Kind of the controlling owner; empty for none."""
    scheduler: str
    ready: bool
    ended: bool
    deleting: bool
    mirror: bool
    rebalance: Rebalance | None
    requests: Requests
    selector: Mapping[str, str]
    """nodeSelector"""
    terms: Sequence[Json] | None
    """Required node affinity: one of these must match; None: none is required."""
    tolerations: Sequence[Json]
    apart: tuple[Apart, ...]
    scratch: bool
    """It has an emptyDir, which a move empties."""
    held: tuple[str, ...]
    """Volumes that may exist on its node alone."""
    doubts: tuple[str, ...]
    """Constraints that are not evaluated here."""


@dataclass(frozen=True, slots=True)
class NodeInFull:
    name: str
    labels: Mapping[str, str]
    taints: Sequence[Json]
    unschedulable: bool
    ready: bool
    rebalance: Rebalance | None
    allocatable: Requests = field(default_factory=dict)


def _map(value: object) -> Json:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"{str(value)[:60]!r} is no object")
    return value


def _list(value: object) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:60]!r} is no list")
    return [_map(item) for item in value]


def _quantities(value: object) -> dict[str, Decimal]:
    return {str(name): parse_quantity(amount) for name, amount in _map(value).items()}


def _sum(parts: Sequence[Requests]) -> dict[str, Decimal]:
    total: dict[str, Decimal] = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def requests_of(spec: Json) -> Requests:
    """What a pod asks of its node, and never less than its ``spec`` makes the scheduler count: containers with all
    sidecars, or the largest init container with them, or what the pod asks as a whole; and the overhead."""

    def asked(part: Json) -> dict[str, Decimal]:
        return _quantities(_map(part.get("resources")).get("requests"))

    def at_least(wanted: Requests) -> None:
        for name, amount in wanted.items():
            together[name] = max(together.get(name, Decimal(0)), amount)

    first = _list(spec.get("initContainers"))
    sidecars = _sum([asked(one) for one in first if one.get("restartPolicy") == "Always"])
    together = _sum([sidecars, *(asked(one) for one in _list(spec.get("containers")))])
    for one in first:
        if one.get("restartPolicy") != "Always":
            at_least(_sum([sidecars, asked(one)]))
    at_least(asked(spec))
    return _sum([together, _quantities(spec.get("overhead")), {"pods": Decimal(1)}])


def pod_in_full(obj: Json) -> PodInFull:
    """Raises ValueError, or what reading such a shape raises."""
    metadata, spec, status = (_map(obj.get(part)) for part in ("metadata", "spec", "status"))
    annotations, affinity = _map(metadata.get("annotations")), _map(spec.get("affinity"))
    node_affinity = _map(affinity.get("nodeAffinity")).get("requiredDuringSchedulingIgnoredDuringExecution")
    owner = next((o for o in _list(metadata.get("ownerReferences")) if o.get("controller")), {})
    namespace = str(metadata["namespace"])
    apart, doubts = _apart(affinity, namespace)
    conditions = {str(c.get("type")): c.get("status") for c in _list(status.get("conditions"))}
    scratch, held = _volumes(spec)
    return PodInFull(
        uid=str(metadata["uid"]), ns=namespace, name=str(metadata["name"]), node=str(spec.get("nodeName") or ""),
        labels={str(k): str(v) for k, v in _map(metadata.get("labels")).items()},
        made_at=datetime.fromisoformat(str(metadata["creationTimestamp"])).timestamp(),
        owner=str(owner.get("kind") or ""), scheduler=str(spec.get("schedulerName") or ""),
        ready=conditions.get("Ready") == "True", ended=status.get("phase") in ("Succeeded", "Failed"),
        deleting=metadata.get("deletionTimestamp") is not None, mirror=MIRROR in annotations,
        rebalance=rebalance_of(annotations), requests=requests_of(spec),
        selector={str(k): str(v) for k, v in _map(spec.get("nodeSelector")).items()},
        terms=None if node_affinity is None else _list(_map(node_affinity).get("nodeSelectorTerms")),
        tolerations=_list(spec.get("tolerations")), apart=apart, scratch=scratch, held=held,
        doubts=(*doubts, *_doubts(spec)),
    )  # fmt: skip


def node_in_full(obj: Json) -> NodeInFull:
    """Raises ValueError, or what reading such a shape raises."""
    metadata, spec, status = (_map(obj.get(part)) for part in ("metadata", "spec", "status"))
    conditions = {str(c.get("type")): c.get("status") for c in _list(status.get("conditions"))}
    return NodeInFull(
        str(metadata["name"]), {str(k): str(v) for k, v in _map(metadata.get("labels")).items()},
        _list(spec.get("taints")), spec.get("unschedulable") is True, conditions.get("Ready") == "True",
        rebalance_of(_map(metadata.get("annotations"))), _quantities(status.get("allocatable")),
    )  # fmt: skip


def _apart(affinity: Json, namespace: str) -> tuple[tuple[Apart, ...], list[str]]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    apart: list[Apart] = []
    doubts = ["pod affinity"] if _list(_map(affinity.get("podAffinity")).get(required)) else []
    for term in _list(_map(affinity.get("podAntiAffinity")).get(required)):
        # An empty namespaceSelector selects every namespace; only an absent one selects none.
        everywhere = term.get("namespaceSelector") is not None
        plain = not (everywhere or term.get("matchLabelKeys") or term.get("mismatchLabelKeys"))
        if term.get("topologyKey") == HOSTNAME and plain:
            names = term.get("namespaces") or [namespace]
            apart.append(Apart(frozenset(map(str, names)), _map(term.get("labelSelector"))))
        else:
            doubts.append(f"pod anti-affinity by {term.get('topologyKey')}")
    return tuple(apart), doubts


def _volumes(spec: Json) -> tuple[bool, tuple[str, ...]]:
    """Whether there is an emptyDir, and the volumes that may be on this node alone."""
    scratch, held = False, []
    for volume in _list(spec.get("volumes")):
        kinds = {key for key, value in volume.items() if key != "name" and value is not None}
        if kinds == {"emptyDir"}:
            scratch = True
        elif not kinds <= _SMALL_VOLUMES:
            held.append(f"{volume.get('name')} ({', '.join(sorted(kinds))})")
    return scratch, tuple(held)


def _doubts(spec: Json) -> list[str]:
    doubts = []
    if any(c.get("whenUnsatisfiable") != "ScheduleAnyway" for c in _list(spec.get("topologySpreadConstraints"))):
        doubts.append("topology spread")
    doubts += [field for field in ("resourceClaims", "schedulingGates", "resources") if spec.get(field)]
    containers = [*_list(spec.get("containers")), *_list(spec.get("initContainers"))]
    if any(port.get("hostPort") for one in containers for port in _list(one.get("ports"))):
        doubts.append("host ports")
    return doubts
