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
        self._last: Mapping[str, Counters] = {}
        self._sums: dict[str, Carried] = dict.fromkeys(KINDS, Carried())

    @property
    def sums(self) -> Mapping[str, Carried]:
        """By kind of owner."""
        return self._sums

    def advance(self, reading: Reading) -> None:
        """Add what was counted since the reading before."""
        last = self._last if reading.epoch == self._epoch else {}
        added = {kind: [0, 0, 0] for kind in KINDS}
        for owner, now in reading.owners.items():
            before = last.get(owner, _NOTHING)
            if now is before:  # readings share what did not change
                continue
            if _fell(now, before):
                before = _NOTHING
            total = added[owner if owner in NO_PODS else PODS]
            total[0] += now.tx_bytes - before.tx_bytes
            total[1] += now.rx_bytes - before.rx_bytes
            total[2] += now.local_bytes - before.local_bytes
        self._sums = {
            kind: Carried(sums.tx + added[kind][0], sums.rx + added[kind][1], sums.local + added[kind][2])
            for kind, sums in self._sums.items()
        }
        self._epoch, self._last = reading.epoch, reading.owners


_NOTHING: Final = Counters()


def _fell(now: Counters, before: Counters) -> bool:
    """It began at zero again."""
    return now.tx_bytes < before.tx_bytes or now.rx_bytes < before.rx_bytes or now.local_bytes < before.local_bytes
