# SPDX-License-Identifier: Apache-2.0
"""One direction of one link: what it carries, whether it is full, what that teaches. Pure.

Enters: the rate of each reading, whether packets were held back, and what elephants carry. Leaves: smoothed rates,
full or not, and an estimate of the capacity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from footprint.units import MAX_RATE
from nodeagent.node.capacity.estimator import STRONG, WEAK, Estimator
from nodeagent.node.capacity.flat_top import FlatTop
from nodeagent.node.capacity.resolve import Learned
from nodeagent.node.capacity.saturation import IDLE, TEACHES, Saturation
from nodeagent.node.capacity.smoothing import weight

_USED_TAU: Final = 5.0
"""Seconds over which a rate counts as carried for a while."""


@dataclass(slots=True)
class Direction:
    """Rates in bit/s."""

    saturation: Saturation = IDLE
    estimator: Estimator = field(default_factory=Estimator)
    flat: FlatTop = field(default_factory=FlatTop)
    used: float = 0.0
    """Smoothed."""
    most: float = 0.0
    """The largest ``used`` there ever was."""

    def after(
        self, rate: float, seconds: float, *, busy: bool, now: float, elephants: float = 0.0, flows: int = 0
    ) -> None:
        """A reading ``seconds`` after the one before. ``busy``: packets waited or were dropped."""
        self.used += weight(seconds, _USED_TAU) * (min(rate, MAX_RATE) - self.used)
        self.most = max(self.most, self.used)
        self.saturation = self.saturation.after(busy, seconds)
        flat = self.flat.after(rate, elephants, flows, now)
        if busy and self.saturation.busy >= TEACHES:
            self.estimator.add(rate, seconds, STRONG)
        elif flat and rate > self.estimator.rate:
            self.estimator.add(rate, seconds, WEAK)

    @property
    def learned(self) -> Learned:
        return Learned(self.estimator.rate, self.estimator.sure)
