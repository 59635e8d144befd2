# SPDX-License-Identifier: Apache-2.0
"""Explanations on demand, beside the answers that kube-scheduler waits for.

Enters: a body of ``POST /explain``, or a pod's name. Leaves: the explanation as JSON. Guarantees: nothing of it is
computed in the event loop's thread. Explanations are made one at a time, so that people's requests take the share
of one thread at most. At most ``MAX_PENDING`` wait; further ones are refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import orjson

from extender.api.explain_request import decode_explain_request
from extender.cluster.state import ClusterState
from extender.model.pods import PodInfo
from extender.placement.explain import explain
from extender.placement.policy import Policy

MAX_PENDING: Final = 8
"""Requests whose body is read, that wait or that are computed. Each holds a body of some megabytes at most."""


_T = TypeVar("_T")


class BusyError(Exception):
    """Too many requests for explanations at once."""

    def __init__(self) -> None:
        super().__init__(f"{MAX_PENDING} explanations are pending already; try again in a moment")


class Explainer:
    """See the module. Its methods are called in the event loop; ``count_sent`` belongs to its thread too."""

    def __init__(self, state: ClusterState, policy: Policy, count_sent: Callable[[], None]) -> None:
        self._state, self._policy, self._count_sent = state, policy, count_sent
        self._thread = ThreadPoolExecutor(1, "explain")
        self._pending = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among the requests for explanations, taken before the body is read. Raises BusyError."""
        if self._pending >= MAX_PENDING:
            raise BusyError
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1

    async def about(self, body: bytes) -> bytes:
        """Everything that the verbs' responses about a pod rest on. Raises ArgsError."""
        return await self._elsewhere(lambda: self._about(body))

    async def about_known(self, namespace: str, name: str) -> bytes | None:
        """The same for a pod that the watch has shown, over all nodes; None when there is no such pod."""
        return await self._elsewhere(lambda: self._about_known(namespace, name))

    async def _elsewhere(self, work: Callable[[], _T]) -> _T:
        self._count_sent()
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # In the thread beside: only what any thread may read.

    def _about(self, body: bytes) -> bytes:
        pod, names = decode_explain_request(body)
        return self._tell(pod, names)

    def _about_known(self, namespace: str, name: str) -> bytes | None:
        told = self.known(namespace, name)
        return None if told is None else orjson.dumps(told)

    def known(self, namespace: str, name: str) -> dict[str, Any] | None:
        """``about_known`` before it is JSON. Any thread may call it."""
        pod = self._state.find_pod(namespace, name)
        return None if pod is None else explained(pod, None, self._state, self._policy)

    def _tell(self, pod: PodInfo, names: list[str] | None) -> bytes:
        return orjson.dumps(explained(pod, names, self._state, self._policy))


def explained(pod: PodInfo, names: list[str] | None, state: ClusterState, policy: Policy) -> dict[str, Any]:
    """The verdict on ``pod`` over ``names`` (None: all nodes), as if it had not been placed yet."""
    snapshot = state.without(pod)
    return explain(pod, sorted(snapshot.nodes) if names is None else names, snapshot, policy, state.now())
