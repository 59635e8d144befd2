# SPDX-License-Identifier: Apache-2.0
"""What a per-flow source reads of one connection."""

from __future__ import annotations

from typing import Final, NamedTuple

NO_COUNTERS: Final = -1

Sample = tuple[bytes, int, int, int, int, int]
"""(key, id, packets, bytes of direction ORIGINAL, packets, bytes of REPLY); counters NO_COUNTERS when absent.

The key stands for the connection's tuples and zone; the id tells apart two connections that used the same
tuples one after the other. Both are the source's own; only its parser reads them.
"""


class Ending(NamedTuple):
    """A connection that was removed, with its final counters."""

    sample: Sample
    lifetime: float | None
    """Seconds by the kernel's own stamps; None when it keeps none."""
