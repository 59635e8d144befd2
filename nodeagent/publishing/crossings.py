# SPDX-License-Identifier: Apache-2.0
"""Elephants that wait for the write of the Node that first tells of them.

Enters: when flows became elephants, in monotonic seconds. Leaves: those moments, with the write that comes next.
Guarantees: pure and bounded. A beginning that changes nothing worth a write, such as a second elephant of the same
pod, is dropped: what is published holds for it already.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

from nodeagent.publishing.decide import SETTLING

MOST: Final = 1_000
"""Moments that are remembered; the oldest ones make way."""


class Crossings:
    """``hold``: seconds that a change must last before it is written."""

    def __init__(self, hold: float) -> None:
        self._patience = hold + SETTLING
        self._waiting: deque[float] = deque(maxlen=MOST)

    def begun(self, moments: Iterable[float]) -> None:
        """Flows became elephants."""
        self._waiting.extend(moments)

    def take(self) -> tuple[float, ...]:
        """Those that the write that is due now tells of."""
        taken = tuple(self._waiting)
        self._waiting.clear()
        return taken

    def settle(self, now: float) -> None:
        """What is measured does not differ from what is published: drop what had its time to differ."""
        self._waiting = deque((m for m in self._waiting if now - m < self._patience), maxlen=MOST)
