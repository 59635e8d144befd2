# SPDX-License-Identifier: Apache-2.0
"""Many Nodes in a real API server without machines: registered, annotated and kept alive; and pods to place.

Enters: an API client and a number of nodes. Leaves: Node objects that the node controller and kube-scheduler treat
as real. A thread renews both Leases of each node: the kubelet's and the agent's. Guarantees: the thread ends with
the ``with`` block. Pure functions make the objects, the same every time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import structlog
from kubernetes.client import ApiClient

from footprint.cluster.client import MERGE_PATCH, ApiError, request
from footprint.keys import DEFAULT_NAMESPACE, POD_CLASS, POD_EXPECTED_BANDWIDTH, lease_name
from lab.bench.extender.cluster import node_name, node_object
from lab.controlplane.readiness import is_ready
from lab.nodes.registration import NodeDescription, node_status
from lab.nodes.status import stamp

NAMESPACE: Final = "bench"
MEASURED_PODS: Final = 30
"""In each node's footprint."""
ELEPHANT_EVERY: Final = 5
_LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
_NODE_LEASES: Final = "kube-node-lease"
_RENEW_SECONDS: Final = 25.0
"""Between two renewals of all Leases. A node without renewals counts as lost after 40 s, an agent after 180 s.
Thousands of renewals keep this machine busy for seconds, so renew before measuring."""
_CLIENTS: Final = 8
_READY_SECONDS: Final = 300.0

_log = structlog.get_logger()


def registered(number: int, now: float) -> dict[str, Any]:
    """Node number ``number`` as a kubelet and an agent write it: ready, with a footprint."""
    node = node_object(number, MEASURED_PODS)
    name = node["metadata"]["name"]
    del node["metadata"]["resourceVersion"]  # the API server gives it
    node["metadata"]["labels"] = {
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
    }  # fmt: skip
    # The lab's address plan ends at 200 nodes. Nothing connects to these.
    return {**node, **node_status(NodeDescription(name, number % 200 + 1), now, now)}


def lease(name: str, namespace: str, now: float) -> dict[str, Any]:
    """A Lease just renewed."""
    renewed = f"{stamp(now)[:-1]}.{int(now % 1 * 1e6):06d}Z"
    spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": renewed}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}


def pending_pod(number: int) -> dict[str, Any]:
    """A small pod that declares its class. Every fifth is an elephant, and declares its bandwidth."""
    declared = {POD_CLASS: "mouse"}
    if number % ELEPHANT_EVERY == 0:
        declared = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "400M"}
    container = {
        "name": "main", "image": "registry.example/service:1.42.0",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    }  # fmt: skip
    return {
        "metadata": {"name": f"pod-{number}", "labels": {"app": "bench"}, "annotations": declared},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }


class Crowd:
    """The nodes, kept alive inside the ``with`` block. They go with their lab's API server."""

    def __init__(self, api: ApiClient, nodes: int) -> None:
        self._api, self.nodes = api, nodes
        self._names = [node_name(number) for number in range(nodes)]
        self._stop = threading.Event()
        self._renewing = threading.Lock()
        self._renewed = 0.0
        self._renewer = threading.Thread(target=self._keep, name="renew", daemon=True)

    def __enter__(self) -> Self:
        now = time.time()
        self._each(lambda number: self._send("POST", "/api/v1/nodes", registered(number, now)), range(self.nodes))
        self._each(lambda name: self._create_leases(name, now), self._names)
        self._renewed = time.monotonic()
        self._renewer.start()
        self._wait(self._all_ready, "the nodes were not all ready")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._renewer.join()

    def create_pods(self, count: int) -> None:
        """``count`` pods without a node. Raises ApiError."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        self._each(lambda number: self._send("POST", path, pending_pod(number)), range(count))

    def delete_pods(self) -> None:
        """Delete all pods without a grace period, since no kubelet ends them. Raises ApiError."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        request(self._api, "DELETE", path, query={"gracePeriodSeconds": "0"}, timeout=(3.0, _READY_SECONDS))
        self._wait(lambda: not request(self._api, "GET", path, query={"limit": "1"})["items"], "pods did not go")

    def renew(self, older_than: float = 0.0) -> None:
        """Renew every Lease, unless the last renewal is less than ``older_than`` seconds ago."""
        with self._renewing:
            if time.monotonic() < self._renewed + older_than:
                return
            now = time.time()
            self._each(lambda name: self._renew_leases(name, now), self._names)
            self._renewed = time.monotonic()

    def _keep(self) -> None:
        while not self._stop.wait(max(1.0, self._renewed + _RENEW_SECONDS - time.monotonic())):
            try:
                self.renew(older_than=_RENEW_SECONDS)
            except ApiError as error:
                _log.warning("Leases were not renewed, so nodes may count as lost; trying again", error=str(error))

    def _leases(self, node: str) -> tuple[tuple[str, str], ...]:
        return (_NODE_LEASES, node), (DEFAULT_NAMESPACE, lease_name(node))

    def _create_leases(self, node: str, now: float) -> None:
        for namespace, name in self._leases(node):
            self._send("POST", _LEASES.format(namespace), lease(name, namespace, now))

    def _renew_leases(self, node: str, now: float) -> None:
        for namespace, name in self._leases(node):
            path, body = f"{_LEASES.format(namespace)}/{name}", lease(name, namespace, now)
            request(self._api, "PATCH", path, body=body, content_type=MERGE_PATCH)

    def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        request(self._api, method, path, body=body)

    def _each(self, act: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Call ``act`` for each item, several at a time. Raises the first ApiError."""
        with ThreadPoolExecutor(_CLIENTS) as clients:
            for _ in clients.map(act, items):
                pass

    def _all_ready(self) -> bool:
        nodes = request(self._api, "GET", "/api/v1/nodes", timeout=(3.0, 60.0))["items"]
        ready = {node["metadata"]["name"] for node in nodes if is_ready(node)}
        return ready >= set(self._names)

    def _wait(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise ApiError(0, f"{otherwise} within {_READY_SECONDS:g} s")
            time.sleep(0.5)
