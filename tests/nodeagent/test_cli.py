# SPDX-License-Identifier: Apache-2.0
"""The agent's command line: help, and the one line that a person reads when it cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodeagent import cli

pytestmark = pytest.mark.usefixtures("unchanged_logging")


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Exit status of the command."""
    monkeypatch.setattr(sys, "argv", ["traffic-footprint-nodeagent", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


@pytest.mark.parametrize("argument", ["--help", "-h", "help"])
def test_help_names_every_subcommand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    assert ended(monkeypatch, argument) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("run (default)", "preflight", "top", "unload", "untune"))


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (["measure"], "use run, preflight, top"),
        (["run", "--node-name", "n1", "--poll-interval", "never"], "poll-interval"),
        (["--node-name", "n1", "--no-such-flag"], "no-such-flag"),
        (["preflight", "--output", "xml"], "output"),
        (["top", "--output", "xml"], "output"),
        (["watch", "--output", "xml"], "output"),  # the old name of top
        (["run", "--node-name", "n1", "--kubeconfig", "/nowhere/config"], "--kubeconfig FILE"),
    ],
)
def test_what_the_operator_can_mend_is_one_line_and_status_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], remedy: str
) -> None:
    assert ended(monkeypatch, *arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: ")
    assert shown.count("\n") == 1
    assert remedy in shown


@pytest.mark.parametrize(
    "command", [["preflight"], ["watch", "--once", "--source", "ebpf", "--poll-interval", "0.1"]]
)
def test_no_command_runs_code_that_lies_in_the_current_directory(tmp_path: Path, command: str) -> None:
    """As with sudo in somebody else's folder."""
    ran = tmp_path / "ran"
    for name in ("nodeagent", "footprint", "orjson", "bcc", "json", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write({name!r})\n")
    program = Path(sys.executable).with_name("traffic-footprint-nodeagent")
    done = subprocess.run(
        [program, *command], cwd=tmp_path, capture_output=True, text=True, timeout=250, check=False
    )
    assert not ran.exists(), ran.read_text()
    assert "Traceback" not in done.stderr
