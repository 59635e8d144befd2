# SPDX-License-Identifier: Apache-2.0
"""Bytes of all pods together, of the host, of nobody known, and of tunnels: sums that never fall.

Enters: readings. Leaves: cumulative bytes by kind of owner. Guarantees: pure. Pods may go, an owner's counters may
begin at zero again, a source may start over: what was added once stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from nodeagent.sources.base import CARRIER, HOST, NO_PODS, UNATTRIBUTED, Counters, Reading

PODS: Final = "pods"
KINDS: Final = (PODS, HOST, UNATTRIBUTED, CARRIER)


class Carried(NamedTuple):
    """IP bytes."""

    tx: int = 0
    """Over the link."""
    rx: int = 0
    local: int = 0
    """Between two ends on this node."""


class TrafficTotals:
    """Remembers each owner's counters of the last reading."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._last: dict[str, Carried] = {}
        self._sums: dict[str, Carried] = dict.fromkeys(KINDS, Carried())

    @property
    def sums(self) -> Mapping[str, Carried]:
        """By kind of owner."""
        return self._sums

    def advance(self, reading: Reading) -> None:
        """Add what was counted since the reading before."""
        last = self._last if reading.epoch == self._epoch else {}
        now = {owner: _carried(counters) for owner, counters in reading.owners.items()}
        sums = dict(self._sums)
        for owner, carried in now.items():
            before = last.get(owner)
            if carried != before:
                kind = owner if owner in NO_PODS else PODS
                sums[kind] = _added(sums[kind], carried, before or Carried())
        self._epoch, self._last, self._sums = reading.epoch, now, sums


def _carried(counters: Counters) -> Carried:
    return Carried(counters.tx_bytes, counters.rx_bytes, counters.local_bytes)


def _added(total: Carried, now: Carried, before: Carried) -> Carried:
    """A counter that fell began at zero again."""
    began_again = any(one < other for one, other in zip(now, before, strict=True))
    base = Carried() if began_again else before
    return Carried(*(whole + one - other for whole, one, other in zip(total, now, base, strict=True)))
