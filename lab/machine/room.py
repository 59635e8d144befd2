# SPDX-License-Identifier: Apache-2.0
"""How much memory and disk this machine has left."""

from __future__ import annotations

import shutil
from pathlib import Path


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes that programs could still take."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def free_disk(folder: Path) -> int:
    """Bytes free where ``folder`` is or will be."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(place).free
