# SPDX-License-Identifier: Apache-2.0
"""Follow Nodes, Leases and Pods of the API server into the cluster state.

Enters: an API client. Leaves: calls on ClusterState, from one thread per collection. Objects are reduced to the
fields used here as they are read. Guarantees of the reflector hold: never raises, resumes, counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from kubernetes.client import ApiClient

from extender.cluster.state import ClusterState, LeaseInfo, NodeInfo
from extender.model.pods import PodInfo, decode_pod
from footprint.cluster.reflector import Reflector
from footprint.keys import NODE_FOOTPRINT, node_of_lease

WORKED_OUT: Final = "nodes to be worked out"
"""What is waited for when everything is listed."""


def decode_node(obj: Mapping[str, Any]) -> NodeInfo:
    """Name and footprint annotation of a Node's JSON."""
    metadata = obj["metadata"]
    return NodeInfo(metadata["name"], (metadata.get("annotations") or {}).get(NODE_FOOTPRINT))


def decode_lease(obj: Mapping[str, Any]) -> LeaseInfo | None:
    """The heartbeat in a Lease's JSON; None when the Lease is somebody else's."""
    metadata = obj["metadata"]
    node = node_of_lease(metadata["name"])
    renewed = (obj.get("spec") or {}).get("renewTime")
    return LeaseInfo(node, renewed or metadata["resourceVersion"]) if node else None


class NodeSink:
    """Nodes into the cluster state."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def replace(self, items: Sequence[NodeInfo]) -> None:
        self.replace_paged([items])

    def replace_paged(self, pages: Iterable[Sequence[NodeInfo]]) -> None:
        listed: set[str] = set()
        for page in pages:
            self._state.put_nodes(page)
            listed.update(node.name for node in page)
        for gone in self._state.node_names() - listed:
            self._state.drop_node(gone)

    def upsert(self, item: NodeInfo) -> None:
        self._state.put_nodes([item])

    def delete(self, item: NodeInfo) -> None:
        self._state.drop_node(item.name)


class LeaseSink:
    """Heartbeats into the cluster state."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def replace(self, items: Sequence[LeaseInfo]) -> None:
        self.replace_paged([items])

    def replace_paged(self, pages: Iterable[Sequence[LeaseInfo]]) -> None:
        listed: set[str] = set()
        for lease in chain.from_iterable(pages):
            self._state.put_lease(lease)
            listed.add(lease.node)
        for gone in self._state.leased() - listed:
            self._state.drop_lease(gone)

    def upsert(self, item: LeaseInfo) -> None:
        self._state.put_lease(item)

    def delete(self, item: LeaseInfo) -> None:
        self._state.drop_lease(item.node)


class PodSink:
    """Pods into the cluster state."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def replace(self, items: Sequence[PodInfo]) -> None:
        self.replace_paged([items])

    def replace_paged(self, pages: Iterable[Sequence[PodInfo]]) -> None:
        listed: set[str] = set()
        for pod in chain.from_iterable(pages):
            self._state.put_pod(pod)
            listed.add(pod.uid)
        for gone in self._state.pod_uids() - listed:
            self._state.drop_pod(gone)

    def upsert(self, item: PodInfo) -> None:
        self._state.put_pod(item)

    def delete(self, item: PodInfo) -> None:
        self._state.drop_pod(item.uid)


class Watches:
    """The three watches and the thread that makes snapshots."""

    def __init__(self, api: ApiClient, state: ClusterState, *, namespace: str) -> None:
        self._state = state
        self.by_resource: dict[str, Reflector[Any]] = {
            "nodes": Reflector(api, "/api/v1/nodes", decode=decode_node, sink=NodeSink(state)),
            "leases": Reflector(
                api, f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
                decode=decode_lease, sink=LeaseSink(state),
            ),
            "pods": Reflector(api, "/api/v1/pods", decode=decode_pod, sink=PodSink(state)),
        }  # fmt: skip
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._rounds: int | None = None
        """Of the state, when every collection was first seen to be listed."""
        self._shown = False
        """A snapshot held everything once that was listed at first."""

    @property
    def waiting_for(self) -> list[str]:
        """Collections not listed yet, or what is left to do with them before a snapshot shows all of them."""
        missing = [name for name, reflector in self.by_resource.items() if not reflector.synced.is_set()]
        if not missing and not self._shown:
            if self._rounds is None:
                self._rounds = self._state.rounds
            # In a busy cluster something is always about to be taken in: what counts is that nothing was, once.
            self._shown = self._state.rounds > self._rounds or self._state.settled
        return missing or ([] if self._shown else [WORKED_OUT])

    def start(self) -> None:
        self._threads = [reflector.start(self._stop) for reflector in self.by_resource.values()]
        builder = threading.Thread(target=self._state.run, args=(self._stop,), name="snapshot", daemon=True)
        builder.start()
        self._threads.append(builder)

    def stop(self, timeout: float = 2.0) -> None:
        """End all threads; gives each at most ``timeout`` seconds."""
        self._stop.set()
        self._state.wake()
        for reflector in self.by_resource.values():
            reflector.interrupt()
        for thread in self._threads:
            thread.join(timeout)
