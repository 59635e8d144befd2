# SPDX-License-Identifier: Apache-2.0
"""When to read: on a fixed schedule, and additionally when an elephant begins.

Enters: the time, whether a reading found a beginning, whether the source reported one. Leaves: when the next
reading is due. Guarantees: pure, with the caller's clock. Scheduled readings keep the schedule; those that are
left out are counted. At most two additional readings are taken per interval, however many elephants begin.

An elephant's rate is known one reading after the one that found it. Only then do its bytes count as an
elephant's. The schedule alone would wait a whole interval for that. So half an interval after a reading that
found a beginning, another one is taken. Where the source itself reports the beginning, the first of the two is
taken at once.
"""

from __future__ import annotations

import math
from typing import Final

_FOLLOW: Final = 0.5
"""Part of the interval after which a beginning is followed up; a rate needs this long."""
_CLOSE: Final = 0.25
"""Part of the interval. A scheduled reading this soon after another one is left out."""


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
        self._reported = False
        self.listen_from = now
        """From when on a report of the source leads to a reading at once."""

    @property
    def due(self) -> float:
        """When to read next."""
        return min(self._scheduled, self._extra)

    def reported(self, now: float) -> None:
        """The source reports that an elephant began or ended: read at once."""
        self._extra, self._reported, self.listen_from = now, True, now + self._interval

    def took(self, began: float, ended: float, *, beginning: bool) -> int:
        """Record a reading; returns how many scheduled readings were left out.

        ``beginning``: it found a new elephant. After a long reading, nothing is followed up.
        """
        may_follow = self._reported or began >= self.listen_from
        self._extra, self._reported = math.inf, False
        if beginning and may_follow and ended - began < _FOLLOW * self._interval:
            self._extra = began + _FOLLOW * self._interval
            self.listen_from = max(self.listen_from, began + self._interval)
        if began < self._scheduled - _CLOSE * self._interval:
            return 0
        self._scheduled, missed = next_due(self._scheduled, ended, self._interval)
        return missed
