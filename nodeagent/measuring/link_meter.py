# SPDX-License-Identifier: Apache-2.0
"""An uplink's own counters → its rate: all that the link carries, whether conntrack sees it or not.

Enters: cumulative counters. Leaves: the smoothed rate, and the most that the link carried lately. No effects
beyond its own state.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from footprint.models import LinkRates
from footprint.units import MAX_RATE
from nodeagent.measuring.rates import RATE_TAU, Mean
from nodeagent.node.link import LinkCounters

_LATELY: Final = 4
"""Steps of which the busiest tells what the link carried lately: owners and interfaces are not read at the same
moment, and some drivers renew their counters every second or two only."""
_LEAST_STEP: Final = 0.8
"""Seconds of a step. Elephants add readings, and a rate over less time is noise."""


class LinkMeter:
    """Smoothed like the owners' rates, so that both can be compared."""

    def __init__(self) -> None:
        self._previous: tuple[str, LinkCounters, float] | None = None
        self._tx, self._rx = Mean(RATE_TAU), Mean(RATE_TAU)
        self._steps: deque[LinkRates] = deque(maxlen=_LATELY)
        self._step: tuple[LinkCounters, float] | None = None
        self.sample: LinkRates | None = None
        """bit/s between the last two readings; None when they give none."""

    def advance(
        self, interface: str | None, counters: LinkCounters | None, now: float, *, anew: bool = False
    ) -> LinkRates | None:
        """bit/s at monotonic ``now``; None until two readings of one interface's growing counters. ``anew``: an
        elephant began or ended, so what was before says nothing of now; the owners' means begin anew as well."""
        previous = self._previous
        self._previous = (interface, counters, now) if interface and counters else None
        self.sample = None
        if self._previous is None or previous is None or previous[0] != interface or counters is None:
            self._restart()
            self._begin(counters, now)
            return None
        self.sample = rates(previous[1], counters, now - previous[2])
        if self.sample is None:
            self._restart()
            self._begin(counters, now)
            return None
        if anew:
            self._tx.restart()
            self._rx.restart()
        self._tx.add(self.sample.tx, now - previous[2])
        self._rx.add(self.sample.rx, now - previous[2])
        self._note_step(counters, now)
        return self.rates

    @property
    def rates(self) -> LinkRates:
        return LinkRates(self._tx.value, self._rx.value)

    @property
    def most(self) -> LinkRates:
        """The most that the link carried in one of the last steps, or carries, bit/s."""
        known = [*self._steps, self.rates]
        return LinkRates(max(step.tx for step in known), max(step.rx for step in known))

    def _note_step(self, counters: LinkCounters, now: float) -> None:
        if self._step is not None and now - self._step[1] >= _LEAST_STEP:
            step = rates(self._step[0], counters, now - self._step[1])
            if step is not None:
                self._steps.append(step)
            self._begin(counters, now)

    def _begin(self, counters: LinkCounters | None, now: float) -> None:
        self._step = None if counters is None else (counters, now)

    def _restart(self) -> None:
        self._tx.restart()
        self._rx.restart()
        self._steps.clear()


def rates(before: LinkCounters, after: LinkCounters, seconds: float) -> LinkRates | None:
    """bit/s; None when a counter started over."""
    tx, rx = after.tx_bytes - before.tx_bytes, after.rx_bytes - before.rx_bytes
    if seconds <= 0 or tx < 0 or rx < 0:
        return None
    return LinkRates(min(tx * 8 / seconds, MAX_RATE), min(rx * 8 / seconds, MAX_RATE))
