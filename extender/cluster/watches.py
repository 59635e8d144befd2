# SPDX-License-Identifier: Apache-2.0
"""Follow Nodes, Leases and Pods of the API server into the cluster state.

Enters: an API client. Leaves: calls on ClusterState, from one thread per collection. Each object is reduced to the
fields used here as it is read. Guarantees: those of the reflector.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from kubernetes.client import ApiClient

from extender.cluster.labels import MAX_LABEL, ZONE
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.pods import PodInfo, decode_pod
from footprint.cluster import paths
from footprint.cluster.reflector import Reflector
from footprint.cluster.sink import StateSink
from footprint.keys import NODE_FOOTPRINT, node_of_lease

COMPUTED: Final = "nodes to be computed"
"""What readiness waits for once everything is listed."""


def decode_node(obj: Mapping[str, Any], group_label: str = ZONE) -> NodeInfo:
    """Name, footprint annotation and group of a Node's JSON."""
    metadata = obj["metadata"]
    labels = metadata.get("labels")
    found = labels.get(group_label) if isinstance(labels, Mapping) else None
    group = found[:MAX_LABEL] if isinstance(found, str) else ""
    return NodeInfo(metadata["name"], (metadata.get("annotations") or {}).get(NODE_FOOTPRINT), group)


def decode_lease(obj: Mapping[str, Any]) -> LeaseInfo | None:
    """The heartbeat in a Lease's JSON; None for any other Lease."""
    metadata = obj["metadata"]
    node = node_of_lease(metadata["name"])
    renewed = (obj.get("spec") or {}).get("renewTime")
    return LeaseInfo(node, renewed or metadata["resourceVersion"]) if node else None


def node_sink(state: ClusterState) -> StateSink[NodeInfo]:
    """Nodes into ``state``."""
    return StateSink(
        key=lambda node: node.name, put=lambda node: state.put_nodes([node]), drop=state.drop_node,
        known=state.node_names,
    )  # fmt: skip


def lease_sink(state: ClusterState) -> StateSink[LeaseInfo]:
    """Heartbeats into ``state``."""
    return StateSink(key=lambda lease: lease.node, put=state.put_lease, drop=state.drop_lease, known=state.leased)


def pod_sink(state: ClusterState) -> StateSink[PodInfo]:
    """Pods into ``state``."""
    return StateSink(key=lambda pod: pod.uid, put=state.put_pod, drop=state.drop_pod, known=state.pod_uids)


class Watches:
    """The three watches and the thread that makes snapshots."""

    def __init__(
        self, api: ApiClient, state: ClusterState, *, namespace: str, group_label: str = ZONE
    ) -> None:  # fmt: skip
        self._state = state
        decode = partial(decode_node, group_label=group_label)
        self.by_resource: dict[str, Reflector[Any]] = {
            "nodes": Reflector(api, paths.NODES, decode=decode, sink=node_sink(state)),
            "leases": Reflector(api, paths.leases(namespace), decode=decode_lease, sink=lease_sink(state)),
            "pods": Reflector(api, paths.PODS, decode=decode_pod, sink=pod_sink(state)),
        }
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._rounds: int | None = None
        """The state's ``rounds`` when every collection was first seen to be listed."""
        self._shown = False
        """A snapshot has shown everything of the first lists."""

    @property
    def waiting_for(self) -> list[str]:
        """Collections that are not listed yet, or what remains to do before a snapshot shows all of them."""
        missing = [name for name, reflector in self.by_resource.items() if not reflector.synced.is_set()]
        if not missing and not self._shown:
            if self._rounds is None:
                self._rounds = self._state.rounds
            # In a busy cluster there is always something to take in. It is enough that once there was nothing.
            self._shown = self._state.rounds > self._rounds or self._state.settled
        return missing or ([] if self._shown else [COMPUTED])

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
