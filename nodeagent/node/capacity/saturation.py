# SPDX-License-Identifier: Apache-2.0
"""Is a link full now, in one direction? Pure.

Enters: for each reading, whether packets waited, were dropped, or were held back by the provider since the one
before. Leaves: full or not, with hysteresis. A full link is full whatever its capacity is said to be.

A queue that is not empty at one moment is normal: packets come in bunches. Readings are a second apart. On a link
at half its rate, a queue is found standing at fewer than half of them. On a full one it always is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from nodeagent.node.capacity.smoothing import weight

TAU: Final = 3.0
"""Seconds over which busy readings count."""
ENTER: Final = 0.6
"""Part of the time, weighted, that must have been busy. From rest it takes three seconds: 1 - exp(-3/3) = 0.63."""
LEAVE: Final = 0.15
"""... and below which the link is no longer full. From all busy that takes six seconds."""
TEACHES: Final = 0.8
"""... and from which the rate shows the capacity: from rest it takes five seconds. By then TCP's ramp is over, and
chance bunches of packets are too rare to teach a wrong one."""
STANDING: Final = 3000
"""Bytes of backlog that count as a queue: two full-size packets. One is on its way."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """State of one direction."""

    busy: float = 0.0
    full: bool = False

    def after(self, busy: bool, seconds: float) -> Saturation:
        """A reading ``seconds`` after the one before."""
        found = self.busy + weight(seconds, TAU) * (busy - self.busy)
        return Saturation(found, found >= ENTER or (self.full and found > LEAVE))


IDLE: Final = Saturation()
