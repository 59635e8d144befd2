# SPDX-License-Identifier: Apache-2.0
"""Events on strict pods that waited too long, and so are placed as with ``prefer`` from then on.

Enters: a pod and how long it waited, from the thread that answers kube-scheduler. Leaves: one Event of
events.k8s.io/v1 on the pod, from a thread of its own. Guarantees: answers never wait. Each pod UID once for each
process, and once in the cluster: replicas give the Event one name. The queue and what is remembered are bounded.
A budget limits how many are sent. What does not fit is counted, and offered again by the pod's next request.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from extender.model.pods import PodInfo
from footprint.cluster import events, paths
from footprint.cluster.client import ApiError, request
from footprint.token_bucket import TokenBucket

REASON: Final = "PlacementRelaxed"
CONTROLLER: Final = "traffic-footprint-extender"
EVENT_BUDGET: Final = TokenBucket(25, 1.0)
"""A burst, then one a second: people read them, and the API server keeps each for an hour."""
_QUEUE: Final = 256
REMEMBERED: Final = 4096
"""Pods whose Event is not sent again. Of more, the oldest is forgotten; its Event then exists already."""

_log = structlog.get_logger()


def event(pod: PodInfo, waited: float, replica: str, moment: datetime) -> dict[str, Any]:
    """The Event. Its name is the same from every replica."""
    note = (
        f"placement strict found no suitable node for {waited:.0f} s (--relax-after): "
        "the pod is placed as with prefer from now on"
    )
    return events.warning(
        events.Regarded("Pod", pod.name, pod.uid, pod.ns), events.Reporter(CONTROLLER, replica),
        action="Filter", reason=REASON, note=note, key=REASON, moment=moment,
    )  # fmt: skip


class RelaxedPods(Collector):
    """Remembers what was reported, and the thread that reports."""

    def __init__(self, api: ApiClient, budget: TokenBucket = EVENT_BUDGET) -> None:
        self._api, self._budget, self._replica = api, budget, socket.gethostname()
        self._seen: dict[str, None] = {}
        self._queue: queue.Queue[tuple[PodInfo, float]] = queue.Queue(_QUEUE)
        self.sent = 0
        self.failures = 0
        """Events that could not be sent, or did not fit into the queue."""

    def start(self) -> None:
        """Report from now on."""
        threading.Thread(target=self._run, name="relaxed pods", daemon=True).start()

    def offer(self, pod: PodInfo, waited: float) -> None:
        """Take a pod that waited so many seconds; never blocks."""
        if not pod.uid or pod.uid in self._seen:
            return
        try:
            self._queue.put_nowait((pod, waited))
        except queue.Full:
            self.failures += 1
            return
        self._seen[pod.uid] = None
        if len(self._seen) > REMEMBERED:
            del self._seen[next(iter(self._seen))]

    def collect(self) -> Iterable[Metric]:
        """Its counters."""
        prefix = "traffic_footprint_extender_"
        yield CounterMetricFamily(prefix + "events", "Events sent on strict pods that waited too long", self.sent)
        yield CounterMetricFamily(
            prefix + "event_failures", "Events that could not be sent, or were too many", self.failures
        )

    def _run(self) -> None:
        while True:
            pod, waited = self._queue.get()
            self._budget, pause = self._budget.reserved(time.monotonic())
            time.sleep(pause)
            try:
                self.send(pod, waited)
            except Exception as error:  # the thread lives on: the next pod has to be told of too
                self.failures += 1
                known = isinstance(error, ApiError)
                _log.warning(
                    "event not sent", pod=f"{pod.ns}/{pod.name}",
                    error=_explained(error), **({} if known else {"exc_info": error}),
                )  # fmt: skip

    def send(self, pod: PodInfo, waited: float) -> None:
        """Send one Event now. Another replica may have done so. Raises ApiError."""
        body = event(pod, waited, self._replica, datetime.now(UTC))
        try:
            request(self._api, "POST", paths.events(pod.ns), body=body)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            return
        self.sent += 1


def _explained(error: Exception) -> str:
    if isinstance(error, ApiError) and error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return f"{error}; grant the extender's service account the verb 'create' on 'events' of events.k8s.io"
    return str(error) if isinstance(error, ApiError) else f"{type(error).__name__}: {error}"
