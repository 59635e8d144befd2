# SPDX-License-Identifier: Apache-2.0
"""Pods' cgroups in trees as kubelets make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.sources.cgroup import groups
from nodeagent.sources.cgroup.groups import PodGroups, pod_named, pods_below

UID, OTHER = "6f1f3a52-2b6e-4c0e-9d55-3b1f0a6f7c11", "0a3fd1c2-1111-4222-8333-444455556666"
STATIC = "b0f4f2a9d0e15d5a3a3d1e6f7a8b9c0d"
UNDERSCORED = UID.replace("-", "_")


@pytest.mark.parametrize(
    ("directory", "uid"),
    [
        (f"pod{UID}", UID),
        (f"kubepods-pod{UNDERSCORED}.slice", UID),
        (f"kubepods-besteffort-pod{UNDERSCORED}.slice", UID),
        (f"kubelet-kubepods-burstable-pod{STATIC}.slice", STATIC),
        ("kubepods.slice", ""),
        ("kubepods-besteffort.slice", ""),
        (f"cri-containerd-{STATIC}.scope", ""),
        ("pod", ""),
        ("podcast-server.service", ""),
        (f"pod{UID}/..", ""),
    ],
)
def test_a_pods_cgroup_is_told_by_its_name(directory: str, uid: str) -> None:
    assert pod_named(directory) == uid


@pytest.mark.parametrize(
    "path",
    [
        f"kubepods/burstable/pod{UID}",
        f"kubepods.slice/kubepods-pod{UNDERSCORED}.slice",
        f"kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UNDERSCORED}.slice",
        f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{UNDERSCORED}.slice",
        f"nodes/kubepods/besteffort/pod{UID}",
    ],
)
def test_a_pod_is_found_wherever_kubelets_put_it(tmp_path: Path, path: str) -> None:
    (tmp_path / path / "container").mkdir(parents=True)
    (tmp_path / "system.slice" / "ssh.service").mkdir(parents=True)
    assert dict(pods_below(tmp_path)) == {UID: (tmp_path / path).stat().st_ino}


def test_a_search_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "MOST_LOOKED_AT", 3)
    for number in range(5):
        (tmp_path / f"kube{number}" / f"pod{UID}").mkdir(parents=True)
    assert len(list(pods_below(tmp_path))) == 2  # the root, and two below it


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kubepods").symlink_to(tmp_path)
    assert list(pods_below(tmp_path)) == []


def test_a_pod_is_looked_for_until_it_is_there_and_forgotten_when_it_goes(tmp_path: Path) -> None:
    found = PodGroups(tmp_path)
    found.change({UID: UID, OTHER: STATIC}, now=100.0)
    (tmp_path / "kubepods" / f"pod{STATIC}").mkdir(parents=True)
    assert found.look(100.0)
    assert list(found.by_group().values()) == [OTHER]
    (tmp_path / "kubepods" / f"pod{UID}").mkdir()
    assert not found.look(100.0 + groups.AGAIN / 2)
    assert found.look(100.0 + groups.AGAIN)
    assert sorted(found.by_group().values()) == sorted((UID, OTHER))
    found.change({UID: UID}, now=200.0)
    assert list(found.by_group().values()) == [UID]
    assert not found.look(300.0)


def test_no_tree_is_no_pod(tmp_path: Path) -> None:
    found = PodGroups(tmp_path / "gone")
    found.change({UID: UID}, now=0.0)
    assert not found.look(0.0)
    assert found.by_group() == {}
