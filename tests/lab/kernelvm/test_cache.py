# SPDX-License-Identifier: Apache-2.0
"""The cache of images: built once, whole or not at all, named by its inputs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.images import base
from lab.kernelvm import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "traffic-footprint" / "kernelvm"


def test_what_was_built_is_not_built_again() -> None:
    built: list[Path] = []

    def build(place: Path) -> None:
        built.append(place)
        (place / "image").write_text("made")

    first = cache.built("kernel", {"a": 1}, build)
    assert cache.built("kernel", {"a": 1}, build) == first
    assert len(built) == 1
    assert (first / "image").read_text() == "made"


def test_other_inputs_have_another_place(folder: Path) -> None:
    places = {cache.built("kernel", {"a": n}, lambda _: None) for n in range(3)}
    assert len(places) == 3
    assert {place.parent for place in places} == {folder}


def test_a_build_that_fails_leaves_nothing_behind(folder: Path) -> None:
    def fail(place: Path) -> None:
        (place / "half").write_text("")
        raise LabError("no")

    with pytest.raises(LabError):
        cache.built("kernel", {}, fail)
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert cache.built("kernel", {}, lambda _: None).is_dir()


def _built(number: int, *, unused: float = 0.0) -> Path:
    """One more of a kind; ``unused``: seconds since it was asked for."""

    def build(place: Path) -> None:
        base.prune("kind", place)

    place = cache.built("kind", number, build)
    then = time.time() - unused
    os.utime(place, (then, then))
    return place


def test_of_what_nobody_asks_for_the_two_asked_for_last_stay(folder: Path) -> None:
    first, second, third = (_built(n, unused=base.IN_USE + 60 - n) for n in range(3))
    assert (first.exists(), second.exists()) == (False, True)
    again = cache.built("kind", 1, lambda _: None)
    assert again == second
    fourth = _built(3)
    assert {path for path in folder.iterdir() if path.is_dir()} == {second, fourth}, "the third was not asked for"
    assert not third.exists()


def test_what_others_may_run_from_stays_up_to_a_bound() -> None:
    places = [_built(n, unused=60.0 - n) for n in range(base.MOST + 2)]
    assert [place.exists() for place in places] == [False] * 2 + [True] * base.MOST
