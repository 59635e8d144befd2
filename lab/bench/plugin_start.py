# SPDX-License-Identifier: Apache-2.0
"""How long ``kubectl footprint`` takes until it answers: help, and what the Tab key waits for.

    python -m lab.bench.plugin_start

Leaves: for each command the median wall time and CPU time of ``RUNS`` starts, after one that is not counted. No
cluster is asked.
"""

from __future__ import annotations

import os
import subprocess
import time
from statistics import median
from typing import Final, NamedTuple

from lab import programs

RUNS: Final = 11
COMPLETE: Final = "kubectl_complete-footprint"
PLUGIN: Final = "kubectl-footprint"
COMMANDS: Final = (
    (PLUGIN, "--help"), (PLUGIN, "nodes", "--help"), (PLUGIN, "workloads", "state", "--help"),
    (PLUGIN, "explain", "--help"), (PLUGIN, "top", "--help"), (COMPLETE, "n"), (COMPLETE, "nodes", "--"),
    (COMPLETE, "pods", "--class", ""), (COMPLETE, "explain", "--"),
)  # fmt: skip


class Start(NamedTuple):
    """Seconds of one start."""

    wall: float
    cpu: float


def start(argv: list[str]) -> Start:
    """Run ``argv`` to its end."""
    before, began = os.times(), time.monotonic()
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.monotonic() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Start(wall, used)


def main() -> int:
    """Entry point."""
    print(f"{'command':<44} {'wall':>7} {'CPU':>7}   (median of {RUNS}, seconds)")
    for program, *arguments in COMMANDS:
        argv = [programs.console_script(program), *arguments]
        start(argv)
        starts = [start(argv) for _ in range(RUNS)]
        wall, cpu = median(one.wall for one in starts), median(one.cpu for one in starts)
        print(f"{' '.join([program, *arguments]):<44} {wall:>7.3f} {cpu:>7.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
