# SPDX-License-Identifier: Apache-2.0
"""kubectl's flags against a server on loopback: whom they reach, with what, and for how long."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from plugin.cli import main
from plugin.connection import parse_duration
from tests.extender.builders import annotation, elephant, mouse, node_json, pod_json
from tests.plugin.api_server import by_path, kubeconfig, serving

NODE = {"kind": "Node", **node_json("a", annotation(elephant("e", ns="shop"), mouse("m", ns="web")))}


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_nodes_come_from_the_context_that_the_flag_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    here, there = ({"kind": "Node", **node_json(name)} for name in ("here", "there"))
    with serving(by_path([here])) as (one, _), serving(by_path([there])) as (two, asked):
        kubeconfig(tmp_path / "one", one)
        other = kubeconfig(tmp_path / "two", two, name="d")
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'one'}:{other}")
        assert "here" in run(capsys, "nodes")
        assert "there" in run(capsys, "nodes", "--context", "d")
        assert "there" in run(capsys, "nodes", "--cluster", "d")
    assert {request.token for request in asked} == {"Bearer secret"}


def test_pods_are_those_of_one_namespace_or_of_all(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving(by_path([NODE])) as (port, _):
        config = str(kubeconfig(tmp_path / "config", port, namespace="shop"))
        for flags, shown in (([], ["e"]), (["-A"], ["shop", "web"]), (["-n", "web"], ["m"])):
            rows = run(capsys, "pods", "--kubeconfig", config, *flags).splitlines()[1:]
            assert [row.split()[0] for row in rows] == shown


def test_a_pod_is_looked_for_in_the_contexts_namespace(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pod = {"kind": "Pod", **pod_json("web-1", uid="u", ns="shop")}
    manifest = tmp_path / "m.yaml"
    manifest.write_text("kind: Pod\nmetadata: {name: fresh}\nspec: {}\n")
    with serving(by_path([NODE, pod])) as (port, _):
        config = str(kubeconfig(tmp_path / "config", port, namespace="shop"))
        assert run(capsys, "explain", "web-1", "--kubeconfig", config).startswith("shop/web-1, ")
        assert run(capsys, "explain", "-f", str(manifest), "--kubeconfig", config).startswith("shop/fresh, ")
        assert "no pod web/web-1" in refusal(capsys, "explain", "web-1", "--kubeconfig", config, "-n", "web")
        config = str(kubeconfig(tmp_path / "config", port))
        assert "no pod default/web-1" in refusal(capsys, "explain", "web-1", "--kubeconfig", config)


def test_a_server_that_does_not_answer_is_given_up_in_time(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with serving({}, silent=threading.Event()) as (port, _):
        config = str(kubeconfig(tmp_path / "config", port))
        told = refusal(capsys, "nodes", "--kubeconfig", config, "--request-timeout", "300ms")
    assert "timed out" in told
    assert told.count("\n") == 1


def test_a_refusal_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving({"/api/v1/nodes": 403}) as (port, _):
        config = str(kubeconfig(tmp_path / "config", port))
        told = refusal(capsys, "nodes", "--kubeconfig", config)
    assert "`kubectl auth can-i list nodes -A`" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("2m", 120), ("1m30s", 90), ("1h", 3600), ("250ms", 0.25), ("1.5h", 5400), ("0", 0), ("7", 7)],
)
def test_durations_are_those_of_kubectl(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1d", "s", "1 s", "1e3s", "9" * 400])
def test_what_is_no_duration_is_told_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="such as 30s or 2m"):
        parse_duration(text)
