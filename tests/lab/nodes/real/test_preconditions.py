# SPDX-License-Identifier: Apache-2.0
"""What is said when real nodes cannot run here: one line with the fact, the consequence and the remedy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lab import preconditions as machine
from lab.controlplane import build
from lab.errors import LabError
from lab.machine import cgroups
from lab.machine.room import available_memory
from lab.nodes.real import preconditions
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.preconditions import DISK_NODE, MEMORY_NODE, MEMORY_PLANE

PLENTY = 2**50


def test_memory_and_disk_are_asked_for_by_the_node() -> None:
    memory, disk = MEMORY_PLANE + 3 * MEMORY_NODE, 3 * DISK_NODE
    assert preconditions.room_problem(3, memory, disk) == ""
    assert preconditions.room_problem(3, memory - 1, disk).startswith("3 real nodes take about 2.3 GiB of memory")
    assert "make room" in preconditions.room_problem(3, memory, disk - 1)


def test_available_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:       100 kB\nMemAvailable:    40 kB\n")
    assert available_memory(tmp_path / "meminfo") == 40 * 1024


def test_only_root_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="only root may; run as root"):
        preconditions.check(1)


def test_missing_programs_are_named_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LabError, match=r"docker-registry.*skopeo.*run `lab/setup/packages.sh nodes` as root"):
        preconditions.check(1)


@pytest.mark.parametrize(
    ("found", "controllers", "said"),
    [
        ([], None, "no cgroup file system is mounted"),
        (["unified"], "cpu pids", "cgroup controllers cpuset, memory are not delegated here"),
    ],
)
def test_cgroups_that_are_not_delegated_are_named(
    found: list[str], controllers: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in found:
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.controllers").write_text(controllers or "")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path / name for name in found])
    problem = preconditions.cgroup_problem()
    assert problem.startswith(said)
    assert "--privileged" in problem


def test_cgroups_that_may_not_be_made_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").write_text(" ".join(cgroups.WANTED))
    blocked = tmp_path / f"tf-probe-{os.getpid()}"
    blocked.mkdir()  # in the way, so that mkdir is refused for root too
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path])
    assert preconditions.cgroup_problem().startswith(f"cgroups cannot be made ({tmp_path}: File exists)")


def test_version_2_that_gives_nothing_to_pods_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A plain folder below gets no controllers, as in a container whose processes are in its own root.
    (tmp_path / "cgroup.controllers").write_text("cpu cpuset io memory pids")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path])
    monkeypatch.setattr(
        cgroups,
        "_offered",
        lambda group: {"cpu", "cpuset", "io", "memory", "pids"} if group == tmp_path else {"cpu"},
    )
    problem = preconditions.cgroup_problem()
    assert problem.startswith("cgroup controllers cpuset, memory, pids cannot be given to pods' cgroups")
    assert "--cgroupns=host" in problem
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [], "the probe is gone"
    monkeypatch.setattr(cgroups, "_offered", lambda _: set(cgroups.WANTED))
    assert preconditions.cgroup_problem() == ""


def test_version_1_alone_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cpu,cpuacct", "cpuset", "memory", "pids"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(cgroups, "hierarchies", lambda: sorted(tmp_path.iterdir()))
    assert preconditions.cgroup_problem() == ""
    (tmp_path / "memory").rmdir()
    assert "memory are not delegated here" in preconditions.cgroup_problem()


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("overlay", "load it: `modprobe overlay`"),
        ("br_netfilter", "load the module: `modprobe br_netfilter`"),
    ],
)
def test_a_kernel_without_a_part_that_cannot_be_loaded_is_named(
    lacks: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "filesystems").write_text("nodev\ttmpfs\n\text4\n")
    monkeypatch.setattr(preconditions, "_FILE_SYSTEMS", tmp_path / "filesystems")
    monkeypatch.setattr(preconditions, "_BRIDGE", tmp_path / "bridge")
    monkeypatch.setattr(preconditions, "_modprobe", lambda module: module == lacks)
    assert said in preconditions.kernel_problem()
    monkeypatch.setattr(preconditions, "_modprobe", lambda _: False)
    assert preconditions.kernel_problem() == ""


def test_nothing_is_made_where_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole lab's own start, whose programs would be built and namespaces made next."""
    monkeypatch.setattr(machine, "check", lambda: None)
    monkeypatch.setattr(machine, "conntrack", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(cgroups, "hierarchies", list)
    monkeypatch.setattr(build, "ensure", lambda _: pytest.fail("something was built"))
    with pytest.raises(LabError, match="no cgroup file system"):
        RealLab().__enter__()


def test_hierarchies_of_both_versions_are_found(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "proc /proc proc rw 0 0\n"
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
        "cgroup2 /elsewhere cgroup2 rw 0 0\n"
    )
    assert [place.name for place in cgroups.hierarchies(mounts)] == ["cpu,cpuacct", "unified"]
    assert cgroups.missing_controllers([Path("/sys/fs/cgroup/cpu,cpuacct")]) == ["cpuset", "memory", "pids"]
