# SPDX-License-Identifier: Apache-2.0
"""How labs of real nodes end: in order, by a signal, by a crash, beside others; nothing of theirs stays.

Each lab here is a process of its own, as ``python -m lab`` starts it, beside the one that modules share.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.machine import cgroups
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import eventually
from tests.node.support import drivers
from tests.node.support.chart import NAME
from tests.node.support.drivers import UP_SECONDS, Driver, clean, remains
from tests.node.support.workloads import pod, running

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Driver]]:
    """Two labs that come up at once."""
    with drivers.drivers(tmp_path, 2) as started:
        yield started


def test_labs_live_side_by_side_and_each_ends_alone_by_a_signal_or_after_a_crash(
    lab: RealLab, two: list[Driver]
) -> None:
    first, second = (each.wait_up() for each in two)
    assert len({lab.id, first, second}) == 3
    assert f"install {NAME}" in two[0].printed(), "the command that installs the chart"
    for name in (first, second):
        assert cgroups.names(f"tf-{name}-") == [f"tf-{name}-node1"]
        assert remains(name)

    # SIGTERM: the driver removes its lab before it ends.
    assert two[0].end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert remains(first) == []
    assert remains(second), "the other one goes on"

    # SIGKILL: pods and their shims outlive the driver, and the next start finds them.
    two[1].end(signal.SIGKILL)
    assert remains(second)
    assert second in clean()
    assert remains(second) == []

    # The lab beside them was never touched.
    with running(lab, pod("still-here", ["sleep", "1000"], node="node1")):
        assert lab.lost() == []


def test_ctrl_c_while_it_comes_up_leaves_nothing(tmp_path: Path, lab: RealLab) -> None:
    before = set(cgroups.names("tf-"))
    driver = Driver(tmp_path / "driver.log")
    new = eventually("its node's cgroups are there", lambda: set(cgroups.names("tf-")) - before, UP_SECONDS)
    assert driver.end(signal.SIGINT) == 130
    (cgroup,) = new
    assert remains(cgroup.split("-")[1]) == []
    assert lab.lost() == []
