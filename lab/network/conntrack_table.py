# SPDX-License-Identifier: Apache-2.0
"""The size of the kernel's conntrack hash table: small while labs run, then as it was.

All network namespaces of a machine share one table, and every dump walks all its buckets. Every node of a lab
dumps it once a second. With a machine's usual 262,144 buckets an empty dump costs 13 ms of CPU. With 16,384 it
costs 0.9 ms, and that is enough for a lab's flows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

BUCKETS: Final = 16_384
PARAMETER: Final = Path("/sys/module/nf_conntrack/parameters/hashsize")
_SAVED: Final = "conntrack-buckets"


def shrink(folder: Path, parameter: Path = PARAMETER) -> None:
    """Make the table small if it is not, keeping the machine's own size in ``folder`` for ``restore``.

    Where the kernel does not let us, the lab works the same at a higher cost.
    """
    with suppress(OSError, ValueError):
        current = int(parameter.read_text())
        if current > BUCKETS:
            (folder / _SAVED).write_text(str(current))
            parameter.write_text(str(BUCKETS))


def restore(folder: Path, in_use: Callable[[], bool], parameter: Path = PARAMETER) -> None:
    """Give the table its own size back unless a lab still runs (``in_use``). For the machine's own namespace."""
    if in_use():
        return
    saved = folder / _SAVED
    with suppress(OSError, ValueError):
        parameter.write_text(str(int(saved.read_text())))
        saved.unlink()
