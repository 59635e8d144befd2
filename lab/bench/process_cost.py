# SPDX-License-Identifier: Apache-2.0
"""CPU time and memory of a process, from /proc. Parsing is pure; ``Cost.of`` and ``resident_bytes`` read files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process so far: all its threads, none of its children."""

    cpu_seconds: float
    """User and system time."""
    resident_mib: float
    peak_mib: float
    """Largest resident memory so far."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Read /proc. Raises OSError when the process has ended."""
        status = Path(f"/proc/{pid}/status").read_text()
        return cls(
            cpu_seconds(Path(f"/proc/{pid}/stat").read_text()), mib(status, "VmRSS"), mib(status, "VmHWM")
        )  # fmt: skip


def resident_bytes(pid: int) -> int:
    """Resident memory now, in bytes. Raises OSError when the process has ended."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def cpu_seconds(stat: str, ticks: int = _TICKS) -> float:
    """User and system seconds from the text of /proc/PID/stat. The program name may contain anything."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks


def mib(status: str, field: str) -> float:
    """A size from the text of /proc/PID/status. Raises ValueError when the field is missing."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise ValueError(f"/proc/PID/status has no {field}")
