# SPDX-License-Identifier: Apache-2.0
"""The watches and the rebalancer as one feed, which the server starts and stops.

Enters: the feed that fills the cluster state, and an API client. Leaves: a running rebalancer. Guarantees:
readiness depends on the inner feed alone; nothing is looked at before that is complete; whatever fails here,
placement goes on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from extender.cluster.feed import Feed, WatchCounters, outdated
from extender.cluster.state import ClusterState
from extender.learning.elector import Elector
from extender.learning.kubernetes_store import KubernetesLease
from extender.rebalancing.config import RebalanceConfig
from extender.rebalancing.evictor import Evictor
from extender.rebalancing.metrics import RebalancingCollector
from extender.rebalancing.reader import RIGHTS, ApiSource, Round
from extender.rebalancing.rebalancer import Rebalancer
from footprint.keys import REBALANCER_LEASE

_RESTS_ON: Final = ("nodes", "pods", "leases")
"""Collections whose state must be current."""


class RebalancingFeed:
    """A Feed that contains another one. ``api`` is the Kubernetes client."""

    def __init__(self, inner: Feed, state: ClusterState, api: Any, config: RebalanceConfig) -> None:
        self._inner = inner
        lease = KubernetesLease(api, namespace=config.namespace, name=REBALANCER_LEASE)
        self._elector = Elector(
            lease,
            candidate=lambda: not inner.waiting_for,
            lease=REBALANCER_LEASE,
            task=f"--rebalance={config.mode}",
            remedy=RIGHTS,
        )
        source = ApiSource(api)
        self._rebalancer = Rebalancer(
            state, lambda: Round(source, config, time.time), Evictor(api), self._may_act, config
        )
        self.collectors = [RebalancingCollector(self._elector, self._rebalancer)]
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def by_resource(self) -> Mapping[str, WatchCounters]:
        return self._inner.by_resource

    @property
    def waiting_for(self) -> list[str]:
        return self._inner.waiting_for

    def _may_act(self) -> bool:
        watches = self._inner.by_resource
        old = outdated({name: watches[name] for name in _RESTS_ON if name in watches})
        return not old and not self._inner.waiting_for and self._elector.leads()

    def start(self) -> None:
        self._inner.start()
        for name, run in (("rebalancer", self._rebalancer.run), ("rebalancer's elector", self._elector.run)):
            thread = threading.Thread(target=run, args=(self._stop,), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout: float = 2.0) -> None:
        """End all threads; gives each at most ``timeout`` seconds."""
        self._stop.set()
        self._inner.stop()
        for thread in self._threads:
            thread.join(timeout)
