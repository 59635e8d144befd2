# SPDX-License-Identifier: Apache-2.0
"""The picture of the cluster as it moves: Nodes by a watch, heartbeats every half minute.

Leaves: a Picture whenever it is asked for. Guarantees: asking never waits for the network.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from footprint.cluster import paths
from footprint.cluster.client import ApiError
from footprint.cluster.reflector import Reflector
from footprint.cluster.sink import StateSink
from plugin.cluster import Cluster
from plugin.listing.gathering import beating, with_heartbeat
from plugin.published import Heartbeat, Published, published
from plugin.terminal import quiet_logs
from plugin.top.flags import TopSettings
from plugin.top.layout import Picture

HEARTBEATS_SECONDS: Final = 30.0


class Following:
    """See the module."""

    def __init__(self, cluster: Cluster, settings: TopSettings) -> None:
        self._cluster, self._settings = cluster, settings
        self._lock = threading.Lock()
        self._nodes: dict[str, Published] = {}
        self._beats: dict[str, Heartbeat] | None = None
        self._beats_at = time.monotonic()
        self._beats_missing: list[str] = []
        self.version = 0
        """Moves whenever the picture does."""
        sink = StateSink[Published](
            key=lambda one: one.name, put=self._put, drop=self._drop, known=lambda: list(self._nodes)
        )
        query = {"fieldSelector": f"metadata.name={settings.node}"} if settings.node else {}
        self._reflector: Reflector[Published] = cluster.follow(
            paths.NODES, decode=published, sink=sink, query=query, metadata_only=True
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Follow meanwhile."""
        stop = threading.Event()
        with quiet_logs():
            self._reflector.start(stop)
            threading.Thread(target=self._listen, args=(stop,), name="heartbeats", daemon=True).start()
            try:
                yield
            finally:
                stop.set()
                self._reflector.interrupt()

    def picture(self) -> Picture:
        """As it is now."""
        with self._lock:
            nodes, beats = list(self._nodes.values()), self._beats
            since = time.monotonic() - self._beats_at
        aged = None if beats is None else {name: _older(beat, since) for name, beat in beats.items()}
        return Picture(
            self._cluster.server, [with_heartbeat(one, aged) for one in sorted(nodes, key=lambda one: one.name)],
            self._trouble(),
        )  # fmt: skip

    def _trouble(self) -> str:
        broken = not self._reflector.connected and self._reflector.errors > 0
        if broken:
            return f"not connected for {self._reflector.age:.0f} s: {self._reflector.last_error}"
        return "" if self._reflector.synced.is_set() else "connecting"

    def _put(self, one: Published) -> None:
        with self._lock:
            self._nodes[one.name] = one
            self.version += 1

    def _drop(self, name: str) -> None:
        with self._lock:
            self._nodes.pop(name, None)
            self.version += 1

    def _listen(self, stop: threading.Event) -> None:
        while True:
            try:
                beats = beating(self._cluster, self._settings.lease_namespace, [])
                with self._lock:
                    self._beats, self._beats_at = beats, time.monotonic()
                    self.version += 1
            except ApiError:
                pass  # the picture says that it is not connected, and ages go on
            if stop.wait(HEARTBEATS_SECONDS):
                return


def _older(beat: Heartbeat, seconds: float) -> Heartbeat:
    return beat if beat.seconds is None else beat._replace(seconds=beat.seconds + seconds)
