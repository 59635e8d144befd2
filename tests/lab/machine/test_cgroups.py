# SPDX-License-Identifier: Apache-2.0
"""A node's cgroups: which hierarchies there are, and making and removing them in the kernel's own version 2."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from lab.machine import cgroups

V1 = """\
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
"""
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n"
OTHERS = "tmpfs /run tmpfs rw 0 0\ncgroup2 /run/elsewhere cgroup2 rw 0 0\n"


@pytest.mark.parametrize(
    ("mounts", "places"),
    [
        (OTHERS + V1, ["/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/memory"]),
        (OTHERS + V2, ["/sys/fs/cgroup"]),
        (OTHERS, []),
    ],
)
def test_hierarchies_are_those_below_the_usual_root(mounts: str, places: list[str], tmp_path: Path) -> None:
    (tmp_path / "mounts").write_text(mounts)
    assert cgroups.hierarchies(tmp_path / "mounts") == [Path(place) for place in places]


def test_version_2_names_its_controllers_in_a_file_and_version_1_in_its_folders(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    assert cgroups.missing_controllers([tmp_path]) == []
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    assert cgroups.missing_controllers([tmp_path]) == ["cpuset"]
    v1 = [Path("/sys/fs/cgroup") / name for name in ("cpu,cpuacct", "memory", "pids")]
    assert cgroups.missing_controllers(v1) == ["cpuset"]


def test_a_node_of_version_2_gives_its_controllers_on_to_its_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of our own stand for the kernel's: which controllers there are is not the same on all machines."""
    for group in (tmp_path, tmp_path / "tf-1a2b-node1"):
        group.mkdir(exist_ok=True)
        (group / "cgroup.controllers").write_text("cpu memory")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path])
    (procs,) = cgroups.create("tf-1a2b-node1")
    assert procs == tmp_path / "tf-1a2b-node1" / cgroups.PROGRAMS / "cgroup.procs"
    for group in (tmp_path, tmp_path / "tf-1a2b-node1"):
        assert (group / "cgroup.subtree_control").read_text() == "+memory", "the last of one write each"
    assert not (procs.parent / "cgroup.subtree_control").exists(), "processes are in it"


@pytest.mark.netns
def test_a_node_of_version_2_is_made_entered_and_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    places = [place for place in cgroups.hierarchies() if (place / "cgroup.controllers").exists()]
    if not places:
        pytest.skip("this machine has no cgroup v2 mounted below /sys/fs/cgroup")
    monkeypatch.setattr(cgroups, "hierarchies", lambda: places)
    name = f"tf-test{os.getpid()}-node1"
    procs = cgroups.create(name)
    started = []
    try:
        pods = procs[0].parents[1] / "kubepods"
        pods.mkdir()
        for group in (procs[0], pods / "cgroup.procs"):
            started.append(subprocess.Popen(["sleep", "1000"]))
            group.write_text(str(started[-1].pid))
            assert f"/{name}/" in Path(f"/proc/{started[-1].pid}/cgroup").read_text()
        assert cgroups.names(name) == [name]
    finally:
        cgroups.destroy(name)
        statuses = [process.wait(30) for process in started]
    assert statuses == [-signal.SIGKILL] * 2
    assert cgroups.names(name) == []
