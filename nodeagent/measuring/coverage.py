# SPDX-License-Identifier: Apache-2.0
"""How much of the links' traffic conntrack showed: bytes counted over bytes the interfaces carried.

Enters: counts of both. Leaves: a ratio over the last minute. A datapath that bypasses the kernel's conntrack (eBPF
host routing, flowtables without counters) shows nowhere else. A ratio above 1 says that more was counted than was
carried (``nodeagent.measuring.truth``).

Of several uplinks, mice are booked on the default route's, so a single uplink's ratio is an estimate. It is low
only where as many bytes are missing on all together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from footprint.coverage import MEASURABLE
from nodeagent.measuring.rates import Mean

COVERAGE_TAU: Final = 60.0
"""Seconds; averages out that conntrack and the interface are not read at the same instant."""
LOW_COVERAGE: Final = "low-coverage"
"""Reason in a footprint's ``bad``."""
_LOW: Final = 0.5
_HIGH: Final = 0.6  # hysteresis: well again only above this
_LEAST_WEIGHT: Final = 0.39  # 30 s of the mean's weight: 1 - exp(-30/60)


class Coverage:
    """Of all uplinks together. State between readings; pure otherwise."""

    def __init__(self) -> None:
        self._counted, self._carried = Mean(COVERAGE_TAU), Mean(COVERAGE_TAU)
        self.low = False

    def advance(self, counted: float, carried: float, seconds: float) -> None:
        """bit/s of both over an interval of ``seconds``."""
        self._counted.add(counted, seconds)
        self._carried.add(carried, seconds)
        self._judge()

    @property
    def carried(self) -> float:
        """bit/s."""
        return self._carried.value

    @property
    def missing(self) -> float:
        """bit/s that were carried and not counted."""
        return max(self._carried.value - self._counted.value, 0.0)

    def _judge(self) -> None:
        ratio = self.ratio
        if ratio is None or self._carried.weight < _LEAST_WEIGHT:
            self.low = False
        else:
            self.low = ratio < (_HIGH if self.low else _LOW)

    @property
    def ratio(self) -> float | None:
        """About 1 when all is seen; None while the link carries too little to tell."""
        if self._carried.value < MEASURABLE:
            return None
        return self._counted.value / self._carried.value

    @property
    def reasons(self) -> tuple[str, ...]:
        return (LOW_COVERAGE,) if self.low else ()


class Coverages:
    """Of all uplinks together, and of each."""

    def __init__(self) -> None:
        self.all = Coverage()
        self._each: dict[str, Coverage] = {}
        self._low: set[str] = set()

    def advance(self, counted: Mapping[str, float], carried: Mapping[str, float], seconds: float) -> None:
        """bit/s by uplink over an interval; what was counted is booked on one of those that carried."""
        self.all.advance(sum(counted.values()), sum(carried.values()), seconds)
        self._each = {name: self._each.get(name) or Coverage() for name in carried}
        for name, coverage in self._each.items():
            coverage.advance(counted.get(name, 0.0), carried[name], seconds)
        self._low = {name for name, coverage in self._each.items() if self._is_low(name, coverage)}

    @property
    def ratios(self) -> dict[str, float]:
        """By uplink, where it carries enough to tell."""
        found = {name: coverage.ratio for name, coverage in self._each.items()}
        return {name: ratio for name, ratio in found.items() if ratio is not None}

    @property
    def low(self) -> bool:
        return self.all.low or bool(self._low)

    @property
    def reasons(self) -> tuple[str, ...]:
        return (LOW_COVERAGE,) if self.low else ()

    def _is_low(self, name: str, coverage: Coverage) -> bool:
        part = 1 - _HIGH if name in self._low else 1 - _LOW
        return coverage.low and self.all.missing > part * coverage.carried
