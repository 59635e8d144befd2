# SPDX-License-Identifier: Apache-2.0
"""When to read: on a fixed schedule, and out of turn when an elephant begins.

Enters: the time, whether a reading found a beginning, whether the source was told of one. Leaves: when the next
reading is due. Guarantees: pure, the caller's clock is the only one; readings on schedule keep to it, those that
cannot be kept are counted; at most two readings per interval are taken out of turn, whatever elephants do.

An elephant's rate is known one reading after the one that found it: only from there on are its bytes counted as
an elephant's. On the schedule alone that would be a whole interval later, so a reading that finds a beginning is
followed by one half an interval later. Where the source tells of a beginning, the first of the two is taken at
once.
"""

from __future__ import annotations

import math
from typing import Final

_FOLLOW: Final = 0.5
"""Part of the interval after which a beginning is followed up: long enough for a rate, and no longer."""
_CLOSE: Final = 0.25
"""Part of the interval: a reading on schedule this soon after another one is left out: nothing is new."""


def next_due(due: float, now: float, interval: float) -> tuple[float, int]:
    """When the next reading is due on the schedule of ``due``, and how many had to be left out."""
    following = due + interval
    if following >= now:
        return following, 0
    missed = math.ceil((now - following) / interval)
    return following + missed * interval, missed


class Pace:
    """Times are the caller's monotonic seconds; ``interval`` is the seconds between readings on schedule."""

    def __init__(self, interval: float, now: float) -> None:
        self._interval = interval
        self._scheduled = now
        self._extra = math.inf
        self._told = False
        self.listen_from = now
        """From when on it is worth a reading at once that the source was told of an elephant."""

    @property
    def due(self) -> float:
        """When to read next."""
        return min(self._scheduled, self._extra)

    def told(self, now: float) -> None:
        """An elephant began or ended, says the source: read at once."""
        self._extra, self._told, self.listen_from = now, True, now + self._interval

    def took(self, began: float, ended: float, *, beginning: bool) -> int:
        """A reading was taken; ``beginning``: it found an elephant that was none before. Returns how many readings
        on schedule could not be kept. Where a reading takes long, nothing is followed up."""
        may_follow = self._told or began >= self.listen_from
        self._extra, self._told = math.inf, False
        if beginning and may_follow and ended - began < _FOLLOW * self._interval:
            self._extra = began + _FOLLOW * self._interval
            self.listen_from = max(self.listen_from, began + self._interval)
        if began < self._scheduled - _CLOSE * self._interval:
            return 0
        self._scheduled, missed = next_due(self._scheduled, ended, self._interval)
        return missed
