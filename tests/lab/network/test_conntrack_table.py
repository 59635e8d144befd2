# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from lab import state
from lab.network import conntrack_table


@pytest.fixture
def parameter(tmp_path: Path) -> Path:
    path = tmp_path / "hashsize"
    path.write_text("262144\n")
    return path


def size(parameter: Path) -> int:
    return int(parameter.read_text())


def test_the_last_lab_to_end_gives_the_machine_its_table_back(tmp_path: Path, parameter: Path) -> None:
    root = tmp_path / "labs"
    first, second = state.create(root), state.create(root)
    conntrack_table.shrink(root, parameter)
    conntrack_table.shrink(root, parameter)
    assert size(parameter) == conntrack_table.BUCKETS
    first.release()
    conntrack_table.restore(root, partial(state.any_live, root), parameter)
    assert size(parameter) == conntrack_table.BUCKETS, "another lab still runs"
    second.release()
    conntrack_table.restore(root, partial(state.any_live, root), parameter)
    assert size(parameter) == 262144


def test_a_table_that_is_small_already_is_left_alone(tmp_path: Path, parameter: Path) -> None:
    root = tmp_path / "labs"
    lab = state.create(root)
    parameter.write_text("1024")
    conntrack_table.shrink(root, parameter)
    lab.release()
    conntrack_table.restore(root, partial(state.any_live, root), parameter)
    assert size(parameter) == 1024


def test_a_kernel_that_does_not_tell_or_let_us_stops_no_lab(tmp_path: Path) -> None:
    root = tmp_path / "labs"
    state.create(root).release()
    conntrack_table.shrink(root, tmp_path / "absent")
    conntrack_table.restore(root, partial(state.any_live, root), tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
