# SPDX-License-Identifier: Apache-2.0
"""Node objects in the API: registered once, reported every five minutes, kept alive by Leases.

Enters: node descriptions. Leaves: Node objects that the node lifecycle controller and the scheduler treat as real.
Guarantees: a Lease is renewed even where the status was refused, and one node's failure costs no other node. An
API server that is away is asked again. Building the objects is pure; ``Registrar`` sends them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster.client import MERGE_PATCH, ApiError, request
from lab.network import addresses
from lab.nodes.status import stamp

LEASE_SECONDS: Final = 40
RENEW_SECONDS: Final = 10.0
STATUS_SECONDS: Final = 300.0
"""A kubelet reports an unchanged status this seldom, because each write goes to every watcher."""
RETRY_SECONDS: Final = 0.5
MAX_PODS: Final = 110

_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NodeDescription:
    """A node as ``nodes.json`` has it; ``cpu`` and ``memory`` are Kubernetes quantities."""

    name: str
    index: int
    link: str = "200M"
    cpu: str = "8"
    memory: str = "32Gi"

    @property
    def ips(self) -> tuple[str, str]:
        """Its addresses, IPv4 first."""
        return addresses.node_v4(self.index), addresses.node_v6(self.index)


def node_object(node: NodeDescription) -> dict[str, Any]:
    """The Node as it is created, without status."""
    cidrs = [addresses.pod_cidr_v4(node.index), addresses.pod_cidr_v6(node.index)]
    labels = {"kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs},
    }


def node_status(node: NodeDescription, since: float, now: float) -> dict[str, Any]:
    """The strategic merge patch of a node's status. Times are seconds since the epoch.

    Lists in such a patch merge by a key, which for addresses is their type. A node has two of type InternalIP, so
    the list says that it replaces the old one, as a kubelet's does. Without that the API server refuses every
    patch after the first.
    """
    resources = {"cpu": node.cpu, "memory": node.memory, "pods": str(MAX_PODS)}
    times = {"lastHeartbeatTime": stamp(now), "lastTransitionTime": stamp(since)}
    pressures = ("MemoryPressure", "DiskPressure", "PIDPressure")
    conditions = [
        {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "network namespace up", **times},
        *({"type": p, "status": "False", "reason": "Lab", "message": "not observed", **times} for p in pressures),
    ]
    shown = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeProxyVersion")
    info = dict.fromkeys(shown, "") | {
        "containerRuntimeVersion": "lab://1", "kubeletVersion": "v1.37.2", "operatingSystem": "linux",
        "architecture": "amd64",
    }  # fmt: skip
    return {
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions,
            "addresses": [
                *({"type": "InternalIP", "address": ip} for ip in node.ips),
                {"type": "Hostname", "address": node.name},
                {"$patch": "replace"},
            ],
            "nodeInfo": info,
        }
    }


def lease_object(node: NodeDescription, uid: str, renewed: float) -> dict[str, Any]:
    """The node's heartbeat, owned by the Node so that it goes with it."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node.name, "uid": uid}
    time_text = datetime.fromtimestamp(renewed, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node.name, "namespace": "kube-node-lease", "ownerReferences": [owner]},
        "spec": {"holderIdentity": node.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": time_text},
    }


class Registrar:
    """Registers nodes and keeps them alive. ``clock`` gives monotonic seconds."""

    def __init__(
        self, api: ApiClient, nodes: Sequence[NodeDescription], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._nodes, self._clock = api, nodes, clock
        self._uids: dict[str, str] = {}
        self._since = time.time()
        self._status_due: dict[str, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Keep the nodes alive until ``stop``. A failure is logged once and tried again sooner."""
        failing = False
        while not stop.is_set():
            try:
                self.keep_alive()
                failing = False
            except Exception as error:  # the thread lives on: without it every node of the lab is lost
                if not failing:
                    unforeseen = None if isinstance(error, ApiError) else error
                    _log.warning("nodes cannot be kept alive, trying again", error=str(error), exc_info=unforeseen)
                failing = True
            stop.wait(RETRY_SECONDS if failing else RENEW_SECONDS)

    def keep_alive(self) -> None:
        """Register nodes that are new, renew every Lease, report each status that is due.

        Every node is tried. Raises the first failure afterwards.
        """
        failures: list[Exception] = []
        for node in self._nodes:
            for step in (self._renew, self._report):
                try:
                    step(node)
                except Exception as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def _uid(self, node: NodeDescription) -> str:
        if node.name not in self._uids:
            self._uids[node.name] = self._register(node)
            self._status_due[node.name] = self._clock()
        return self._uids[node.name]

    def _report(self, node: NodeDescription) -> None:
        self._uid(node)
        now = self._clock()
        if now >= self._status_due[node.name]:
            self._send_status(node)
            self._status_due[node.name] = now + STATUS_SECONDS

    def _register(self, node: NodeDescription) -> str:
        try:
            made = request(self._api, "POST", "/api/v1/nodes", body=node_object(node))
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            path, body = f"/api/v1/nodes/{node.name}", node_object(node)
            made = request(self._api, "PATCH", path, body=body, content_type=MERGE_PATCH)
        return str(made["metadata"]["uid"])

    def _send_status(self, node: NodeDescription) -> None:
        path = f"/api/v1/nodes/{node.name}/status"
        body = node_status(node, self._since, time.time())
        try:
            request(self._api, "PATCH", path, body=body, content_type="application/strategic-merge-patch+json")
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:  # somebody deleted the Node: register it again
                self._uids.pop(node.name, None)
            raise

    def _renew(self, node: NodeDescription) -> None:
        body = lease_object(node, self._uid(node), time.time())
        try:
            request(self._api, "PATCH", f"{_LEASES}/{node.name}", body=body, content_type=MERGE_PATCH)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            request(self._api, "POST", _LEASES, body=body)
