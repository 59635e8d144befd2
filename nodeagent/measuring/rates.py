# SPDX-License-Identifier: Apache-2.0
"""Cumulative counters → smoothed rates of one owner.

Enters: two snapshots of one owner's counters within an epoch and the time between them. Leaves: rates in
bit/s and flows/s. Guarantees: no rate from one snapshot; counters that went backwards give no rate; irregular
intervals weigh by their length.

Smoothing is an exponentially weighted mean with time constant tau: a sample of dt seconds gets the weight
alpha = 1 - exp(-dt/tau), and the mean is divided by the sum of the weights so far. So an early mean is the plain
mean of the samples, and does not climb from zero.

Every pod of the node pays for this at each reading. So it uses plain floats, and computes the weights once per
reading (``Interval``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import sub
from typing import Final, NamedTuple

from footprint.units import MAX_RATE
from nodeagent.sources.base import Counters

RATE_TAU: Final = 1.25
"""Seconds. A step is followed to 91 % after 3 s (1 - exp(-3/1.25)); noise between one-second samples is damped
to 0.6 of its deviation. A longer time would publish elephants late; publishing has a deadband for the noise."""
FLOWS_TAU: Final = 30.0
"""Seconds. New flows come in ones and twos: a rate of 0.1/s needs this long to differ from none."""
SHARE_TAU: Final = 300.0
"""Seconds over which ended flows count for the mice share."""
SUSTAINED_TAU: Final = 10.0
"""Seconds over which a rate counts as sustained, for what an ended pod teaches."""
_FORGOTTEN: Final = 1e-9
"""Below this weight of ended flows the last known mice share stands."""
MAX_FLOWS: Final = 1e9
"""New flows/s that can be published."""


class Totals(NamedTuple):
    """The figures of ``Counters`` that become rates, as one immutable value."""

    tx: int = 0
    rx: int = 0
    etx: int = 0
    erx: int = 0
    local: int = 0
    born: int = 0
    ended: int = 0
    mice: int = 0

    @classmethod
    def of(cls, counters: Counters) -> Totals:
        return cls(
            counters.tx_bytes, counters.rx_bytes, counters.tx_elephant_bytes, counters.rx_elephant_bytes,
            counters.local_bytes, counters.flows_born, counters.flows_ended, counters.mice_ended,
        )  # fmt: skip

    def since(self, before: Totals) -> Totals | None:
        """What was added since ``before``; None when any figure went backwards."""
        step = Totals._make(map(sub, self, before))
        return None if min(step) < 0 else step


NOTHING: Final = Totals()
"""What an idle owner adds."""


def weight(seconds: float, tau: float) -> float:
    """alpha of the module's docstring."""
    return -math.expm1(-seconds / tau)


class Interval(NamedTuple):
    """The time between two readings, and the weight of its sample in each mean."""

    seconds: float
    rate: float
    flows: float
    share: float
    sustained: float

    @classmethod
    def of(cls, seconds: float) -> Interval:
        return cls(seconds, *(weight(seconds, tau) for tau in (RATE_TAU, FLOWS_TAU, SHARE_TAU, SUSTAINED_TAU)))


@dataclass(slots=True)
class Mean:
    """The smoothed mean of the module's docstring."""

    tau: float
    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float, seconds: float) -> None:
        alpha = weight(seconds, self.tau)
        self.total += alpha * (value - self.total)
        self.weight += alpha * (1.0 - self.weight)

    @property
    def value(self) -> float:
        return self.total / self.weight if self.weight > 0 else 0.0

    def restart(self, value: float | None = None) -> None:
        """Forget; or, with ``value``, continue from it as if it had always been so."""
        self.total, self.weight = (0.0, 0.0) if value is None else (value, 1.0)


class LinkBits(NamedTuple):
    """bit/s over the link during one interval, and the elephants' part."""

    tx: float
    rx: float
    etx: float
    erx: float


_NO_BITS: Final = LinkBits(0.0, 0.0, 0.0, 0.0)


def link_bits(step: Totals, seconds: float) -> LinkBits:
    return _NO_BITS if step is NOTHING else LinkBits(*[_bits(size, seconds) for size in step[:4]])


def _bits(size: float, seconds: float) -> float:
    bits = size * 8.0 / seconds
    return bits if bits < MAX_RATE else MAX_RATE


