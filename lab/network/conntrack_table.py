# SPDX-License-Identifier: Apache-2.0
"""The kernel's conntrack hash table while labs run: small, then as it was.

All network namespaces of a machine share one table, and every dump walks all its buckets. A machine's default of
262,144 buckets costs 13 ms of CPU per dump even when empty; a lab has one dump per node and second, where a real
node has one in all. 16,384 buckets cost 0.9 ms and are plenty for a lab's flows.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from lab import state

BUCKETS: Final = 16_384
PARAMETER: Final = Path("/sys/module/nf_conntrack/parameters/hashsize")
_SAVED: Final = "conntrack-buckets"


def shrink(root: Path = state.ROOT, parameter: Path = PARAMETER) -> None:
    """Make the table small if it is not, keeping the machine's own size for ``restore``.

    Where the kernel does not let us, the lab works the same at a higher cost.
    """
    with suppress(OSError, ValueError):
        current = int(parameter.read_text())
        if current > BUCKETS:
            (root / _SAVED).write_text(str(current))
            parameter.write_text(str(BUCKETS))


def restore(root: Path = state.ROOT, parameter: Path = PARAMETER) -> None:
    """Give the table its own size back once no lab runs any more. To be called in the machine's own namespace."""
    if any(entry.live for entry in state.entries(root)):
        return
    saved = root / _SAVED
    with suppress(OSError, ValueError):
        parameter.write_text(str(int(saved.read_text())))
        saved.unlink()
