# SPDX-License-Identifier: Apache-2.0
"""The verdict on one pod for the page, as it would be now.

Enters: a pod's namespace and name. Leaves: JSON, with at most ``SHOWN`` of the nodes that pass and as many of the
others. Guarantees: one is worked out at a time, in a thread beside the event loop; together they take at most
``SHARE`` of one processor, however many people ask; at most ``WAITING`` of them wait. Whoever asks about the same
pod within ``KEPT_SECONDS`` gets the same answer.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from extender.page.decisions import cut

SHARE: Final = 0.1
"""Of one processor."""
WAITING: Final = 4
SHOWN: Final = 100
"""Nodes of each kind."""
KEPT_SECONDS: Final = 5.0
_TERMS: Final = ("waiting", "harm", "slowdown", "room", "total")
_MAX_TEXT: Final = 500

Told = Mapping[str, Any]
Explain = Callable[[str, str], Told | None]
"""Namespace and name to what ``POST /explain`` says; None: no such pod. Any thread may call it."""


class TooManyError(Exception):
    """More people wait for explanations than may."""

    def __init__(self) -> None:
        super().__init__("others wait for explanations already; try again in a moment")


class Explaining:
    """See the module. Its methods are called in the event loop. ``before`` too, ahead of each explanation."""

    def __init__(
        self, explain: Explain, before: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._explain, self._before, self._clock = explain, before, clock
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._free_at = -1.0
        """When the next one may begin."""
        self._last: tuple[tuple[str, str], float, bytes | None] | None = None

    async def about(self, namespace: str, name: str) -> bytes | None:
        """JSON; None: the extender knows no such pod. Raises TooManyError."""
        if self._waiting >= WAITING:
            raise TooManyError
        self._waiting += 1
        try:
            async with self._turn:
                return await self._made((namespace, name))
        finally:
            self._waiting -= 1

    async def _made(self, pod: tuple[str, str]) -> bytes | None:
        if self._last is not None and self._last[0] == pod and self._clock() < self._last[1] + KEPT_SECONDS:
            return self._last[2]
        if (rest := self._free_at - self._clock()) > 0:
            await asyncio.sleep(rest)
        self._before()
        began = self._clock()
        try:
            body = await asyncio.to_thread(self._work, pod)
        finally:
            now = self._clock()
            self._free_at = now + (now - began) * (1 / SHARE - 1)
        self._last = (pod, now, body)
        return body

    def _work(self, pod: tuple[str, str]) -> bytes | None:
        told = self._explain(*pod)
        return None if told is None else orjson.dumps(shown(told))


def shown(told: Told) -> dict[str, Any]:
    """The part of an explanation that the page shows. Pure."""
    pod, record, nodes = told["pod"], told["traffic_footprint"], told["nodes"]
    passing = sorted(
        (name for name in nodes if nodes[name]["passes"]), key=lambda name: (-nodes[name]["score"], name)
    )
    others = sorted(name for name in nodes if not nodes[name]["passes"])
    counts = Counter(nodes[name]["score"] for name in passing)
    return {
        "namespace": cut(pod["namespace"]), "pod": cut(pod["name"]), "workload": cut(pod["workload"]),
        "exempt": pod["exempt"], "node": pod["node"] and cut(pod["node"]), "demand": told["demand"]["text"],
        "origin": told["demand"]["origin"], "placement": told["placement"],
        "problems": [text[:_MAX_TEXT] for text in told["problems"][:8]],
        "record": record and {"name": cut(record["name"]), "status": record["status"]},
        "scarce": told["mice_free_links_scarce"], "waited_seconds": told["waited_seconds"],
        "committed_to": told["committed_to"] and cut(told["committed_to"]),
        "scores": {str(score): counts[score] for score in sorted(counts, reverse=True)},
        "passing": len(passing), "rejected": len(others),
        "nodes": [_row(name, nodes[name]) for name in (*passing[:SHOWN], *others[:SHOWN])],
    }  # fmt: skip


def _row(name: str, node: Told) -> dict[str, Any]:
    cost = node.get("cost") or {}
    why = node.get("unsuitable") or node.get("load") or f"{node['state']}: {node['why']}"
    return {
        "node": cut(name), "passes": node["passes"], "score": node["score"], "why": why[:_MAX_TEXT],
        "cost": {term: round(cost[term], 2) for term in _TERMS} if cost else None,
    }  # fmt: skip