@dataclass(slots=True)
class LinkMeans:
    """Smoothed ``LinkBits``; the four share their weight, for they begin and restart together."""

    tx: float = 0.0
    rx: float = 0.0
    etx: float = 0.0
    erx: float = 0.0
    weight: float = 0.0

    def add(self, bits: LinkBits, alpha: float) -> None:
        tx, rx, etx, erx = bits
        self.tx += alpha * (tx - self.tx)
        self.rx += alpha * (rx - self.rx)
        self.etx += alpha * (etx - self.etx)
        self.erx += alpha * (erx - self.erx)
        self.weight += alpha * (1.0 - self.weight)

    def restart(self) -> None:
        self.tx = self.rx = self.etx = self.erx = self.weight = 0.0

    def without_elephants(self, step: Totals, seconds: float) -> None:
        """Continue from the part of ``step`` that elephants did not carry, as if it had always been so."""
        self.tx = _bits(max(step.tx - step.etx, 0), seconds)
        self.rx = _bits(max(step.rx - step.erx, 0), seconds)
        self.etx = self.erx = 0.0
        self.weight = 1.0

    @property
    def values(self) -> LinkBits:
        return LinkBits(self.tx / w, self.rx / w, self.etx / w, self.erx / w) if (w := self.weight) else _NO_BITS


@dataclass(slots=True)
class OwnerRates:
    """Smoothed rates of one owner (a pod, the host, the unattributed).

    The first elephant's beginning and the last one's end are changes of regime, not noise: the link's means
    start over there, so that the first figures published after them are right rather than half-way. What an
    elephant carried in the rest of the interval in which it became one tells no rate, and counts as other traffic.
    """

    link: LinkBits = _NO_BITS
    local: float = 0.0
    """bit/s that never left the node."""
    flows: float = 0.0
    """New flows/s."""
    mice_share: float = 0.0
    """Of the flows that ended, the part that ended as mice; 0-1, and 0 while none ended."""
    samples: int = 0
    elephants: int = 0
    """Elephant flows now."""
    carrying: bool = False
    """The means started over with an elephant, and there has been one since."""
    _carried: bool = False
    """Elephants' bytes were in the last sample."""
    _link: LinkMeans = field(default_factory=LinkMeans)
    _local: float = 0.0
    _local_weight: float = 0.0
    _flows: float = 0.0
    _flows_weight: float = 0.0
    _ended: float = 0.0
    _mice: float = 0.0

    def add(
        self, step: Totals, bits: LinkBits, interval: Interval, elephants: int = 0, *, lasting: bool = False
    ) -> None:
        """What one interval added; ``bits`` are the step's. ``lasting``: there was an elephant all the time."""
        seconds, alpha, flows_alpha, share_alpha, _ = interval
        _, _, _, _, local, born, ended, mice = step
        self.elephants = elephants
        self._add_link(step, bits, interval, lasting=lasting)
        self._local += alpha * (_bits(local, seconds) - self._local)
        self._local_weight += alpha * (1.0 - self._local_weight)
        self.local = self._local / self._local_weight
        new = born / seconds
        self._flows += flows_alpha * ((new if new < MAX_FLOWS else MAX_FLOWS) - self._flows)
        self._flows_weight += flows_alpha * (1.0 - self._flows_weight)
        self.flows = self._flows / self._flows_weight
        self._ended += share_alpha * (ended / seconds - self._ended)
        self._mice += share_alpha * (mice / seconds - self._mice)
        if self._ended > _FORGOTTEN:
            self.mice_share = min(self._mice / self._ended, 1.0)
        self.samples += 1

    def _add_link(self, step: Totals, bits: LinkBits, interval: Interval, *, lasting: bool) -> None:
        link, carried = self._link, step.etx + step.erx > 0
        if self.carrying and not self.elephants:
            self.carrying = False
            link.without_elephants(step, interval.seconds)
        elif self.carrying or not self.elephants or not carried:
            link.add(bits, interval.rate)
        elif lasting or self._carried:
            self.carrying = True
            link.restart()
            link.add(bits, interval.rate)
        else:
            link.add(LinkBits(bits.tx, bits.rx, 0.0, 0.0), interval.rate)
        self._carried = carried
        self.link = link.values
