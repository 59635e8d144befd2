# SPDX-License-Identifier: Apache-2.0
"""The invariant: what is said of the links never exceeds what their own counters carried. Pure.

Enters: what owners are said to have sent and received in an interval, and what the interfaces carried in it.
Leaves: the part of it to believe. Guarantees: no decision rests on one interval, for both are not read at the same
moment.

Interfaces count frames, and their Ethernet headers are taken off (``nodeagent.node.link``). Connection tracking
counts the IP header of a merged packet once. So an honest sum is a little below what the interface carried.
"""

from __future__ import annotations

from typing import Final

from footprint.models import LinkRates
from nodeagent.measuring.aggregation import AS_COUNTED, Scale
from nodeagent.measuring.rates import Mean

COUNTED_TOO_MUCH: Final = "counted-too-much"
"""Reason in a footprint's ``bad``."""
TRUTH_TAU: Final = 8.0
"""Seconds over which both are compared."""
_TOO_MUCH: Final = 1.1
_ENOUGH: Final = 1.03  # hysteresis: well again only below this
_LEAST_EXCESS: Final = 1e6
"""bit/s that do not matter."""
_LEAST_WEIGHT: Final = 0.39  # 4 s of the mean's weight: 1 - exp(-4/8)
_HOLD: Final = 30.0
"""Seconds for which the reason stays, so that a person sees it and it does not come and go."""


class Truth:
    """State between readings; pure otherwise."""

    def __init__(self) -> None:
        self._counted = (Mean(TRUTH_TAU), Mean(TRUTH_TAU), Mean(TRUTH_TAU))
        self._carried = (Mean(TRUTH_TAU), Mean(TRUTH_TAU))
        self._well_for = 0.0
        self._exceeds = [False, False, False]
        self.too_much = False
        self.scale = AS_COUNTED
        self.corrected = 0
        """Intervals after which figures were corrected."""

    def advance(self, counted: LinkRates, unattributed: float, carried: LinkRates, seconds: float) -> None:
        """bit/s over an interval of ``seconds``. ``unattributed``: both directions together, as which of them is
        which is convention alone."""
        for mean, value in zip(self._counted, (counted.tx, counted.rx, unattributed), strict=True):
            mean.add(value, seconds)
        for mean, value in zip(self._carried, (carried.tx, carried.rx), strict=True):
            mean.add(value, seconds)
        self._judge(seconds)

    def restart(self) -> None:
        """The links or their counters are others now: what was compared says nothing. The reason stays its
        time."""
        for mean in (*self._counted, *self._carried):
            mean.restart()
        self._exceeds, self.scale = [False, False, False], AS_COUNTED

    @property
    def reasons(self) -> tuple[str, ...]:
        return (COUNTED_TOO_MUCH,) if self.too_much else ()

    def _judge(self, seconds: float) -> None:
        if self._carried[0].weight < _LEAST_WEIGHT:
            return
        tx, rx, unattributed = (mean.value for mean in self._counted)
        sent, received = (mean.value for mean in self._carried)
        sums = ((tx, sent), (rx, received), (tx + rx + unattributed, sent + received))
        self._exceeds = [_exceeds(was, *one) for was, one in zip(self._exceeds, sums, strict=True)]
        self.scale = self._scaled(tx, rx, unattributed, sent, received)
        if any(self._exceeds):
            self._well_for, self.too_much = 0.0, True
            self.corrected += 1
        else:
            self._well_for += seconds
            self.too_much = self.too_much and self._well_for < _HOLD

    def _scaled(self, tx: float, rx: float, unattributed: float, sent: float, received: float) -> Scale:
        of_tx = min(sent / tx, 1.0) if self._exceeds[0] else 1.0
        of_rx = min(received / rx, 1.0) if self._exceeds[1] else 1.0
        rest = tx * of_tx + rx * of_rx + unattributed
        of_all = min((sent + received) / rest, 1.0) if self._exceeds[2] and rest > 0 else 1.0
        return Scale(of_tx * of_all, of_rx * of_all)


def _exceeds(was: bool, counted: float, carried: float) -> bool:
    factor, excess = (_ENOUGH, _LEAST_EXCESS / 3) if was else (_TOO_MUCH, _LEAST_EXCESS)
    return counted > carried * factor and counted - carried > excess
