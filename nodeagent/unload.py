# SPDX-License-Identifier: Apache-2.0
"""``unload``: removes the programs that agents left in this machine's kernel for their successors.

Enters: the folder of pins. Leaves: one line per program on stdout, failures on stderr, the exit status.
"""

from __future__ import annotations

import sys
from pathlib import Path

from footprint.service import fail
from nodeagent.sources.ebpf.kernel import pins


def unload(root: Path = pins.ROOT) -> int:
    """Remove what agents left below ``root``; 0 when nothing is left, else 1.

    An agent that runs goes on, and leaves nothing when it ends.
    """
    try:
        gone, left = pins.discard_all(root)
    except OSError as error:
        fail(f"{root} cannot be read: {error.strerror}", "run as root, with the machine's /sys/fs/bpf")
    for path in gone:
        print(f"unloaded {path}")
    for path in left:
        print(f"error: {path} cannot be removed; run as root, with the machine's /sys/fs/bpf", file=sys.stderr)
    if not gone and not left:
        print("nothing was left behind")
    return 1 if left else 0
