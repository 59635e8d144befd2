# SPDX-License-Identifier: Apache-2.0
"""A flat top: several elephants at once, and together they carry the same for a while. Pure.

TCP's flows take what they get, so their sum is flat only where something holds it. It may be this link, or another
one on all their paths. So it counts as weak evidence, and never as a full link.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW: Final = 10.0
"""Seconds."""
READINGS: Final = 8
"""Fewer in a window say nothing."""
FLAT: Final = 0.06
"""Largest difference of two readings in a window, as a part of their mean."""
SHARE: Final = 0.5
"""Least part of the traffic that elephants carry."""
FLOWS: Final = 2
"""Fewer elephants may have a pace of their own."""


@dataclass(slots=True)
class FlatTop:
    """The last readings of one direction."""

    _readings: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=64))

    def after(self, rate: float, elephants: float, flows: int, now: float) -> bool:
        """Whether the window that ends with ``rate`` (bit/s, of which ``elephants``) is flat."""
        if flows < FLOWS or elephants < SHARE * rate or rate <= 0:
            self._readings.clear()
            return False
        self._readings.append((now, rate))
        while self._readings[0][0] < now - WINDOW:
            self._readings.popleft()
        rates = [rate for _, rate in self._readings]
        mean = sum(rates) / len(rates)
        return len(rates) >= READINGS and max(rates) - min(rates) <= FLAT * mean
