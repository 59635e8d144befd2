# SPDX-License-Identifier: Apache-2.0
"""Sums of tallies from which single tallies can be subtracted again.

Enters: one node's tally of a workload, to be added, replaced or removed. Leaves: the sum over all nodes.
Guarantees: after any order of changes the sum equals that of the tallies that are left, and a change costs the
same however many nodes there are.

Floats that are added and subtracted for weeks drift. So sums are integers of ``1/UNIT``. Rates have at most
fifteen digits before the point and fit without loss; smaller figures are rounded alike when added and when
subtracted. A maximum cannot be subtracted, so each distinct value is counted. Rates have two significant digits,
which makes ninety distinct values per power of ten to search when the last holder of the largest value is gone.
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
