# SPDX-License-Identifier: Apache-2.0
"""What kubectl is told of the plugin's words: candidates, and what the shell should do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugin.cli import SCRIPT, complete, main
from tests.extender.builders import annotation, elephant, node_json, pod_json
from tests.plugin.api_server import by_path, kubeconfig, serving

LOADED = """
import json, sys
from plugin.cli import complete
complete(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def completed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    """The candidates without what they are, and the directive."""
    assert complete(words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *lines, directive = out.splitlines()
    return [line.partition("\t")[0] for line in lines], directive


@pytest.fixture
def config(tmp_path: Path) -> Iterator[str]:
    """A cluster of two nodes and two pods; the context's namespace is ``shop``."""
    nodes = [{"kind": "Node", **node_json(name, annotation(elephant("e")))} for name in ("alpha", "beta")]
    hostile = {"kind": "Node", **node_json("al\x1bpine")}
    with serving(by_path([*nodes, hostile])) as (port, _):
        yield str(kubeconfig(tmp_path / "config", port, namespace="shop"))


def test_commands_are_completed_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert complete(["wor"]) == 0
    assert capsys.readouterr().out == "workloads\twhat is known of each workload, how sure, since when\n:4\n"
    assert completed(capsys, "")[0][:4] == ["nodes", "pods", "top", "workloads"]
    assert completed(capsys, "workloads", "s") == (["state"], ":4")
    assert completed(capsys, "nonsense", "") == ([], ":4")


@pytest.mark.parametrize(
    ("words", "candidates", "directive"),
    [
        (["nodes", "--sort-by", "ele"], ["elephants"], ":36"),
        (["nodes", "-o", "w"], ["wide"], ":4"),
        (["pods", "--class", "m"], ["mouse", "mixed"], ":4"),
        (["pods", "--class=m"], ["--class=mouse", "--class=mixed"], ":4"),
        (["workloads", "state", "x", "--dry-run", ""], ["none", "client", "server"], ":4"),
        (["explain", "-f", ""], [], ":0"),
        (["nodes", "--kubeconfig="], [], ":0"),
        (["nodes", "--no-h"], ["--no-headers"], ":4"),
        (["nodes", "--no-headers", "--no-h"], [], ":4"),
        (["nodes", "-o"], [], ":4"),
    ],
)
def test_flags_and_their_values_are_completed(
    capsys: pytest.CaptureFixture[str], words: list[str], candidates: list[str], directive: str
) -> None:
    assert completed(capsys, *words) == (candidates, directive)


def test_names_come_from_the_cluster_that_the_flags_mean(capsys: pytest.CaptureFixture[str], config: str) -> None:
    assert completed(capsys, "nodes", "--kubeconfig", config, "al") == (["alpha"], ":4"), "no control characters"
    assert completed(capsys, "nodes", "--kubeconfig", config, "alpha", "") == (["beta"], ":4")
    assert completed(capsys, "pods", f"--kubeconfig={config}", "--node", "b") == (["beta"], ":4")
    assert completed(capsys, "nodes", "--kubeconfig", config, "--context", "") == (["c"], ":4")


def test_pods_are_those_of_the_namespace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pods = {f"/api/v1/namespaces/{ns}/pods": [pod_json(f"{ns}-1", ns=ns)] for ns in ("shop", "web")}
    with serving(pods) as (port, _):
        where = ("--kubeconfig", str(kubeconfig(tmp_path / "config", port, namespace="shop")))
        assert completed(capsys, "pods", *where, "")[0] == ["shop-1"]
        assert completed(capsys, "explain", *where, "-n", "web", "")[0] == ["web-1"]
        assert completed(capsys, "explain", *where, "shop-1", "")[0] == [], "it takes one"


@pytest.mark.parametrize(
    "words", [["nodes", ""], ["pods", ""], ["nodes", "--context", ""], ["workloads", "forget", ""]]
)
def test_whatever_fails_is_silence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "broken").write_text("\0")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    assert completed(capsys, *words) == ([], ":4")


def test_a_script_can_take_the_programs_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion"]) == 0
    assert capsys.readouterr().out == SCRIPT
    assert main(["__complete", "no"]) == 0
    assert capsys.readouterr().out.startswith("nodes\t")


@pytest.mark.parametrize(
    "words", [["n"], ["explain", "--"], ["top", "--class", ""], ["workloads", "state", "a", "--"]]
)
def test_completing_loads_none_of_the_slow_modules(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True, timeout=120
    )
    slow = {"kubernetes", "rich", "structlog", "yaml", "orjson", "urllib3", "jsonpath", "curses"}
    assert set(json.loads(done.stderr)) & slow == set()
