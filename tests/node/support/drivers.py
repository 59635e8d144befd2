# SPDX-License-Identifier: Apache-2.0
"""Labs of real nodes in processes of their own, as ``python -m lab`` starts them, and what is left of them.

Enters: signals. Leaves: how a driver ended, and everything of its lab that is still on the machine.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from lab import state
from lab.machine import cgroups, leftovers
from lab.network import netns
from lab.programs import CHECKOUT
from tests.cluster.support.workloads import eventually

START: Final = ["-m", "lab", "up", "--real", "--nodes", "1"]
UP_SECONDS: Final = 240
MACHINE: Final = f"--net=/proc/{os.getpid()}/fd/{os.open('/proc/self/ns/net', os.O_RDONLY)}"
"""The machine's own network namespace: a lab moves this thread into the control plane's."""


class Driver:
    """A process that runs a lab with one node in a namespace, started outside any lab, as a person would."""

    def __init__(self, log: Path, *more: str) -> None:
        """``more`` are further arguments, such as ``--vm 6.12``."""
        self._log = log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                ["nsenter", MACHINE, sys.executable, *START, *more],
                cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip

    def wait_up(self) -> str:
        """The lab's id, once its node is Ready and CoreDNS runs on it."""

        def said() -> str | None:
            self.runs()
            match = re.search(r"^lab (\w+): 1 nodes", self._log.read_text(), re.MULTILINE)
            return match[1] if match else None

        return eventually("the lab is up", said, UP_SECONDS)

    def wait_guest(self, said: str) -> str:
        """The lab's id, once process 1 of a guest of its has ``said`` so."""

        def console() -> str | None:
            self.runs()
            for program in _programs(self._process.pid):
                found = re.search(r"file:(\S+/(\w+)/logs/console-\S+)", program)
                if found and Path(found[1]).exists() and said in Path(found[1]).read_text(errors="replace"):
                    return found[2]
            return None

        return eventually("a guest has begun", console, UP_SECONDS)

    def runs(self) -> None:
        """Fail the test when the driver has ended."""
        assert self._process.poll() is None, self._log.read_text()

    def printed(self) -> str:
        return self._log.read_text()

    def end(self, number: int) -> int:
        self._process.send_signal(number)
        return self._process.wait(120)


@contextmanager
def drivers(folder: Path, count: int, *more: str) -> Iterator[list[Driver]]:
    """Labs that come up at once; whatever happens they end."""
    started = [Driver(folder / f"driver{i}.log", *more) for i in range(count)]
    try:
        yield started
    finally:
        for each in started:
            each.end(signal.SIGKILL)
        clean()


def clean() -> str:
    """What ``make clean`` runs."""
    argv = ["nsenter", MACHINE, sys.executable, "-m", "lab", "clean"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def remains(lab_id: str) -> list[str]:
    """Everything of a lab that is still there: cgroups, processes, namespaces, mounts, disks, folders."""
    prefix = state.namespace_prefix(lab_id)
    names = (prefix, f"{state.ROOT.name}/{lab_id}/", f"{state.ROOT.name}/{prefix.strip('-')}/")
    found = [*cgroups.names(prefix), *netns.list_names(prefix)]
    found += [str(path) for path in (leftovers.data(prefix), state.ROOT / lab_id) if path.exists()]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return found + [line for line in (*mounts, *_programs()) if any(name in line for name in names)]


def _programs(ancestor: int | None = None) -> list[str]:
    """Command line and cgroups of each process, or of the descendants of ``ancestor``."""
    said, parents = {}, {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # it ended while we looked, or is no process
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if fields[0] == "Z":
                continue  # it has ended; the machine's first process has not collected it yet
            pid, parents[pid] = int(entry.name), int(fields[1])
            said[pid] = ((entry / "cmdline").read_text() + (entry / "cgroup").read_text()).replace("\0", " ")

    def descends(pid: int) -> bool:
        while (pid := parents.get(pid, 0)) not in (0, ancestor):
            pass
        return pid != 0

    return [text for pid, text in said.items() if ancestor is None or descends(pid)]
