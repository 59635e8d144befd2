# SPDX-License-Identifier: Apache-2.0
"""What a link carries, learned from the moments at which it was full. Pure.

Enters: the rate of each reading, and how strongly it shows the link full. Leaves: bit/s and a confidence.

- The rate of a full link is its capacity at that moment. So the estimate is the ``QUANTILE`` of the rates, by the
  time that the link was full at each.
- Clouds let machines burst, and then hold them to a baseline. The baseline lasts longer, and takes over.
- On a shared link others take part of it for a while. That time is the smaller part, and the estimate stays.
- Old moments fade: each counts half after ``HALF_LIFE`` seconds of *full* time. An idle night teaches nothing, and
  takes nothing away.
- A flat top without a queue is weak evidence: the bottleneck may be another machine's link. It never makes the
  confidence more than ``WEAK_LIMIT``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

QUANTILE: Final = 0.75
"""A burst has to be less than a quarter of the full time to be passed over, and so has neighbours' time to be more
than three quarters to pull the estimate down."""
HALF_LIFE: Final = 1800.0
"""Seconds of full time. A burst of five minutes is passed over after 13 minutes at the baseline."""
WARM: Final = 10.0
"""Seconds of full time after which the confidence is 1 - 1/e = 0.63, if all rates agree."""
AGREE: Final = 0.15
"""Rates within this part of the estimate agree with it. The rate of a full link varies by a few per cent."""
WEAK_LIMIT: Final = 0.4
STRONG: Final = 1.0
WEAK: Final = 0.25
LEAST: Final = 1e6
"""bit/s. A link that is full below it is broken, not small."""
_STEP: Final = math.log(1.02)
"""Rates are kept in steps of 2 per cent: at most 1,050 of them from LEAST to MAX_RATE."""
_FORGOTTEN: Final = 1e-3


@dataclass(slots=True)
class Estimator:
    """One direction of one link."""

    _seconds: dict[int, float] = field(default_factory=dict)
    """Step → full seconds at that rate, faded."""
    _strong: float = 0.0
    """The part of all seconds that came with a queue, drops or the provider's signal."""

    def add(self, rate: float, seconds: float, evidence: float) -> None:
        """The link was full at ``rate`` bit/s for ``seconds``; ``evidence`` is STRONG or WEAK."""
        if rate < LEAST or seconds <= 0:
            return
        counted = seconds * evidence
        fade = 0.5 ** (counted / HALF_LIFE)
        self._seconds = {step: s * fade for step, s in self._seconds.items() if s * fade > _FORGOTTEN}
        step = round(math.log(rate) / _STEP)
        self._seconds[step] = self._seconds.get(step, 0.0) + counted
        self._strong = self._strong * fade + (counted if evidence >= STRONG else 0.0)

    def restore(self, rate: float, sure: float) -> None:
        """Go on from what an earlier agent published, with as much time as its confidence stands for."""
        if rate >= LEAST and 0 < sure <= 1:
            self.add(rate, -WARM * math.log(max(1.0 - sure, 0.05)), STRONG)

    @property
    def rate(self) -> float:
        """bit/s; 0 while the link was never seen full."""
        total, below = sum(self._seconds.values()), 0.0
        for step in sorted(self._seconds):
            below += self._seconds[step]
            if below >= QUANTILE * total:
                return math.exp(step * _STEP)
        return 0.0

    @property
    def sure(self) -> float:
        """0-1."""
        rate, total = self.rate, sum(self._seconds.values())
        if total <= 0:
            return 0.0
        agreeing = sum(s for step, s in self._seconds.items() if abs(math.exp(step * _STEP) / rate - 1) <= AGREE)
        found = -math.expm1(-total / WARM) * agreeing / total
        return min(found, max(WEAK_LIMIT, -math.expm1(-self._strong / WARM)))
