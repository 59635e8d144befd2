# SPDX-License-Identifier: Apache-2.0
"""How labs with nodes in virtual machines end, by a signal and after a crash: nothing of theirs stays.

Each lab is a process of its own, as ``python -m lab`` starts it. No node has to become Ready.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from lab.nodes.real.vm.node import BEGUN
from tests.node.support.drivers import clean, drivers, remains
from tests.node.support.vm import KERNELS

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.timeout(600)]

ALONE = True
"""No shared lab runs beside its machines."""


@pytest.mark.usefixtures("no_lab")
def test_machines_end_with_their_lab_by_a_signal_and_after_a_crash(tmp_path: Path) -> None:
    with drivers(tmp_path, 2, "--vm", KERNELS[0]) as (interrupted, killed):
        first, second = (each.wait_guest(BEGUN) for each in (interrupted, killed))
        for name in (first, second):
            assert any("qemu-system" in each for each in remains(name))
            assert any(each.endswith(f"tf-{name}-node2") for each in remains(name)), "the cable's namespace"

        assert interrupted.end(signal.SIGINT) == 130
        assert remains(first) == []
        assert remains(second), "the other one goes on"
        killed.runs()

        killed.end(signal.SIGKILL)
        assert any(each.startswith("/var/lib/") for each in remains(second)), "its machine's disk"
        assert second in clean()
        assert remains(second) == []
