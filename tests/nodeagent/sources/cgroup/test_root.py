# SPDX-License-Identifier: Apache-2.0
"""Which folder is the root whose sockets are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.sources.cgroup import root
from nodeagent.sources.ebpf.problems import Cause, EbpfUnavailable


def tree(path: Path, *, inner: bool = False) -> Path:
    path.mkdir(parents=True)
    (path / "cgroup.controllers").touch()
    if inner:
        (path / "cgroup.events").touch()
    return path


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "MOUNTED", tmp_path / "mounted")
    monkeypatch.setattr(root, "USUAL", (tmp_path / "one", tmp_path / "one/unified"))


def test_the_folder_that_is_named_wins(tmp_path: Path) -> None:
    tree(tmp_path / "one")
    named = tree(tmp_path / "named", inner=True)
    assert root.find(named) == named


def test_what_the_chart_mounts_comes_before_the_containers_own(tmp_path: Path) -> None:
    tree(tmp_path / "one", inner=True)
    assert tree(tmp_path / "mounted") == root.find(None)


def test_a_hybrid_machines_tree_is_found_beside_the_first_versions(tmp_path: Path) -> None:
    assert tree(tmp_path / "one/unified") == root.find(None)


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda path: path.mkdir(), "no cgroup2 file system is mounted"),
        (lambda path: tree(path, inner=True), "begins at this container's own cgroup"),
    ],
    ids=["none", "a container's own"],
)
def test_without_the_machines_root_it_says_so(tmp_path: Path, make: object, fact: str) -> None:
    make(tmp_path / "one")  # type: ignore[operator]
    with pytest.raises(EbpfUnavailable, match=f"{fact}.*--cgroup-root") as refusal:
        root.find(None)
    assert refusal.value.problem.kind is Cause.NO_CGROUP
