"""Cumulative counters → smoothed rates of one owner.

Enters: two snapshots of one owner's counters within an epoch and the seconds between them. Leaves: rates in
bit/s and flows/s. Guarantees: no rate from one snapshot; counters that went backwards give no rate; irregular
intervals weigh by their length.

Smoothing is an exponentially weighted mean with time constant tau: a sample of dt seconds gets the weight
alpha = 1 - exp(-dt/tau), and the mean is divided by the weight given out so far. Early on it is therefore the
plain mean of what was seen, never a figure that still climbs from zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from footprint.models import LinkRates
from footprint.units import MAX_RATE
from nodeagent.sources.base import Counters

RATE_TAU: Final = 1.25
"""Seconds. A step is followed to 91 % after 3 s (1 - exp(-3/1.25)); noise between one-second samples is damped
to 0.6 of its deviation. Slower would publish elephants late; publishing has a deadband against the rest."""
FLOWS_TAU: Final = 30.0
"""Seconds. New flows come in ones and twos: a rate of 0.1/s needs this long to be told from none."""
SHARE_TAU: Final = 300.0
"""Seconds over which ended flows count for the mice share."""
SUSTAINED_TAU: Final = 10.0
"""Seconds over which a rate counts as sustained, for what an ended pod teaches."""
_FORGOTTEN: Final = 1e-9
"""Below this weight of ended flows the last known mice share stands."""


@dataclass(frozen=True, slots=True)
class Totals:
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
        """A copy: sources may go on counting in the object they handed out."""
        return cls(
            counters.tx_bytes, counters.rx_bytes, counters.tx_elephant_bytes, counters.rx_elephant_bytes,
            counters.local_bytes, counters.flows_born, counters.flows_ended, counters.mice_ended,
        )  # fmt: skip

    def values(self) -> tuple[int, ...]:
        return (self.tx, self.rx, self.etx, self.erx, self.local, self.born, self.ended, self.mice)

    def since(self, before: Totals) -> Totals | None:
        """What was added since ``before``; None when any figure went backwards."""
        steps = tuple(now - then for now, then in zip(self.values(), before.values(), strict=True))
        return None if min(steps) < 0 else Totals(*steps)


@dataclass(slots=True)
class Mean:
    """The smoothed mean of the module's docstring."""

    tau: float
    total: float = 0.0
    weight: float = 0.0

    def add(self, value: float, seconds: float) -> None:
        alpha = -math.expm1(-seconds / self.tau)
        self.total += alpha * (value - self.total)
        self.weight += alpha * (1.0 - self.weight)

    @property
    def value(self) -> float:
        return self.total / self.weight if self.weight > 0 else 0.0

    def restart(self, value: float | None = None) -> None:
        """Forget; or, with ``value``, continue from it as if it had always been so."""
        self.total, self.weight = (0.0, 0.0) if value is None else (value, 1.0)


def _bits(size: float, seconds: float) -> float:
    return min(size * 8.0 / seconds, MAX_RATE)


@dataclass(slots=True)
class LinkMeans:
    """tx, rx and the elephants' part of both, smoothed alike; bit/s."""

    tau: float
    tx: Mean = field(init=False)
    rx: Mean = field(init=False)
    etx: Mean = field(init=False)
    erx: Mean = field(init=False)

    def __post_init__(self) -> None:
        self.tx, self.rx, self.etx, self.erx = (Mean(self.tau) for _ in range(4))

    def add(self, step: Totals, seconds: float) -> None:
        for mean, size in ((self.tx, step.tx), (self.rx, step.rx), (self.etx, step.etx), (self.erx, step.erx)):
            mean.add(_bits(size, seconds), seconds)

    def restart(self) -> None:
        for mean in (self.tx, self.rx, self.etx, self.erx):
            mean.restart()

    def without_elephants(self, step: Totals, seconds: float) -> None:
        """Continue from the part of ``step`` that elephants did not carry."""
        self.tx.restart(_bits(max(step.tx - step.etx, 0), seconds))
        self.rx.restart(_bits(max(step.rx - step.erx, 0), seconds))
        self.etx.restart(0.0)
        self.erx.restart(0.0)

    @property
    def all(self) -> LinkRates:
        return LinkRates(self.tx.value, self.rx.value)

    @property
    def elephants(self) -> LinkRates:
        return LinkRates(self.etx.value, self.erx.value)


@dataclass(slots=True)
class OwnerRates:
    """Smoothed rates of one owner (a pod, the host, the unattributed).

    The first elephant's beginning and the last one's end are changes of regime, not noise: the link's means
    start over there, so that the first figures published after them are right rather than half-way.
    """

    link: LinkMeans = field(default_factory=lambda: LinkMeans(RATE_TAU))
    local: Mean = field(default_factory=lambda: Mean(RATE_TAU))
    flows: Mean = field(default_factory=lambda: Mean(FLOWS_TAU))
    ended: Mean = field(default_factory=lambda: Mean(SHARE_TAU))
    mice: Mean = field(default_factory=lambda: Mean(SHARE_TAU))
    mice_share: float = 0.0
    """Of the flows that ended, the part that ended as mice; 0-1, and 0 while none ended."""
    samples: int = 0
    elephants: int = 0
    """Elephant flows now."""
    carrying: bool = False
    """Elephants were there at the last sample, and their bytes were counted as such."""

    def add(self, step: Totals, seconds: float, elephants: int) -> None:
        self._add_link(step, seconds, elephants)
        self.local.add(_bits(step.local, seconds), seconds)
        self.flows.add(min(step.born / seconds, 1e9), seconds)
        self.ended.add(step.ended / seconds, seconds)
        self.mice.add(step.mice / seconds, seconds)
        if self.ended.total > _FORGOTTEN:
            self.mice_share = min(self.mice.total / self.ended.total, 1.0)
        self.samples += 1

    def _add_link(self, step: Totals, seconds: float, elephants: int) -> None:
        carried = step.etx + step.erx > 0
        self.elephants = elephants
        if self.carrying and not elephants:
            self.carrying = False
            self.link.without_elephants(step, seconds)
            return
        if not self.carrying and elephants and carried:
            self.carrying = True
            self.link.restart()
        self.link.add(step, seconds)
