# SPDX-License-Identifier: Apache-2.0
"""``unload``: removes what agents left on this machine for their successors.

That is programs in the kernel, compiled programs in files, and what an agent that crashed has tuned. Enters: the
folders of both. Leaves: one line for each on stdout, failures on stderr, the exit status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from footprint.service import fail
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.kernel import pins
from nodeagent.tuning.untune import take_back

Outcome = tuple[list[Path], list[Path]]
"""What is gone, and what could not be removed."""


def unload(root: Path = pins.ROOT, kept: Path = cache.DIRECTORY) -> int:
    """Remove what agents left below ``root`` and in ``kept``; 0 when nothing is left, else 1.

    An agent that runs goes on, and leaves nothing when it ends.
    """
    found = (
        ("unloaded", _removed(pins.discard_all, root, "/sys/fs/bpf"), "/sys/fs/bpf"),
        ("removed", _removed(cache.discard_all, kept, str(kept)), str(kept)),
    )
    failed = False
    tuned = take_back(kept, others_run=True)
    for line in tuned.lines:
        print(line)
    for problem in tuned.problems:
        failed = True
        print(f"error: {problem}", file=sys.stderr)
    for done, (gone, left), where in found:
        for path in gone:
            print(f"{done} {path}")
        for path in left:
            failed = True
            print(f"error: {path} cannot be removed; {_remedy(where)}", file=sys.stderr)
    if not failed and not tuned.lines and not any(gone for _, (gone, _), _ in found):
        print("nothing was left behind")
    return 1 if failed else 0


def _removed(discard: Callable[[Path], Outcome], folder: Path, where: str) -> Outcome:
    try:
        return discard(folder)
    except OSError as error:
        fail(f"{folder} cannot be read: {error.strerror}", _remedy(where))


def _remedy(where: str) -> str:
    return f"run as root, with the machine's {where}"
