# SPDX-License-Identifier: Apache-2.0
"""How much of the link's traffic conntrack showed: bytes counted over bytes the interface carried.

Enters: cumulative counts of both. Leaves: a ratio over the last minute. A datapath that bypasses the kernel's
conntrack (eBPF host routing, flowtables without counters) shows nowhere else.
"""

from __future__ import annotations

from typing import Final

from nodeagent.measuring.rates import Mean
from nodeagent.node.link import LinkCounters

COVERAGE_TAU: Final = 60.0
"""Seconds; averages out that conntrack and the interface are not read at the same instant."""
LOW_COVERAGE: Final = "low-coverage"
"""Reason in a footprint's ``bad``."""
_LOW: Final = 0.5
_HIGH: Final = 0.6  # hysteresis: well again only above this
_LEAST_RATE: Final = 1e6
"""bit/s on the link below which there is no ratio: untracked management traffic dominates there."""
_LEAST_WEIGHT: Final = 0.39  # 30 s of the mean's weight: 1 - exp(-30/60)


class Coverage:
    """State between readings; pure otherwise."""

    def __init__(self) -> None:
        self._previous: tuple[int, LinkCounters, float] | None = None
        self._counted, self._carried = Mean(COVERAGE_TAU), Mean(COVERAGE_TAU)
        self.low = False

    def advance(self, counted: int, link: LinkCounters | None, now: float) -> None:
        """``counted`` bytes in all so far, the link's counters, at monotonic ``now``."""
        previous, self._previous = self._previous, None if link is None else (counted, link, now)
        if link is None or previous is None or now <= previous[2]:
            return
        seconds = now - previous[2]
        carried = link.tx_bytes - previous[1].tx_bytes + link.rx_bytes - previous[1].rx_bytes
        if carried < 0:  # the interface's counters started over
            return
        self._counted.add((counted - previous[0]) * 8 / seconds, seconds)
        self._carried.add(carried * 8 / seconds, seconds)
        self._judge()

    def _judge(self) -> None:
        ratio = self.ratio
        if ratio is None or self._carried.weight < _LEAST_WEIGHT:
            self.low = False
        else:
            self.low = ratio < (_HIGH if self.low else _LOW)

    @property
    def ratio(self) -> float | None:
        """About 1 when all is seen; None while the link carries too little to tell."""
        if self._carried.value < _LEAST_RATE:
            return None
        return self._counted.value / self._carried.value

    @property
    def reasons(self) -> tuple[str, ...]:
        return (LOW_COVERAGE,) if self.low else ()
