# SPDX-License-Identifier: Apache-2.0
"""The registry of labs, in a directory of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab import state
from lab.errors import LabError

CHECKOUT = Path(__file__).parents[2]


def crash(root: Path) -> str:
    """A lab whose driver is gone: another process makes it and ends without releasing it."""
    program = f"from pathlib import Path; from lab import state; print(state.create(Path({str(root)!r})).id)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_new_lab_has_a_short_hexadecimal_id_and_a_directory_of_its_own(tmp_path: Path) -> None:
    one, two = state.create(tmp_path), state.create(tmp_path)
    assert one.id != two.id
    assert 4 <= len(one.id) <= 6
    assert int(one.id, 16) >= 0
    assert one.dir == tmp_path / one.id
    assert one.dir.stat().st_mode & 0o777 == 0o700
    one.release()
    two.release()


def test_released_labs_leave_nothing(tmp_path: Path) -> None:
    lab = state.create(tmp_path)
    (lab.dir / "logs").mkdir()
    lab.release()
    assert not lab.dir.exists()
    assert state.entries(tmp_path) == []


def test_a_lab_is_live_while_its_driver_holds_the_lock(tmp_path: Path) -> None:
    lab = state.create(tmp_path)
    dead = crash(tmp_path)
    assert {(e.id, e.live) for e in state.entries(tmp_path)} == {(lab.id, True), (dead, False)}
    lab.release()


def test_leftovers_of_a_crashed_lab_are_removed(tmp_path: Path) -> None:
    dead = crash(tmp_path)
    removed: list[str] = []
    assert state.clean_leftovers(tmp_path, removed.append) == [dead]
    assert removed == [f"tf-{dead}-"]
    assert not (tmp_path / dead).exists()


def test_a_live_lab_is_never_touched(tmp_path: Path) -> None:
    lab = state.create(tmp_path)
    removed: list[str] = []
    assert state.clean_leftovers(tmp_path, removed.append) == []
    assert removed == []
    assert lab.dir.is_dir()
    lab.release()


def test_a_live_lab_of_another_process_is_never_touched(tmp_path: Path) -> None:
    program = (
        f"from pathlib import Path; from lab import state; lab = state.create(Path({str(tmp_path)!r}));"
        "print(lab.id, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as driver:
        assert driver.stdout is not None
        other = driver.stdout.readline().strip()
        assert state.clean_leftovers(tmp_path, lambda _prefix: None) == []
        assert (tmp_path / other).is_dir()
        driver.kill()
    assert state.clean_leftovers(tmp_path, lambda _prefix: None) == [other]


def test_a_directory_stays_when_its_namespaces_could_not_be_removed(tmp_path: Path) -> None:
    dead = crash(tmp_path)

    def refuse(_prefix: str) -> None:
        raise LabError("busy")

    with pytest.raises(LabError, match="busy"):
        state.clean_leftovers(tmp_path, refuse)
    assert state.clean_leftovers(tmp_path, lambda _prefix: None) == [dead]


def test_what_does_not_look_like_a_lab_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "abcd").touch()
    assert state.clean_leftovers(tmp_path, lambda _prefix: None) == []
    assert (tmp_path / "notes").is_dir()


def test_no_registry_means_no_labs(tmp_path: Path) -> None:
    absent = tmp_path / "absent"
    assert state.entries(absent) == []
    assert state.clean_leftovers(absent) == []


def test_a_registry_that_cannot_be_made_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LabError, match=r"cannot write .*needs root"):
        state.create(tmp_path / "file" / "labs")


def test_the_lock_does_not_leak_into_children(tmp_path: Path) -> None:
    lab = state.create(tmp_path)
    with subprocess.Popen(["sleep", "60"]) as child:
        os.close(lab._lock)
        assert [e.live for e in state.entries(tmp_path)] == [False]
        child.kill()
