# SPDX-License-Identifier: Apache-2.0
"""Ask for an eviction, and tell of it with an Event on the pod.

Enters: an API client and a move. Leaves: single requests. Guarantees: each call sends one request and never
repeats it. An eviction names the pod's UID, so that it never meets the pod that came after it. Raises ApiError;
429 is a PodDisruptionBudget's no.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any, Final

from kubernetes.client import ApiClient

from extender.rebalancing.plan import Move
from footprint.cluster import events, paths
from footprint.cluster.client import request

MOVED: Final = "Rebalanced"
ADVISED: Final = "RebalanceAdvised"
CONTROLLER: Final = "traffic-footprint-extender"


def eviction(name: str, namespace: str, uid: str) -> dict[str, Any]:
    """The request's body."""
    return {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace},
        "deleteOptions": {"preconditions": {"uid": uid}},
    }  # fmt: skip


def event(move: Move, reason: str, replica: str, moment: datetime) -> dict[str, Any]:
    """The Event; its name is the same from every replica."""
    pod = move.found.pod
    acted = "evicted, so that it is placed anew" if reason == MOVED else "would be evicted (--rebalance=act)"
    return events.warning(
        events.Regarded("Pod", pod.name, pod.uid, pod.ns), events.Reporter(CONTROLLER, replica),
        action="Evict", reason=reason, note=f"{acted}: it {move.describe()}", key=reason, moment=moment,
        kind="Normal",
    )  # fmt: skip


class Evictor:
    """See the module."""

    def __init__(self, api: ApiClient) -> None:
        self._api, self._replica = api, socket.gethostname()

    def evict(self, move: Move) -> None:
        """Ask the API server to evict the pod."""
        pod = move.found.pod
        body = eviction(pod.name, pod.ns, pod.uid)
        request(self._api, "POST", paths.eviction(pod.ns, pod.name), body=body)

    def tell(self, move: Move, reason: str) -> None:
        """Send the Event."""
        body = event(move, reason, self._replica, datetime.now(UTC))
        request(self._api, "POST", paths.events(move.found.pod.ns), body=body)
