# SPDX-License-Identifier: Apache-2.0
"""A token bucket: how many actions may follow one another, and how many there may be in the long run.

Enters: the caller's monotonic seconds. Leaves: the next bucket, and whether or when an action is due. Pure.
Guarantees: any window of T seconds holds at most ``burst + T / interval`` actions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

_ROUNDING: Final = 1e-9
"""Tokens below which a missing part counts as rounding."""


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """``burst`` actions at once, then one every ``interval`` seconds; an interval of 0 sets no limit."""

    burst: float
    interval: float
    tokens: float = math.inf
    """Actions that are due now; never more than ``burst``. Negative: actions that were reserved ahead."""
    refilled_at: float = 0.0

    def refilled(self, now: float) -> TokenBucket:
        """The bucket at ``now``. A clock that steps back gains nothing."""
        passed = max(now - self.refilled_at, 0.0)
        gained = passed / self.interval if self.interval > 0 else math.inf
        return replace(self, tokens=min(self.burst, self.tokens + gained), refilled_at=now)

    @property
    def available(self) -> int:
        """Whole actions that are due, as of the last refill."""
        return math.floor(min(self.tokens, self.burst) + _ROUNDING)

    def taken(self, actions: int = 1) -> TokenBucket:
        """The bucket after ``actions``. Check ``available`` first."""
        left = min(self.tokens, self.burst) - actions
        return replace(self, tokens=0.0 if -_ROUNDING < left < 0 else left)

    def reserved(self, now: float) -> tuple[TokenBucket, float]:
        """The bucket after one action, and the seconds to wait before that action. Reservations queue up."""
        after = self.refilled(now).taken()
        return after, max(0.0, -after.tokens * self.interval)
