# SPDX-License-Identifier: Apache-2.0
"""The Node write: the latest footprint worth publishing, sent from a thread of its own.

Enters: footprints that ``nodeagent.publishing.decide`` decided to write. Leaves: one merge patch each.
Guarantees: an API server that does not respond never delays measuring. Only the latest footprint waits, and is
sent when the server responds again. Every failure is counted, and retried with backoff.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster.client import MERGE_PATCH, METADATA_ONLY, ApiError, request
from footprint.cluster.reflector import backoff
from footprint.cluster.repeats import Repeats
from footprint.keys import FIELD_MANAGER
from footprint.models import NodeFootprint
from footprint.summary import elephant_share
from nodeagent.publishing.crossings import MOST
from nodeagent.publishing.decide import content, merge_patch

PATCH_TIMEOUT: Final = (2.0, 5.0)
LAST_TIMEOUT: Final = (1.0, 2.0)
"""Of the write at SIGTERM: the whole exit has five seconds."""

_log = structlog.get_logger()


class NodeProblemError(Exception):
    """This node's object cannot be read or written; ``remedy`` says what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


def node_path(node: str) -> str:
    return f"/api/v1/nodes/{node}"


def explain(error: Exception, verb: str, resource: str) -> str:
    """The error, and for a refusal the missing RBAC rule. An admission policy's message names its own remedy."""
    if not isinstance(error, ApiError):
        return f"{type(error).__name__}: {error}"
    if "ValidatingAdmissionPolicy" in str(error):
        return str(error)
    if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return f"{error}; grant the agent's service account the verb '{verb}' on '{resource}' (RBAC)"
    return str(error)


def unforeseen(error: Exception) -> dict[str, Exception]:
    """For a log line: the traceback, unless the error is one of the API."""
    return {} if isinstance(error, ApiError) else {"exc_info": error}


def read_node(api: ApiClient, node: str) -> dict[str, Any]:
    """The Node object. Raises NodeProblemError when it does not exist or may not be read, ApiError otherwise."""
    try:
        return request(api, "GET", node_path(node))
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise NodeProblemError(
                f"the cluster has no Node {node}",
                "give --node-name one of the names that `kubectl get nodes` prints",
            ) from error
        if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
            raise NodeProblemError(
                f"may not read Node {node}: {error}",
                "grant the agent's service account 'get' and 'patch' on 'nodes' with a ClusterRole",
            ) from error
        raise


def read_metadata(api: ApiClient, node: str) -> dict[str, Any]:
    """The Node's metadata, from the API server's cache. Raises ApiError."""
    answer = request(api, "GET", node_path(node), query={"resourceVersion": "0"}, accept=METADATA_ONLY)
    metadata = answer.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


@dataclass(slots=True)
class _Waiting:
    """What is to be written, and the moments (monotonic) of what it is the first to tell of."""

    footprint: NodeFootprint
    crossings: tuple[float, ...] = ()


class NodeWriter:
    """Mailbox of one footprint and the thread that empties it."""

    def __init__(self, api: ApiClient, node: str, *, told: Callable[[float], None] | None = None) -> None:
        """``told`` gets the seconds from each of ``submit``'s crossings to the write that tells of it."""
        self._api, self._node, self._told = api, node, told
        self._condition = threading.Condition()
        self._pending: _Waiting | None = None
        self._pending_since: float | None = None
        self._retry_at = 0.0
        self._failures, self._repeats = 0, Repeats()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="node writer", daemon=True)
        self.published = threading.Event()
        """Set after the first write that succeeded."""
        self.writes = 0
        self.errors = 0

    def start(self) -> None:
        self._thread.start()

    def submit(self, footprint: NodeFootprint, crossings: Sequence[float] = ()) -> None:
        """Write ``footprint``, in place of one that still waits. ``crossings``: when the flows became elephants
        of which it is the first to tell."""
        with self._condition:
            earlier = self._pending.crossings if self._pending is not None else ()
            self._pending = _Waiting(footprint, (*earlier, *crossings)[-MOST:])
            if self._pending_since is None:
                self._pending_since = time.monotonic()
            self._condition.notify()

    def pending_age(self) -> float:
        """Seconds for which something has waited to be written; 0 when nothing waits."""
        with self._condition:
            return 0.0 if self._pending_since is None else time.monotonic() - self._pending_since

    def close(self, timeout: float) -> bool:
        """Try once more to write what waits; False when it is not written after ``timeout`` seconds."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join(timeout)
        with self._condition:
            return self._pending is None

    def _run(self) -> None:
        last = False
        while not last:
            waiting, last = self._next()
            if waiting is None:
                return
            try:
                self._write(waiting, LAST_TIMEOUT if last else PATCH_TIMEOUT)
            except Exception as error:  # the thread lives on: without it nothing would be written any more
                self._failed(error)

    def _next(self) -> tuple[_Waiting | None, bool]:
        """What to write, once it is time to, and whether it is the last; None when closing with nothing to write.

        Both are from one moment: what is submitted after it is written in the next round.
        """
        with self._condition:
            while True:
                if self._closing or (self._pending is not None and time.monotonic() >= self._retry_at):
                    return self._pending, self._closing
                wait = None if self._pending is None else self._retry_at - time.monotonic()
                self._condition.wait(wait)

    def _write(self, waiting: _Waiting, timeout: tuple[float, float]) -> None:
        footprint = waiting.footprint
        annotations = content(footprint)
        request(
            self._api, "PATCH", node_path(self._node), query={"fieldManager": FIELD_MANAGER},
            body=merge_patch(annotations), content_type=MERGE_PATCH, timeout=timeout,
        )  # fmt: skip
        with self._condition:
            if self._pending is waiting:
                self._pending = self._pending_since = None
            elif self._pending is not None:  # came meanwhile, with what waited before it
                self._pending.crossings = self._pending.crossings[len(waiting.crossings) :]
            self._failures = 0
            self.writes += 1
        self.published.set()
        if self._told is not None:
            now = time.monotonic()
            for moment in waiting.crossings:
                self._told(now - moment)
        _log.info(
            "node written", node=self._node, elephant_share=elephant_share(footprint), pods=len(footprint.pods),
            ended=len(footprint.ended), bytes=sum(map(len, annotations.values())), bad=footprint.bad,
        )  # fmt: skip

    def _failed(self, error: Exception) -> None:
        with self._condition:
            self._failures += 1
            self.errors += 1
            self._retry_at = time.monotonic() + backoff(self._failures)
        if self._repeats.tells(self._failures, error):
            _log.warning(
                "node not written, measuring goes on", node=self._node, failures=self._failures,
                error=explain(error, "patch", "nodes"), **unforeseen(error),
            )  # fmt: skip
