# SPDX-License-Identifier: Apache-2.0
"""Where pods went and when Nodes were annotated during a run.

Enters: watch events. Leaves: plain values with the machine's monotonic time, which the traffic programs print too.
Effects: two watches, each in its own thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kubernetes.client import ApiClient

from footprint.cluster.reflector import Reflector
from footprint.codec import FootprintError, decode
from footprint.keys import NODE_FOOTPRINT
from lab.demo.scenario import NAMESPACE


@dataclass(frozen=True, slots=True)
class PodSeen:
    uid: str
    name: str
    node: str
    labels: dict[str, str]


@dataclass
class Seen:
    """Everything observed; read it after the watches stopped."""

    pods: dict[str, PodSeen] = field(default_factory=dict)
    """Pods that were bound, by UID."""
    node_writes: dict[str, int] = field(default_factory=dict)
    """Changes of the footprint annotation per node."""
    elephant_shown: dict[str, float] = field(default_factory=dict)
    """Pod UID → monotonic seconds when a Node first showed it with elephants."""
    unreadable: int = 0


class _Pods:
    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def replace(self, items: Sequence[PodSeen]) -> None:
        for item in items:
            self.upsert(item)

    def upsert(self, item: PodSeen) -> None:
        if item.node:
            self._seen.pods[item.uid] = item

    def delete(self, item: PodSeen) -> None:
        self.upsert(item)


class _Nodes:
    def __init__(self, seen: Seen) -> None:
        self._seen, self._last = seen, dict[str, str]()

    def replace(self, items: Sequence[tuple[str, str]]) -> None:
        for item in items:
            self.upsert(item)

    def upsert(self, item: tuple[str, str]) -> None:
        name, annotation = item
        if not annotation or self._last.get(name) == annotation:
            return
        now = time.monotonic()
        self._last[name] = annotation
        self._seen.node_writes[name] = self._seen.node_writes.get(name, 0) + 1
        try:
            footprint = decode(annotation)
        except FootprintError:
            self._seen.unreadable += 1
            return
        for pod in footprint.pods:
            if pod.el:
                self._seen.elephant_shown.setdefault(pod.uid, now)

    def delete(self, item: tuple[str, str]) -> None:
        self._last.pop(item[0], None)


def _slim_pod(raw: dict[str, Any]) -> PodSeen:
    metadata = raw["metadata"]
    node = raw["spec"].get("nodeName", "")
    return PodSeen(metadata["uid"], metadata["name"], node, metadata.get("labels") or {})


def _slim_node(raw: dict[str, Any]) -> tuple[str, str]:
    metadata = raw["metadata"]
    return metadata["name"], (metadata.get("annotations") or {}).get(NODE_FOOTPRINT, "")


class Watcher:
    """Follows the demo's pods and all Nodes between ``start`` and ``stop``."""

    def __init__(self, api: ApiClient) -> None:
        self.seen = Seen()
        self._stop = threading.Event()
        self._reflectors: tuple[Reflector[Any], ...] = (
            Reflector(api, f"/api/v1/namespaces/{NAMESPACE}/pods", decode=_slim_pod, sink=_Pods(self.seen)),
            Reflector(api, "/api/v1/nodes", decode=_slim_node, sink=_Nodes(self.seen)),
        )
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._threads = [reflector.start(self._stop) for reflector in self._reflectors]

    def stop(self) -> Seen:
        self._stop.set()
        for reflector in self._reflectors:
            reflector.interrupt()
        for thread in self._threads:
            thread.join(5)
        return self.seen
