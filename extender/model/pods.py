# SPDX-License-Identifier: Apache-2.0
"""A pod as the extender sees it, whether it came with a request or from the pod watch.

Enters: a Pod as the API serves it (a JSON dict). Leaves: a PodInfo with the few fields that placement uses; the
full object is dropped at once. Guarantees: an optional field of the wrong shape counts as absent; a pod without
any name is a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from footprint.declared import Declared, declared_by
from footprint.kubevirt import Guest
from footprint.workload import guest_in, workload_of

_ENDED: Final = frozenset({"Succeeded", "Failed"})
_SYSTEM_NAMESPACE: Final = "kube-system"
_SYSTEM_PRIORITIES: Final = frozenset({"system-node-critical", "system-cluster-critical"})

NOTHING_DECLARED: Final = Declared()

WorkloadKey = tuple[str, str]
"""Namespace and ``Kind/name``."""


@dataclass(frozen=True, slots=True)
class PodInfo:
    uid: str
    ns: str
    name: str
    workload: str
    """``Kind/name`` inside the namespace (``footprint.workload``)."""
    declared: Declared = NOTHING_DECLARED
    node: str = ""
    """Node it is bound to; empty while it waits for one."""
    phase: str = "Pending"
    deleting: bool = False
    controller: str = ""
    """Kind of the controlling owner, such as ``ReplicaSet``; empty when nobody controls it."""
    scheduler: str = ""
    priority_class: str = ""
    host_network: bool = False
    """On the node's own network."""
    guest: Guest | None = None
    """Whose guest it runs, or will run after a migration; None: no virtual machine's."""
    created: str = ""
    """When it was created, in RFC 3339; said of virtual machines' pods alone."""

    @property
    def key(self) -> WorkloadKey:
        return (self.ns, self.workload)

    @property
    def ended(self) -> bool:
        """It will send nothing more."""
        return self.phase in _ENDED

    @property
    def running(self) -> bool:
        return self.phase == "Running"

    @property
    def exempt(self) -> str | None:
        """Why placement never touches this pod, or None when it may."""
        if self.controller == "DaemonSet":
            return "a DaemonSet's pods have their nodes given"
        if self.ns == _SYSTEM_NAMESPACE:
            return f"pods of {_SYSTEM_NAMESPACE} are the system's own"
        if self.priority_class in _SYSTEM_PRIORITIES:
            return f"priority class {self.priority_class} is the system's own"
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _owners(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _controller_kind(owners: list[Any]) -> str:
    for owner in owners:
        if isinstance(owner, Mapping) and owner.get("controller"):
            return _text(owner.get("kind"))
    return ""


def decode_pod(obj: Mapping[str, Any]) -> PodInfo:
    """PodInfo of a Pod's JSON. Raises ValueError when it has neither a name nor a generateName."""
    metadata, spec, status = (_mapping(obj.get(part)) for part in ("metadata", "spec", "status"))
    name = _text(metadata.get("name")) or _text(metadata.get("generateName"))
    if not name:
        raise ValueError("a pod without metadata.name")
    owners = _owners(metadata.get("ownerReferences"))
    annotations = _mapping(metadata.get("annotations"))
    identity = {
        "name": name,
        "generateName": metadata.get("generateName"),
        "annotations": annotations,
        "labels": _mapping(metadata.get("labels")),
        "ownerReferences": owners,
    }
    guest = guest_in(identity)
    return PodInfo(
        uid=_text(metadata.get("uid")),
        ns=_text(metadata.get("namespace")),
        name=name,
        workload=workload_of(identity),
        declared=declared_by(annotations),
        node=_text(spec.get("nodeName")),
        phase=_text(status.get("phase")) or "Pending",
        deleting=metadata.get("deletionTimestamp") is not None,
        controller=_controller_kind(owners),
        scheduler=_text(spec.get("schedulerName")),
        priority_class=_text(spec.get("priorityClassName")),
        host_network=spec.get("hostNetwork") is True,
        guest=guest,
        created=_text(metadata.get("creationTimestamp")) if guest is not None else "",
    )
