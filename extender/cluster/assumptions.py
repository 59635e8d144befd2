# SPDX-License-Identifier: Apache-2.0
"""Pods that count where a response sent them, until the watch shows their bind.

Enters: a pod and the node that filter or prioritize chose for it. Leaves: the assumed pods of each node.
Guarantees: a pod is assumed on one node at a time, and for a bounded time. Used under its owner's lock.

kube-scheduler asks about the next pod before the watch has shown this one's bind. Without assumptions all
elephants of a burst would go to the same free link.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection
from typing import Final

from extender.model.pods import PodInfo

ASSUME_SECONDS: Final = 2.0
"""How long an assumption holds. The watch shows binds within some tens of milliseconds, and a pod that failed to
bind must not keep others away for long."""


class Assumptions:
    """Times are seconds of whichever clock the caller passes, always the same one."""

    def __init__(self) -> None:
        self._pods: dict[str, tuple[str, float]] = {}
        """Pod UID → its node, and the time until which it counts there."""
        self._by_node: dict[str, dict[str, PodInfo]] = {}
        self._ends: list[tuple[float, str]] = []
        """Heap of ends by pod UID. An entry without its assumption is passed over."""

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def node_of(self, uid: str) -> str:
        """The node that the pod is assumed on; empty for none."""
        return self._pods[uid][0] if uid in self._pods else ""

    def on(self, node: str) -> Collection[PodInfo]:
        """The pods that are assumed on ``node``."""
        return self._by_node[node].values() if node in self._by_node else ()

    def add(self, pod: PodInfo, node: str, until: float) -> None:
        """Assume ``pod`` on ``node``, and nowhere else."""
        self.forget(pod.uid)
        self._pods[pod.uid] = (node, until)
        self._by_node.setdefault(node, {})[pod.uid] = pod
        heapq.heappush(self._ends, (until, pod.uid))

    def forget(self, uid: str) -> str:
        """End the pod's assumption; its node, empty when there was none."""
        node, _ = self._pods.pop(uid, ("", 0.0))
        if node:
            del self._by_node[node][uid]
            if not self._by_node[node]:
                del self._by_node[node]
        return node

    def expire(self, now: float) -> set[str]:
        """End the assumptions whose time is over; their nodes."""
        nodes = set()
        while self._ends and self._ends[0][0] <= now:
            until, uid = heapq.heappop(self._ends)
            if uid in self._pods and self._pods[uid][1] == until:
                nodes.add(self.forget(uid))
        return nodes
