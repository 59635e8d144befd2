# SPDX-License-Identifier: Apache-2.0
"""How labs of real nodes end: in order, by a signal, by a crash, beside others; nothing of theirs stays.

Each lab here is a process of its own, as ``python -m lab`` starts it, beside the one that modules share.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

from lab.machine import cgroups, leftovers
from lab.network import netns
from lab.nodes.real.cluster import RealLab
from lab.programs import CHECKOUT
from tests.cluster.support.workloads import eventually
from tests.node.support.chart import NAME
from tests.node.support.workloads import pod, running

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

START: Final = ["-m", "lab", "up", "--real", "--nodes", "1"]
_UP_SECONDS: Final = 240
MACHINE: Final = f"--net=/proc/{os.getpid()}/fd/{os.open('/proc/self/ns/net', os.O_RDONLY)}"
"""The machine's own network namespace: a lab moves this thread into the control plane's."""


class Driver:
    """A process that runs a lab with one node. Started outside the lab beside it, as a person would."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("w") as out:
            self._process = subprocess.Popen(
                ["nsenter", MACHINE, sys.executable, *START],
                cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            )  # fmt: skip

    def wait_up(self) -> str:
        """The lab's id, once its node is Ready and CoreDNS runs on it."""

        def said() -> str | None:
            assert self._process.poll() is None, self._log.read_text()
            match = re.search(r"^lab (\w+): 1 nodes", self._log.read_text(), re.MULTILINE)
            return match[1] if match else None

        return eventually("the lab is up", said, _UP_SECONDS)

    def printed(self) -> str:
        return self._log.read_text()

    def end(self, number: int) -> int:
        self._process.send_signal(number)
        return self._process.wait(120)


@pytest.fixture
def drivers(tmp_path: Path) -> Iterator[list[Driver]]:
    """Two labs that come up at once; whatever happens they end."""
    started = [Driver(tmp_path / f"driver{i}.log") for i in range(2)]
    yield started
    for each in started:
        each.end(signal.SIGKILL)
    clean()


def clean() -> str:
    """What ``make clean`` runs."""
    argv = ["nsenter", MACHINE, sys.executable, "-m", "lab", "clean"]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


def remains(lab_id: str) -> list[str]:
    """Everything of a lab that is still there: cgroups, processes, namespaces, disks, folders."""
    prefix = f"tf-{lab_id}-"
    found = [*cgroups.names(prefix), *netns.list_names(prefix)]
    found += [
        str(path)
        for path in (leftovers.data(prefix), Path("/run/traffic-footprint-lab") / lab_id)
        if path.exists()
    ]
    names = (prefix, f"traffic-footprint-lab/{lab_id}/", f"traffic-footprint-lab/tf-{lab_id}/")
    for entry in Path("/proc").iterdir():
        with suppress(OSError):  # it ended while we looked, or is no process
            if "\nState:\tZ" in (entry / "status").read_text():
                continue  # it has ended; the machine's first process has not collected it yet
            said = (entry / "cmdline").read_text() + (entry / "cgroup").read_text()
            if any(name in said for name in names):
                found.append(said.replace("\0", " "))
    return found


def test_labs_live_side_by_side_and_each_ends_alone_by_a_signal_or_after_a_crash(
    lab: RealLab, drivers: list[Driver]
) -> None:
    first, second = (each.wait_up() for each in drivers)
    assert len({lab.id, first, second}) == 3
    assert f"install {NAME}" in drivers[0].printed(), "the command that installs the chart"
    for name in (first, second):
        assert cgroups.names(f"tf-{name}-") == [f"tf-{name}-node1"]
        assert remains(name)

    # SIGTERM: the driver removes its lab before it ends.
    assert drivers[0].end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert remains(first) == []
    assert remains(second), "the other one goes on"

    # SIGKILL: pods and their shims outlive the driver, and the next start finds them.
    drivers[1].end(signal.SIGKILL)
    assert remains(second)
    assert second in clean()
    assert remains(second) == []

    # The lab beside them was never touched.
    with running(lab, pod("still-here", ["sleep", "1000"], node="node1")):
        assert lab.lost() == []


def test_ctrl_c_while_it_comes_up_leaves_nothing(tmp_path: Path, lab: RealLab) -> None:
    before = set(cgroups.names("tf-"))
    driver = Driver(tmp_path / "driver.log")
    new = eventually("its node's cgroups are there", lambda: set(cgroups.names("tf-")) - before, _UP_SECONDS)
    assert driver.end(signal.SIGINT) == 130
    (cgroup,) = new
    assert remains(cgroup.split("-")[1]) == []
    assert lab.lost() == []
