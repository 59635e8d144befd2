# SPDX-License-Identifier: Apache-2.0
"""When each node's view changes without any event, for example because its data becomes stale.

Enters: when a node's view changes next. Leaves: the nodes whose time has come. Guarantees: one pending time per
node, the earliest that was noted. Used under its owner's lock.
"""

from __future__ import annotations

import heapq
from typing import Final

DUE_AT_ONCE: Final = 512
"""Moments taken in one go: well below a millisecond of work."""


class Deadlines:
    """Times are the caller's monotonic seconds."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        """An entry whose moment is not its node's pending one is passed over."""

    def note(self, name: str, moment: float) -> None:
        """Remember ``moment``, unless an earlier one is pending, after which the caller notes the next."""
        if moment < self._next.get(name, float("inf")):
            self._next[name] = moment
            heapq.heappush(self._heap, (moment, name))

    def due(self, now: float) -> tuple[list[str], bool]:
        """Nodes whose moment has come, and whether more may be due."""
        names: list[str] = []
        for _ in range(DUE_AT_ONCE):
            if not self._heap or self._heap[0][0] > now:
                return names, False
            moment, name = heapq.heappop(self._heap)
            if self._next.get(name) == moment:
                del self._next[name]
                names.append(name)
        return names, True
