# SPDX-License-Identifier: Apache-2.0
"""Events about annotations that were not understood: one per pod and value.

Enters: pods with ``problems``. Leaves: Events of events.k8s.io/v1 on those pods, from a thread of its own.
Guarantees: each pod UID and value once per process. The queue is bounded; what does not fit is counted and
offered again. A budget limits the Events of an annotation that changes a hundred times a second.
"""

from __future__ import annotations

import hashlib
import queue
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster import paths
from footprint.cluster.client import ApiError, request
from footprint.declared import AnnotationProblem
from footprint.token_bucket import TokenBucket
from nodeagent.node.pods import LocalPod
from nodeagent.publishing.heartbeat import micro_time
from nodeagent.publishing.node_writer import explain, unforeseen

_QUEUE: Final = 256
PACE: Final = 1.0
"""Seconds between Events, on average: people read them, and the API server keeps each for an hour."""
BURST: Final = 25
"""Events that may be sent at once after a rest: a template with a mistake makes one for each of its pods."""
EVENT_BUDGET: Final = TokenBucket(BURST, PACE)
_CONTROLLER: Final = "traffic-footprint-nodeagent"

_log = structlog.get_logger()


def event(pod: LocalPod, problem: AnnotationProblem, node: str, moment: datetime) -> dict[str, Any]:
    """The Event; its name is the same for the same pod and value, so that a restarted agent repeats nothing."""
    digest = hashlib.sha256(f"{pod.uid}\0{problem.message}".encode()).hexdigest()[:16]
    return {
        "apiVersion": paths.EVENT_API,
        "kind": "Event",
        "metadata": {"name": f"{pod.name[:200].rstrip('-.')}.{digest}", "namespace": pod.ns},
        "eventTime": micro_time(moment),
        "reportingController": _CONTROLLER,
        "reportingInstance": node[:128],
        "action": "ReadAnnotations",
        "reason": "AnnotationNotUnderstood",
        "type": "Warning",
        "note": f"{problem.message}; it is treated as absent"[:1024],
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": pod.ns, "name": pod.name, "uid": pod.uid},
    }


class EventReporter:
    """Remembers what was reported, and the thread that reports."""

    def __init__(self, api: ApiClient, node: str, budget: TokenBucket = EVENT_BUDGET) -> None:
        self._api, self._node, self._budget = api, node, budget
        self._seen: set[tuple[str, str]] = set()
        self._queued: set[tuple[str, str]] = set()
        self._queue: queue.Queue[tuple[LocalPod, AnnotationProblem]] = queue.Queue(_QUEUE)
        self.problems = 0
        """Values found that were not understood."""
        self.errors = 0
        """Events that could not be sent, or did not fit into the queue."""

    def start(self) -> None:
        threading.Thread(target=self._run, name="events", daemon=True).start()

    def offer(self, pods: Iterable[LocalPod]) -> None:
        """Take the node's pods; never blocks. What is known of pods that left is forgotten."""
        found = {(pod.uid, problem.message): (pod, problem) for pod in pods for problem in pod.problems}
        self._queued &= found.keys()
        for key in found.keys() - self._queued:
            new = key not in self._seen
            self.problems += new
            try:
                self._queue.put_nowait(found[key])
                self._queued.add(key)
            except queue.Full:  # the next offer names all pods again; by then there may be room
                self.errors += new
        self._seen = set(found)

    def _run(self) -> None:
        while True:
            pod, problem = self._queue.get()
            self._budget, pause = self._budget.reserved(time.monotonic())
            time.sleep(pause)
            try:
                self.send(pod, problem)
            except Exception as error:  # the thread lives on: the next value has to be told too
                self.errors += 1
                _log.warning(
                    "event not sent", pod=f"{pod.ns}/{pod.name}", error=explain(error, "create", "events"),
                    **unforeseen(error),
                )  # fmt: skip

    def send(self, pod: LocalPod, problem: AnnotationProblem) -> None:
        """Raises ApiError, but not for an Event that is there already."""
        _log.warning("annotation not understood", pod=f"{pod.ns}/{pod.name}", problem=problem.message)
        body = event(pod, problem, self._node, datetime.now(UTC))
        try:
            request(self._api, "POST", paths.events(pod.ns), body=body)
        except ApiError as error:
            if error.status != 409:
                raise
