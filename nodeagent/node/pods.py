# SPDX-License-Identifier: Apache-2.0
"""The pods of this node, slim.

Enters: Pod objects as the API serves them, from a reflector. Leaves: an immutable snapshot with a generation
number that grows with each change. Guarantees: safe to read from any thread; one object per UID; of a pod only
what the agent uses is kept.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from footprint.declared import AnnotationProblem, declared_by
from footprint.workload import machine_of, workload_of
from nodeagent.node.passthrough import passthrough_interfaces

_ENDED: Final = frozenset({"Succeeded", "Failed"})
_STATIC: Final = "kubernetes.io/config.hash"
"""The annotation in which a kubelet states the UID by which it knows a pod of its own."""
_VM_LABELS: Final = ("vm.kubevirt.io/name", "kubevirt.io/domain")
"""Of a pod whose owner is not known. The first is the guest's host name, which need not be the machine's."""


@dataclass(frozen=True, slots=True)
class LocalPod:
    """What the agent keeps of a pod."""

    uid: str
    ns: str
    name: str
    workload: str
    """``Kind/name`` (``footprint.workload``)."""
    phase: str = ""
    host_network: bool = False
    group: str = ""
    """The UID in the name of its cgroup, where that is another: a static pod's."""
    addresses: tuple[bytes, ...] = ()
    """Packed: 4 bytes for IPv4, 16 for IPv6."""
    started: float = 0.0
    """The kubelet's start time, else the creation time, in Unix seconds; only compared between pods of a node."""
    vm: str | None = None
    """Name of the KubeVirt virtual machine that the pod runs."""
    passthrough: tuple[str, ...] = ()
    """Its interfaces that bypass this node's kernel (``nodeagent.node.passthrough``)."""
    problems: tuple[AnnotationProblem, ...] = ()
    """Annotations that were not understood."""

    @property
    def display_name(self) -> str:
        """As people call it, with the virtual machine that it runs."""
        name = f"{self.ns}/{self.name}" if self.ns else self.name
        return f"{name} (VM {self.vm})" if self.vm else name

    @property
    def ended(self) -> bool:
        """Its processes are gone, and so is its claim to its addresses."""
        return self.phase in _ENDED

    @property
    def measured(self) -> bool:
        """Runs with addresses of its own, by which its traffic is known."""
        return not self.ended and not self.host_network

    @property
    def sharing(self) -> bool:
        """Runs on the node's own network: its traffic is the node's, unless its sockets are seen."""
        return not self.ended and self.host_network


def pods_path() -> str:
    return "/api/v1/pods"


def pods_query(node: str) -> dict[str, str]:
    """Only this node's pods: the API server filters, not every agent."""
    return {"fieldSelector": f"spec.nodeName={node}"}


def _packed(text: object) -> bytes | None:
    try:
        return ipaddress.ip_address(text).packed if isinstance(text, str) else None
    except ValueError:
        return None


def _addresses(status: Mapping[str, Any]) -> tuple[bytes, ...]:
    listed = [entry.get("ip") for entry in status.get("podIPs") or () if isinstance(entry, Mapping)]
    packed = (_packed(text) for text in [*listed, status.get("podIP")])
    return tuple(dict.fromkeys(address for address in packed if address is not None))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _unix(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def decode_pod(raw: dict[str, Any]) -> LocalPod:
    """A pod from its API object. Raises KeyError without UID, namespace or name; passes over anything else."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = metadata.get("labels") or {}
    return LocalPod(
        uid=metadata["uid"],
        ns=metadata["namespace"],
        name=metadata["name"],
        workload=workload_of(metadata),
        phase=str(status.get("phase") or ""),
        host_network=bool(spec.get("hostNetwork")),
        group=_text((metadata.get("annotations") or {}).get(_STATIC)),
        addresses=_addresses(status),
        started=_unix(status.get("startTime") or metadata.get("creationTimestamp")),
        vm=machine_of(metadata)
        or next((labels[key] for key in _VM_LABELS if isinstance(labels.get(key), str)), None),
        passthrough=passthrough_interfaces(metadata.get("annotations") or {}),
        problems=declared_by(metadata.get("annotations")).problems,
    )


@dataclass(frozen=True, slots=True)
class PodSnapshot:
    """All pods of the node at one moment."""

    generation: int = 0
    pods: Mapping[str, LocalPod] = field(default_factory=lambda: MappingProxyType({}))
    """By UID."""


class PodStore:
    """Sink of the pod reflector; ``snapshot`` never blocks for longer than one change takes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods: dict[str, LocalPod] = {}
        self._snapshot = PodSnapshot()

    def replace(self, items: Sequence[LocalPod]) -> None:
        with self._lock:
            self._pods = {pod.uid: pod for pod in items}
            self._changed()

    def upsert(self, item: LocalPod) -> None:
        with self._lock:
            if self._pods.get(item.uid) != item:  # most updates touch nothing that is kept
                self._pods[item.uid] = item
                self._changed()

    def delete(self, item: LocalPod) -> None:
        with self._lock:
            if self._pods.pop(item.uid, None) is not None:
                self._changed()

    def snapshot(self) -> PodSnapshot:
        with self._lock:
            return self._snapshot

    def _changed(self) -> None:
        self._snapshot = PodSnapshot(self._snapshot.generation + 1, MappingProxyType(dict(self._pods)))
