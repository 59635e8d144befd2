# SPDX-License-Identifier: Apache-2.0
"""The last hour in memory: a few bytes per thing and step.

Enters: bytes that code what one thing did in the current step. Leaves: the last ``STEPS`` steps of a thing,
oldest first. Guarantees: memory is bounded by ``limit`` things; a step that nobody saw is None, and so is all
that was before the start. Nothing is filled in.

At 5,000 nodes with four columns, the rings take 5,000 x (480 + about 180) bytes: 3.3 MB.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

STEP_SECONDS: Final = 30.0
STEPS: Final = 120
"""An hour."""
UNKNOWN: Final = 255
_FULL: Final = 250
"""The code of a whole link: steps of 0.4 percent."""
_PER_DECADE: Final = 20
_LEAST_RATE: Final = 1e3
"""bit/s; less counts as nothing."""


def code_share(used: float, capacity: float) -> int:
    """A share of a link as one byte."""
    return round(_FULL * min(max(used / capacity, 0.0), 1.0)) if capacity > 0 else UNKNOWN


def share_of(code: int) -> float | None:
    """What ``code_share`` coded, 0-1; None: not known."""
    return None if code == UNKNOWN else round(code / _FULL, 3)


def code_rate(rate: float) -> int:
    """A rate in bit/s as one byte, twenty steps per decade."""
    if rate < _LEAST_RATE:
        return 0
    return min(1 + round(_PER_DECADE * math.log10(rate / _LEAST_RATE)), UNKNOWN - 1)


def rate_of(code: int) -> float | None:
    """What ``code_rate`` coded, bit/s, within 6 percent; None: not known."""
    if code == UNKNOWN:
        return None
    return float(f"{_LEAST_RATE * 10 ** ((code - 1) / _PER_DECADE):.3g}") if code else 0.0


@dataclass(slots=True)
class _Ring:
    data: bytearray
    last: int
    """The last step that was written."""


class History:
    """``columns`` bytes per step of at most ``limit`` things."""

    def __init__(self, columns: int, limit: int) -> None:
        self._columns, self._limit = columns, limit
        self._rings: dict[str, _Ring] = {}
        self.left_out = 0
        """Things of the last rounds for which there was no place."""

    def __len__(self) -> int:
        return len(self._rings)

    def put(self, key: str, step: int, values: Iterable[int]) -> None:
        """What ``key`` did in ``step``; steps never go back."""
        ring = self._rings.get(key)
        if ring is None:
            if len(self._rings) >= self._limit:
                self.left_out += 1
                return
            blank = bytearray([UNKNOWN]) * (self._columns * STEPS)
            ring = self._rings[key] = _Ring(blank, step)
        for missed in range(max(ring.last + 1, step - STEPS), step):
            self._write(ring, missed, bytes([UNKNOWN]) * self._columns)
        self._write(ring, step, bytes(values))
        ring.last = step

    def _write(self, ring: _Ring, step: int, values: bytes) -> None:
        at = step % STEPS * self._columns
        ring.data[at : at + self._columns] = values

    def read(self, key: str, step: int) -> list[list[int]]:
        """Codes of each column in the ``STEPS`` steps up to ``step``, oldest first."""
        ring = self._rings.get(key)
        found: list[list[int]] = [[] for _ in range(self._columns)]
        for past in range(step - STEPS + 1, step + 1):
            kept = ring is not None and ring.last - STEPS < past <= ring.last
            at = past % STEPS * self._columns
            for column in range(self._columns):
                found[column].append(ring.data[at + column] if ring is not None and kept else UNKNOWN)
        return found

    def forget_old(self, step: int) -> None:
        """Drop what was not seen in the last hour."""
        for key in [key for key, ring in self._rings.items() if ring.last <= step - STEPS]:
            del self._rings[key]

    @property
    def size(self) -> int:
        """Bytes of the rings themselves."""
        return len(self._rings) * self._columns * STEPS
