# SPDX-License-Identifier: Apache-2.0
"""Sums of tallies from which one can be taken away again.

Enters: one node's tally of a workload at a time, to be added, replaced or taken away. Leaves: the sum over all
nodes. Guarantees: what any order of changes leaves is exactly what summing the tallies that are left would give,
and a change costs the same however many nodes there are.

Floats that are added and subtracted for weeks drift. So sums are integers of ``1/UNIT``: rates, which the wire
carries as at most fifteen digits before the point, fit in without loss, and what little is lost of a smaller
figure is lost alike when it is added and when it is taken away. A maximum cannot be taken back; each distinct
value is counted instead. Rates have two significant digits: ninety values for each power of ten, however many
nodes, are all there is to look through when the last holder of the largest is gone.
"""

from __future__ import annotations

from typing import Final

from extender.model.demand import Tally

UNIT: Final = 2**64
_UNIT: Final = float(UNIT)


class _Peak:
    """The largest of some positive figures."""

    __slots__ = ("_holders", "top")

    def __init__(self) -> None:
        self._holders: dict[float, int] = {}
        self.top = 0.0

    def add(self, value: float) -> None:
        if value > 0:
            self._holders[value] = self._holders.get(value, 0) + 1
            self.top = max(self.top, value)

    def take(self, value: float) -> None:
        if value <= 0:
            return
        self._holders[value] -= 1
        if not self._holders[value]:
            del self._holders[value]
            if value == self.top:
                self.top = max(self._holders, default=0.0)


class Total:
    """One workload's tallies over all nodes."""

    __slots__ = (
        "_active", "_flows", "_hurting", "_mice", "_peak_rx", "_peak_tx", "_quiet", "_running", "_rx",
        "_suffering", "_tx", "nodes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.nodes = 0
        """Tallies in it."""
        self._active = self._quiet = self._hurting = self._suffering = self._running = 0
        self._tx = self._rx = self._mice = self._flows = 0
        self._peak_tx, self._peak_rx = _Peak(), _Peak()

    def swap(self, before: Tally | None, after: Tally | None) -> None:
        """One node's tally is ``after`` now; None: it has none."""
        if before is not None:
            self._add(before, -1)
            self._peak_tx.take(before.peak_tx)
            self._peak_rx.take(before.peak_rx)
        if after is not None:
            self._add(after, 1)
            self._peak_tx.add(after.peak_tx)
            self._peak_rx.add(after.peak_rx)

    def _add(self, tally: Tally, sign: int) -> None:
        self.nodes += sign
        self._active += sign * tally.active
        self._quiet += sign * tally.quiet
        self._running += sign * tally.running
        if tally.hurting:
            self._hurting += sign * tally.hurting
            self._tx += sign * int(tally.tx * _UNIT)
            self._rx += sign * int(tally.rx * _UNIT)
        if tally.suffering:
            self._suffering += sign * tally.suffering
            self._mice += sign * int(tally.mice * _UNIT)
            self._flows += sign * int(tally.flows * _UNIT)

    @property
    def tally(self) -> Tally:
        return Tally(
            self._active, self._quiet, self._hurting, self._tx / UNIT, self._rx / UNIT,
            self._suffering, self._mice / UNIT, self._flows / UNIT, self._peak_tx.top, self._peak_rx.top,
            self._running,
        )  # fmt: skip
