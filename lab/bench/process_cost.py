# SPDX-License-Identifier: Apache-2.0
"""What a process costs, from /proc: parsing is pure, ``Cost.of`` reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process so far, with all its threads and without its children."""

    cpu_seconds: float
    """User and system time."""
    resident_mib: float
    peak_mib: float
    """The most that was ever resident."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Raises OSError when there is no such process any more."""
        status = Path(f"/proc/{pid}/status").read_text()
        return cls(
            cpu_seconds(Path(f"/proc/{pid}/stat").read_text()), mib(status, "VmRSS"), mib(status, "VmHWM")
        )  # fmt: skip


def cpu_seconds(stat: str, ticks: int = _TICKS) -> float:
    """User and system time by the text of /proc/PID/stat; the program's name in it may contain anything."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / ticks


def mib(status: str, field: str) -> float:
    """A size by the text of /proc/PID/status. Raises ValueError when it is not there."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / 1024
    raise ValueError(f"/proc/PID/status has no {field}")
