# SPDX-License-Identifier: Apache-2.0
"""The watches and the learner as one feed, which the server starts and stops.

Enters: the cluster state with its watches, and an API client. Leaves: TrafficFootprints in the state, and a
running learner. Guarantees: readiness depends on the watches alone; whatever fails here, placement goes on.
"""

from __future__ import annotations

import threading
from typing import Any

from extender.cluster.feed import Feed, WatchCounters
from extender.cluster.state import ClusterState
from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.cluster.trafficfootprint_watch import TrafficFootprintWatch
from extender.learning.config import LearnerConfig
from extender.learning.elector import Elector
from extender.learning.kubernetes_store import KubernetesStore
from extender.learning.learner import Learner
from extender.learning.metrics import LearningCollector
from extender.model.trafficfootprint import PLURAL


class LearningFeed:
    """A Feed that contains the watches. ``api`` is the Kubernetes client."""

    def __init__(
        self, watches: Feed, state: ClusterState, api: Any, *, namespace: str, config: LearnerConfig
    ) -> None:
        self._watches = watches
        self._index = TrafficFootprintIndex(state.put_records)
        self._watch = TrafficFootprintWatch(api, self._index)
        store = KubernetesStore(api, namespace=namespace)
        self._elector = Elector(store, candidate=lambda: self._watch.followed)
        self._learner = Learner(state.measured, self._index, store, self._may_write, config)
        self.by_resource: dict[str, WatchCounters] = {**watches.by_resource, PLURAL: self._watch}
        self.collectors = [LearningCollector(self._watch, self._index, self._elector, self._learner)]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def waiting_for(self) -> list[str]:
        return self._watches.waiting_for

    def _may_write(self) -> bool:
        return self._watch.followed and self._elector.leads()

    def start(self) -> None:
        self._watches.start()
        self._threads = [self._watch.start(self._stop)]
        for name, run in (("learner", self._learner.run), ("elector", self._elector.run)):
            thread = threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout: float = 2.0) -> None:
        """End all threads; gives each at most ``timeout`` seconds."""
        self._stop.set()
        self._watch.interrupt()
        self._watches.stop()
        for thread in self._threads:
            thread.join(timeout)
