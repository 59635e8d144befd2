# SPDX-License-Identifier: Apache-2.0
"""The command: what a person sees of two runs, played by stand-ins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from footprint.cluster.client import ApiError
from lab.demo import __main__ as cli
from lab.demo.report import RunReport
from lab.errors import LabError
from tests.lab.demo.builders import better, report


class Runs:
    """Plays each run by handing out what it was given, or raising it."""

    def __init__(self, *results: RunReport | BaseException) -> None:
        self._results = list(results)
        self.asked: list[bool] = []

    def __call__(self, scenario: Any, *, extender: bool, say: Any, **_options: Any) -> RunReport:
        self.asked.append(extender)
        say(f"seed {scenario.seed}")
        result = self._results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result


def demo(monkeypatch: pytest.MonkeyPatch, runs: Runs, *arguments: str) -> int:
    monkeypatch.setattr(cli, "run", runs)
    monkeypatch.setenv("COLUMNS", "200")
    return cli.main(list(arguments))


def test_a_demo_that_shows_what_it_should_says_so_and_ends_with_zero(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    runs = Runs(report("default"), better())
    assert demo(monkeypatch, runs, "--output", str(tmp_path / "out"), "--seed", "5") == 0
    assert runs.asked == [False, True], "the default scheduler first"
    shown = capsys.readouterr().out
    assert "seed 5" in shown
    assert shown.count("pass  ") == 3
    assert "FAIL" not in shown
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.png"}


@pytest.mark.parametrize(
    ("extender", "said"),
    [
        (better(p99=0.05), "FAIL  mice p99"),
        (better(elephants=report("x").elephants[:0]), "FAIL  every pod has a result"),
        (better(unplaced=("web-2",)), "none from web-2 (extender)"),
    ],
)
def test_a_demo_that_does_not_says_what_failed_and_its_status_does_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    extender: RunReport,
    said: str,
) -> None:
    assert demo(monkeypatch, Runs(report("default"), extender), "--output", str(tmp_path)) == 1
    assert said in capsys.readouterr().out
    assert (tmp_path / "report.json").exists(), "what failed can be looked at"


@pytest.mark.parametrize(
    "error", [LabError("go is missing; install it"), ApiError(0, "cannot reach the API server")]
)
def test_a_lab_that_cannot_run_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, error: Exception
) -> None:
    with pytest.raises(SystemExit) as ended:
        demo(monkeypatch, Runs(report("default"), error), "--output", str(tmp_path))
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {error}\n"


@pytest.mark.parametrize("flag", ["--output", "--keep-logs"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, flag: str
) -> None:
    (tmp_path / "file").write_text("")
    runs = Runs()
    with pytest.raises(SystemExit) as ended:
        demo(monkeypatch, runs, "--output", str(tmp_path / "out"), flag, str(tmp_path / "file" / "out"))
    assert ended.value.code == 2
    assert runs.asked == []
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert flag in shown


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert demo(monkeypatch, Runs(KeyboardInterrupt()), "--output", str(tmp_path)) == 130
