# SPDX-License-Identifier: Apache-2.0
"""A token bucket: how many writes may follow one another, and how many there may be in the long run. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

BURST: Final = 20.0
"""Writes that may follow one another: a handful of workloads that appear together."""
PER_SECOND: Final = 1.0
"""Writes in the long run; all 5,000 objects could be written anew in 83 minutes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Times are the caller's monotonic seconds."""

    tokens: float = BURST
    refilled_at: float = 0.0

    def refilled(self, now: float) -> Budget:
        gained = max(now - self.refilled_at, 0.0) * PER_SECOND
        return Budget(min(BURST, self.tokens + gained), now)

    @property
    def allows(self) -> int:
        """Writes possible now."""
        return int(self.tokens + 1e-9)

    def spent(self, writes: int = 1) -> Budget:
        return replace(self, tokens=self.tokens - writes)
