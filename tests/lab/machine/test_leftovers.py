# SPDX-License-Identifier: Apache-2.0
"""What dead labs' nodes left: found by name, removed with the processes, never a live lab's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab.machine import cgroups, leftovers


@pytest.fixture
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nodes keep their disks; no cgroups, and no mount points of this machine."""
    monkeypatch.setattr(leftovers, "DATA", tmp_path / "disks")
    monkeypatch.setattr(leftovers, "MOUNT_POINTS", (str(tmp_path / "empty"), str(tmp_path / "full")))
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [])
    for folder in ("empty", "full/somebodys"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "disks"


def test_disks_and_empty_mount_points_go_and_what_is_somebodys_stays(disks: Path) -> None:
    (disks / "tf-1a2b" / "node1").mkdir(parents=True)
    leftovers.remove("tf-1a2b-")
    assert sorted(path.name for path in disks.parent.iterdir()) == ["full"]


def test_while_another_lab_has_nodes_their_mount_points_stay(disks: Path) -> None:
    for lab in ("tf-1a2b", "tf-3c4d"):
        (disks / lab).mkdir(parents=True)
    leftovers.remove("tf-1a2b-")
    assert [path.name for path in disks.iterdir()] == ["tf-3c4d"]
    assert (disks.parent / "empty").is_dir()


def test_labs_that_a_restart_of_the_machine_forgot_are_found(disks: Path) -> None:
    for lab in ("tf-1a2b", "tf-3c4d"):
        (disks / lab).mkdir(parents=True)
    assert leftovers.orphans({"3c4d"}) == ["tf-1a2b-"]


@pytest.mark.netns
def test_a_cgroup_goes_with_every_process_in_it_also_those_below() -> None:
    name = f"tf-test-{os.getpid()}"
    try:
        procs = cgroups.create(name)
        for place in cgroups.hierarchies():
            (place / name / "below").mkdir()
            cgroups._fill_cpuset(place / name / "below")
        sleepers = []
        for group in ("programs", "below"):
            process = subprocess.Popen(["sleep", "infinity"])
            sleepers.append(process)
            for file in procs:
                (file.parents[1] / group / "cgroup.procs").write_text(str(process.pid))
        assert cgroups.names(name) == [name]
        cgroups.destroy(name)
        assert [process.wait(20) for process in sleepers] == [-9, -9]
        assert cgroups.names(name) == []
    finally:
        cgroups.destroy(name)
