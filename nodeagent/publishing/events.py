# SPDX-License-Identifier: Apache-2.0
"""Events: about pods' annotations that were not understood, one per pod and value; and about the Node.

Enters: pods with ``problems``; notices of the Node. Leaves: Events of events.k8s.io/v1, from a thread of its own.
Guarantees: each pod UID and value once per process. The queue is bounded; what does not fit is counted and
offered again. A budget limits the Events of an annotation that changes a hundred times a second.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster import events, paths
from footprint.cluster.client import ApiError, request
from footprint.declared import AnnotationProblem
from footprint.token_bucket import TokenBucket
from nodeagent.node.pods import LocalPod
from nodeagent.publishing.node_events import CONTROLLER, Notice, node_event
from nodeagent.publishing.node_writer import explain, unforeseen

_QUEUE: Final = 256
PACE: Final = 1.0
"""Seconds between Events, on average: people read them, and the API server keeps each for an hour."""
BURST: Final = 25
"""Events that may be sent at once after a rest: a template with a mistake makes one for each of its pods."""
EVENT_BUDGET: Final = TokenBucket(BURST, PACE)

_log = structlog.get_logger()


def event(pod: LocalPod, problem: AnnotationProblem, node: str, moment: datetime) -> dict[str, Any]:
    """The Event; its name is the same for the same pod and value, so that a restarted agent repeats nothing."""
    return events.warning(
        events.Regarded("Pod", pod.name, pod.uid, pod.ns), events.Reporter(CONTROLLER, node),
        action="ReadAnnotations", reason="AnnotationNotUnderstood",
        note=f"{problem.message}; it is treated as absent", key=problem.message, moment=moment,
    )  # fmt: skip


class EventReporter:
    """Remembers what was reported, and the thread that reports."""

    def __init__(self, api: ApiClient, node: str, budget: TokenBucket = EVENT_BUDGET, uid: str = "") -> None:
        """``uid``: the Node's; without it its name, by which kubectl finds Events as well."""
        self._api, self._node, self._budget, self._uid = api, node, budget, uid or node
        self._seen: set[tuple[str, str]] = set()
        self._queued: set[tuple[str, str]] = set()
        self._queue: queue.Queue[tuple[LocalPod, AnnotationProblem] | Notice] = queue.Queue(_QUEUE)
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

    def tell(self, notices: Iterable[Notice]) -> None:
        """Take what is to be told of the Node; never blocks. What does not fit is counted and lost."""
        for notice in notices:
            try:
                self._queue.put_nowait(notice)
            except queue.Full:
                self.errors += 1

    def _run(self) -> None:
        while True:
            found = self._queue.get()
            self._budget, pause = self._budget.reserved(time.monotonic())
            time.sleep(pause)
            try:
                if isinstance(found, Notice):
                    self.send_of_node(found)
                else:
                    self.send(*found)
            except Exception as error:  # the thread lives on: the next value has to be told too
                self.errors += 1
                whose = f"Node {self._node}" if isinstance(found, Notice) else f"{found[0].ns}/{found[0].name}"
                _log.warning(
                    "event not sent", regarding=whose, error=explain(error, "create", "events"),
                    **unforeseen(error),
                )  # fmt: skip

    def send(self, pod: LocalPod, problem: AnnotationProblem) -> None:
        """Raises ApiError, but not for an Event that is there already."""
        _log.warning("annotation not understood", pod=f"{pod.ns}/{pod.name}", problem=problem.message)
        self._post(pod.ns, event(pod, problem, self._node, datetime.now(UTC)))

    def send_of_node(self, notice: Notice) -> None:
        """As ``send``."""
        _log.warning("the node cannot be placed on as well as it could", reason=notice.reason, note=notice.note)
        self._post(events.NO_NAMESPACE, node_event(notice, self._node, self._uid, datetime.now(UTC)))

    def _post(self, namespace: str, body: dict[str, Any]) -> None:
        try:
            request(self._api, "POST", paths.events(namespace), body=body)
        except ApiError as error:
            if error.status != 409:
                raise
