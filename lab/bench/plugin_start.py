# SPDX-License-Identifier: Apache-2.0
"""How long ``kubectl footprint`` takes until it answers: help, and what the Tab key waits for.

    python -m lab.bench.plugin_start

Leaves: for each command the quickest and the median wall time and the median CPU time of ``RUNS`` starts, after
one that is not counted. Commands take turns, so that what slows the machine slows all alike. Beside them: Python
itself, and Python with the Kubernetes client, which a plugin would load that is written in the usual way. No
cluster is asked.
"""

from __future__ import annotations

import os
import subprocess
import sys
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
BESIDE: Final = {"python -c pass": "pass", "python -c 'import kubernetes.client'": "import kubernetes.client"}


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


def commands() -> dict[str, list[str]]:
    """By what they are called."""
    ours = {" ".join(words): [programs.console_script(words[0]), *words[1:]] for words in COMMANDS}
    return ours | {name: [sys.executable, "-c", code] for name, code in BESIDE.items()}


def main() -> int:
    """Entry point."""
    starts: dict[str, list[Start]] = {name: [] for name in commands()}
    for number in range(RUNS + 1):
        for name, argv in commands().items():
            one = start(argv)
            if number:
                starts[name].append(one)
    print(f"{'command':<44} {'least':>7} {'wall':>7} {'CPU':>7}   (seconds; medians of {RUNS})")
    for name, found in starts.items():
        walls, cpu = [one.wall for one in found], median(one.cpu for one in found)
        print(f"{name:<44} {min(walls):>7.3f} {median(walls):>7.3f} {cpu:>7.3f}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
