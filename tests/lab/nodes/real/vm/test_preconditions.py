# SPDX-License-Identifier: Apache-2.0
"""What is said when nodes in virtual machines cannot be: one line, before anything is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lab.config import LabConfig
from lab.errors import LabError
from lab.nodes.real import preconditions as real
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.network import VXLAN
from lab.nodes.real.vm import preconditions


def test_two_are_most() -> None:
    preconditions.check_kernels(["6.1", "6.12"])
    with pytest.raises(LabError, match="give --vm 2 times at most"):
        preconditions.check_kernels(["6.1", "6.1", "6.12"])


def test_a_kernel_there_is_not_is_named_with_those_there_are() -> None:
    with pytest.raises(LabError, match=r"no kernel '5\.4' here; choose one of 6\.1, 6\.12"):
        preconditions.check_kernels(["5.4"])


def test_missing_programs_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"qemu-system-x86_64, mmdebstrap.*`lab/setup/packages.sh kernelvm`"):
        preconditions.check()


def test_a_machine_that_gives_no_tap_device_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for tool in preconditions.TOOLS:
        (tmp_path / tool).write_text("")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"cannot be opened.*--device /dev/net/tun"):
        preconditions.check(tmp_path / "tun")


def test_their_memory_and_disk_are_asked_for_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(real, "cgroup_problem", lambda: "")
    monkeypatch.setattr(real, "kernel_problem", lambda: "")
    monkeypatch.setattr(real, "free_disk", lambda _: 2**50)
    enough = real.MEMORY_PLANE + real.MEMORY_NODE + preconditions.MEMORY
    monkeypatch.setattr(real, "available_memory", lambda: enough)
    real.check(1, preconditions.MEMORY, preconditions.DISK)
    with pytest.raises(LabError, match="memory"):
        real.check(1, preconditions.MEMORY + 1, preconditions.DISK)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(LabError, match="--network host-gw"):
        RealLab(vms=["6.12"], network=VXLAN)
    with pytest.raises(LabError, match=r"IPVS needs a kernel.*add --vm"):
        RealLab(proxy_mode="ipvs")


def test_they_come_after_the_nodes_in_namespaces() -> None:
    lab = RealLab(LabConfig(nodes=1), vms=["6.12", "6.1"])
    assert lab.node_names == ["node1", "node2", "node3"]
