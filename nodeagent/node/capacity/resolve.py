# SPDX-License-Identifier: Apache-2.0
"""A link's capacity, from the first that knows. Pure.

Enters: what each of them says of one link. Leaves: a capacity per direction, where it came from, how sure it is.
The order: the agent's flag, the Node's annotation or label, a provisioner's label, the table by instance type; the
driver; the estimate, if it is firm or above the assumption; the assumption. Guarantees: what is learned or
assumed is never less than what the link carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from footprint.models import CapacitySource, LinkRates
from footprint.units import MAX_RATE

FIRM: Final = 0.5
"""Confidence from which an estimate may say less than what would be assumed."""
_AS_SURE: Final = 0.5
"""A direction keeps its own estimate if it is at least this sure, as a part of the surer one's."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What one direction taught."""

    rate: float = 0.0
    """bit/s; 0: nothing."""
    sure: float = 0.0


NO_RATES: Final = LinkRates()
NOTHING_LEARNED: Final = Learned()


@dataclass(frozen=True, slots=True)
class Claims:
    """What is said of one link. Rates are bit/s, 0 where nothing is known."""

    flag: float | None = None
    node: float = 0.0
    """Annotation, label, or a provisioner's label."""
    table: float = 0.0
    driver: float = 0.0
    tx: Learned = NOTHING_LEARNED
    rx: Learned = NOTHING_LEARNED
    carries: LinkRates = NO_RATES
    """Now."""
    carried: LinkRates = NO_RATES
    """The most it did for a while."""
    assumed: float | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """bit/s per direction; 0 means not known."""

    rates: LinkRates = NO_RATES
    by: str = ""
    """A CapacitySource; empty: not known."""
    sure: float = 0.0
    """Of an estimate, 0-1."""


NOT_KNOWN: Final = Capacity()


def resolve(claims: Claims) -> Capacity:
    """See the module."""
    for rate in (claims.flag or 0.0, claims.node, claims.table):
        if rate > 0:
            return Capacity(LinkRates(rate, rate), CapacitySource.STATED)
    if claims.driver > 0:
        return Capacity(LinkRates(claims.driver, claims.driver), CapacitySource.DRIVER)
    learned = max(claims.tx, claims.rx, key=_sure)
    if learned.rate > 0 and (learned.sure >= FIRM or learned.rate > (claims.assumed or 0.0)):
        return _estimated(claims, learned)
    if claims.assumed:
        rates = _at_least(LinkRates(claims.assumed, claims.assumed), claims.carried)
        return Capacity(rates, CapacitySource.ASSUMED)
    return NOT_KNOWN


def _sure(learned: Learned) -> float:
    return learned.sure


def _estimated(claims: Claims, surer: Learned) -> Capacity:
    """Links are alike in both directions, so that one that taught nothing takes the other's estimate."""
    tx, rx = (way if way.sure >= _AS_SURE * surer.sure and way.rate else surer for way in (claims.tx, claims.rx))
    rates = _at_least(LinkRates(tx.rate, rx.rate), claims.carries)
    return Capacity(rates, CapacitySource.ESTIMATED, surer.sure)


def _at_least(rates: LinkRates, least: LinkRates) -> LinkRates:
    return LinkRates(min(max(rates.tx, least.tx), MAX_RATE), min(max(rates.rx, least.rx), MAX_RATE))
