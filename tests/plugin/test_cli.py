# SPDX-License-Identifier: Apache-2.0
"""The plugin's command line: help, errors in one line, and what it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugin.cli import main

CHECKOUT = Path(__file__).parents[2]
COMMANDS = ("nodes", "pods", "explain", "shadow")
KUBECTL = ("--kubeconfig", "--context", "--cluster", "--user", "--request-timeout")
WITHOUT_SERVER = """
import sys
blocked = ("fastapi", "starlette", "uvicorn", "httptools", "prometheus_client", "extender.api", "extender.serving",
           "extender.learning.learner")
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in blocked or name.startswith(tuple(one + "." for one in blocked)):
            raise ImportError(f"{name} is not installed with the plugin")
sys.meta_path.insert(0, Blocker())
from plugin.cli import main
"""
LOADED = """
import json, sys
from plugin.cli import main
try:
    main(["--help"])
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return (caught.value.code, *capsys.readouterr())


def test_a_missing_kubeconfig_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, _, told = ended(capsys, "nodes", "--kubeconfig", str(tmp_path / "none"))
    assert code == 2
    assert "--kubeconfig FILE" in told
    assert told.count("\n") == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = ended(capsys, "--help")
    assert code == 0
    assert [command for command in COMMANDS if command not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_help_has_kubectls_flags_and_its_own(capsys: pytest.CaptureFixture[str], command: str) -> None:
    code, shown, _ = ended(capsys, command, "--help")
    assert code == 0
    assert [flag for flag in KUBECTL if flag not in shown] == []
    assert "(default: )" not in shown
    assert "[env:" not in shown, "a plugin of kubectl reads no variables of its own"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["node"], "did you mean nodes?"),
        (["--context", "x", "nodes"], "'--context' stands before the command; write kubectl-footprint nodes|pods"),
        (["pods", "--name-space", "x"], "did you mean --namespace?"),
        (["nodes", "--request-timeout", "soon"], "such as 30s or 2m"),
        (["pods", "-A", "-n", "x"], "exclude each other"),
    ],
)
def test_what_cannot_be_understood_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], arguments: list[str], part: str
) -> None:
    code, _, told = ended(capsys, *arguments)
    assert code == 2
    assert told.startswith("error: ")
    assert told.count("\n") == 1
    assert part in told


def test_variables_that_are_called_like_flags_do_not_count(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("CONTEXT", "CLUSTER", "USER", "REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "nonsense")
    code, _, told = ended(capsys, "nodes", "--kubeconfig", str(tmp_path / "none"))
    assert code == 2
    assert "nonsense" not in told


def test_every_command_runs_without_the_extenders_server(tmp_path: Path) -> None:
    """Each imports all it needs before it finds that there is no kubeconfig."""
    (tmp_path / "state.json").write_text(json.dumps({"items": []}))
    (tmp_path / "pod.yaml").write_text("kind: Pod\nmetadata: {name: p}\nspec: {}\n")
    for arguments, code in (
        (["nodes", "--kubeconfig", "none"], 2),
        (["pods", "--kubeconfig", "none"], 2),
        (["shadow", "--kubeconfig", "none"], 2),
        (["explain", "-f", "pod.yaml", "--state", "state.json"], 0),
    ):
        program = f"{WITHOUT_SERVER}raise SystemExit(main({arguments!r}))"
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip
        assert (done.returncode, "not installed" in done.stderr) == (code, False), done.stderr


def test_help_loads_none_of_the_slow_modules() -> None:
    """Time differs between machines; what makes it does not."""
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False, timeout=120)
    loaded = set(json.loads(done.stderr))
    assert loaded & {"pydantic", "kubernetes", "rich", "structlog", "yaml", "orjson", "urllib3"} == set()
