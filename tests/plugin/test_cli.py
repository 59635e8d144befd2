# SPDX-License-Identifier: Apache-2.0
"""The plugin's command line: help, errors in one line, and what it imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plugin.cli import main

CHECKOUT = Path(__file__).parents[2]
COMMANDS = (
    "nodes", "pods", "top", "workloads", "workloads state", "workloads forget", "advise", "explain", "doctor",
    "report", "shadow", "rebalance",
)  # fmt: skip
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
    code, shown, _ = ended(capsys, *command.split(), "--help")
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
        (["pods", "-l", "a=b", "name"], "exclude each other"),
        (["workloads", "state", "a"], "state needs something to state"),
        (["workloads", "forget"], "required: NAME"),
        (["advise"], "required: NAME"),
        (["advise", "a", "--headroom", "0.5"], "headroom"),
        (["workloads", "state", "a", "--bandwidth", "much"], "write bit/s with a suffix"),
        (["workloads", "forget", "a", "-A"], "name it with -n"),
        (["nodes", "-o", "xml"], "use wide, json, yaml, name, jsonpath=TEMPLATE"),
        (["nodes", "-o", "jsonpath={.items["], "--output: "),
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
        (["top", "--kubeconfig", "none"], 2),
        (["workloads", "--kubeconfig", "none"], 2),
        (["workloads", "forget", "a", "--kubeconfig", "none"], 2),
        (["workloads", "state", "a", "--class", "mouse", "--kubeconfig", "none"], 2),
        (["doctor", "--kubeconfig", "none"], 2),
        (["report", "--kubeconfig", "none"], 2),
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


SAVED = {"items": [{"kind": "Node", "metadata": {"name": name}} for name in ("größe", "节点")]}
POD = "kind: Pod\nmetadata: {name: größe, annotations: {traffic-footprint.io/class: elephant}}\nspec: {}\n"


def explain(folder: Path, *flags: str) -> list[str]:
    """A command line that explains a pod over a saved cluster, both with names that are not ASCII."""
    (folder / "saved.json").write_text(json.dumps(SAVED))
    (folder / "pod.yaml").write_text(POD)
    program = [sys.executable, "-c", "from plugin.cli import main; raise SystemExit(main())", "explain"]
    return [*program, "--state", str(folder / "saved.json"), "-f", str(folder / "pod.yaml"), *flags]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_the_locale_cannot_write_are_spelled_out(tmp_path: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for flags in ([], ["-o", "json"]):
        done = subprocess.run(
            explain(tmp_path, *flags), capture_output=True, check=False, timeout=120, env=environment, cwd=CHECKOUT
        )
        assert (done.returncode, done.stderr) == (0, b"")
        if flags:
            assert "节点" in json.dumps(json.loads(done.stdout), ensure_ascii=False)
        else:
            assert rb"\u8282\u70b9" in done.stdout


@pytest.mark.parametrize("flags", [["--help"], ["-o", "json"], []], ids=["help", "json", "table"])
def test_a_reader_that_has_gone_is_no_error(tmp_path: Path, flags: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            explain(tmp_path, *flags),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            timeout=120,
            cwd=CHECKOUT,
        )
    finally:
        os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (1, 128 + signal.SIGPIPE), "rich ends with 1"


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            explain(tmp_path), stdout=full, stderr=subprocess.PIPE, check=False, timeout=120, cwd=CHECKOUT
        )
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: the output cannot be written")
    assert done.stderr.count(b"\n") == 1


def test_an_interrupt_ends_it_without_a_word(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    argv = ["env", "--default-signal", *explain(tmp_path, "-f", str(pipe))]  # a shell's background ignores SIGINT
    with subprocess.Popen(argv, stderr=subprocess.PIPE, cwd=CHECKOUT) as running:
        assert running.stderr is not None
        with pipe.open("wb"):  # returns once the command has opened it too
            running.send_signal(signal.SIGINT)
            assert running.stderr.read() == b""
        assert running.wait(120) == 128 + signal.SIGINT
