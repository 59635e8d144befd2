# SPDX-License-Identifier: Apache-2.0
"""``make test``: what it announces, what it counts as passed, what it remembers. Make is a stand-in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.setup import tiers


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose ``make`` notes what it makes and fails for names listed in the file ``broken``."""
    monkeypatch.setattr(tiers, "CHECKOUT", tmp_path)
    monkeypatch.delenv("RESUME", raising=False)
    (tmp_path / "broken").touch()
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$1" >>made\n! grep -qx "$1" broken\n')
    make.chmod(0o755)
    return tmp_path


def run(machine: Path, *names: str, is_root: bool = True) -> list[tiers.TierResult]:
    return tiers.run(names, machine / "cache" / "tiers.json", make=[str(machine / "make")], is_root=is_root)


def made(machine: Path) -> list[str]:
    return (machine / "made").read_text().split()


def test_the_start_says_what_will_run_and_about_how_long(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(tiers.TIERS, "unit", replace(tiers.TIERS["unit"], seconds=300))
    run(machine, "check", "unit")
    announced = capsys.readouterr().out.partition("== check")[0].splitlines()
    assert announced[0] == "== about 6:00 min in all, with built caches"
    assert announced[1].startswith("  check      1:00  formatting, lint, types")
    assert announced[2].startswith(
        "  unit       5:00  tests that need no privilege (not timed on this machine yet)"
    )


def test_the_end_says_what_each_did_and_took(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (machine / "broken").write_text("unit\n")
    results = run(machine, "check", "unit", "netns")
    assert [(r.name, r.state) for r in results] == [("check", "passed"), ("unit", "FAILED"), ("netns", "passed")]
    assert made(machine) == ["check", "unit", "netns"], "a failure keeps no other tier from running"
    said = capsys.readouterr().out.splitlines()
    assert said[-3].split() == ["unit", "0:00", "FAILED"]
    assert said[-1] == "go on with what has not passed: make unit RESUME=1, or make test RESUME=1"


def test_a_tier_that_cannot_run_says_why_and_does_not_count_as_passed(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run(machine, "unit", "netns", is_root=False)
    assert results[1] == tiers.TierResult("netns", "CANNOT RUN", why="needs root: sudo -E make netns")
    assert made(machine) == ["unit"]
    assert "CANNOT RUN: needs root" in capsys.readouterr().out


def test_without_its_environment_nothing_can_run(machine: Path) -> None:
    (machine / "broken").write_text("setup\n")
    results = run(machine, "setup", "check", "unit")
    assert [(r.state, r.why) for r in results[1:]] == [("CANNOT RUN", "setup failed")] * 2
    assert made(machine) == ["setup"]


def test_what_a_whole_tier_took_is_the_next_forecast(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine / "broken").write_text("netns\n")
    run(machine, "unit", "netns")
    kept = machine / "cache" / "tiers.json"
    assert list(json.loads(kept.read_text())) == ["unit"], "a tier that failed was cut short"
    kept.write_text(json.dumps({"unit": 75}))
    (machine / "broken").write_text("")
    monkeypatch.setenv("RESUME", "1")
    run(machine, "unit", "netns")
    assert "  unit       1:15  tests that need no privilege\n" in capsys.readouterr().out
    assert json.loads(kept.read_text()) == {"unit": 75}, "a resumed tier ran only in part"


@pytest.mark.parametrize("text", ["", "[]", '{"unit": "long"}', "[1", '"unit"'])
def test_a_damaged_forecast_is_as_good_as_none(machine: Path, text: str) -> None:
    (machine / "cache").mkdir()
    (machine / "cache" / "tiers.json").write_text(text)
    assert [result.state for result in run(machine, "unit")] == ["passed"]


def test_counts_of_tests_are_shown_with_their_tier(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = machine / tiers.RESULTS / "unit.json"
    stale.parent.mkdir(parents=True)
    stale.write_text('{"passed": 1}')
    run(machine, "unit")
    assert "1 passed" not in capsys.readouterr().out, "an earlier run's counts"
    counts = json.dumps({"passed": 7, "failed": 0, "skipped": 2})
    script = f"echo '{counts}' >{tiers.RESULTS}/unit.json"
    (machine / "make").write_text(f"#!/bin/sh\n{script}\n")
    run(machine, "unit")
    assert "passed: 7 passed, 2 skipped" in capsys.readouterr().out


def test_what_failed_is_named_at_the_end(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = machine / tiers.RESULTS
    folder.mkdir(parents=True)
    script = f"for n in $(seq {tiers.SHOWN + 2}); do echo a::test_$n; done >{tiers.RESULTS}/unit.failed; exit 1"
    (machine / "make").write_text(f"#!/bin/sh\n{script}\n")
    run(machine, "unit")
    shown = capsys.readouterr().out
    assert f"    a::test_{tiers.SHOWN}\n    and 2 more\n" in shown
    assert f"test_{tiers.SHOWN + 1}" not in shown


def test_the_exit_status_is_zero_only_when_all_passed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine))
    monkeypatch.setenv("MAKE", "true")
    assert tiers.main(["check", "unit"]) == 0
    monkeypatch.setenv("MAKE", "false")
    assert tiers.main(["check", "unit"]) == 1


@pytest.mark.parametrize("names", [[], ["unitt"]])
def test_a_tier_there_is_not_is_one_line(names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert tiers.main(names) == 2
    assert capsys.readouterr().err.startswith("error: no tier is called ")


def test_every_tier_is_a_target_of_the_makefile() -> None:
    makefile = (Path(__file__).parents[3] / "Makefile").read_text()
    assert all(f"\n{name}: " in makefile for name in tiers.TIERS)
