# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from plugin.cli import main
from plugin.shadow.command import rendered
from tests.extender.builders import patient, pod_info, pod_json
from tests.extender.running import served, small_state
from tests.plugin.api_server import answering, kubeconfig


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["shadow", *arguments])
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(["shadow", *arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


@contextmanager
def watching() -> Iterator[str]:
    """URL of an extender in shadow mode that has seen one pod go where it would not have sent it."""
    state = small_state()
    with served(patient(shadow=True), state=state) as (port, _):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        asked = {"Pod": pod_json(uid="u"), "NodeNames": ["busy", "mice", "free"]}
        connection.request("POST", "/filter", json.dumps(asked))
        connection.getresponse().read()
        connection.close()
        state.put_pod(pod_info("u", node="mice"))
        state.apply()
        yield f"http://127.0.0.1:{port}"


def test_a_running_extenders_report_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as url:
        lines = run(capsys, "--url", url).splitlines()
    assert lines[0].split() == ["OUTCOME", "PODS", "COLLIDED", "MEANING"]
    rows = {line.split()[0]: line.split()[1:3] for line in lines[1:5]}
    assert rows == {
        "would-have-been-kept-off": ["1", "0"], "would-have-gone-elsewhere": ["0", "0"], "agreed": ["0", "0"],
        "forgotten": ["0", "-"],
    }  # fmt: skip
    assert lines[5] == "0 pods collide that acting would have sent elsewhere; 1 not judged yet."


def test_json_is_the_report_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as url:
        told = json.loads(run(capsys, "--url", f"{url}/", "-o", "json"))
    assert told["pods"] == {"would-have-been-kept-off": 1}
    assert told["pending"] == 1


def test_without_an_url_the_api_servers_proxy_is_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    report = {"pods": {"agreed": 3}, "collided": {"agreed": 1}, "avoidable_collisions": 1, "pending": 2}
    with answering(lambda _: (200, json.dumps(report).encode())) as (port, asked):
        config = str(kubeconfig(tmp_path / "config", port))
        text = run(capsys, "--kubeconfig", config, "--release-namespace", "net")
    assert [request.path for request in asked] == [
        "/api/v1/namespaces/net/services/traffic-footprint-extender:metrics/proxy/shadow"
    ]
    assert "1 pod collides that acting would have sent elsewhere; 2 not judged yet." in text
    assert "will not be" not in text


def test_the_old_name_of_the_releases_namespace_still_works_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with answering(lambda _: (200, b'{"pods":{},"collided":{}}')) as (port, asked):
        config = str(kubeconfig(tmp_path / "config", port))
        for flag in ("-n", "--namespace"):
            main(["shadow", "--kubeconfig", config, flag, "net"])
            assert "write --release-namespace" in capsys.readouterr().err
        main(["shadow", "--kubeconfig", config, "--release-namespace", "net"])
        assert capsys.readouterr().err == ""
    assert [request.path for request in asked] == [
        "/api/v1/namespaces/net/services/traffic-footprint-extender:metrics/proxy/shadow"
    ] * 3
    assert "give --release-namespace alone" in refusal(capsys, "-n", "a", "--release-namespace", "b")


def test_pods_that_will_not_be_judged_are_told_apart() -> None:
    report = {"pods": {"agreed": 5}, "collided": {}, "avoidable_collisions": 0, "pending": 2, "never_judged": 3}
    console = Console(width=200)
    with console.capture() as shown:
        console.print(rendered(report))
    assert "2 not judged yet. 3 will not be: too many came after them." in shown.get()


def test_an_extender_that_acts_has_no_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with served() as (port, _):
        assert "start it with --shadow" in refusal(capsys, "--url", f"http://127.0.0.1:{port}")
    with answering(lambda _: (404, b'{"Error":"not in shadow mode"}')) as (port, _):
        config = str(kubeconfig(tmp_path / "config", port))
        assert "start it with --shadow" in refusal(capsys, "--kubeconfig", config)


@pytest.mark.parametrize("report", [b"", b"[]", b"{}", b'{"pods":1,"collided":{}}', b"<html>"])
def test_what_is_no_report_is_one_line(capsys: pytest.CaptureFixture[str], report: bytes) -> None:
    with answering(lambda _: (200, report)) as (port, _):
        told = refusal(capsys, "--url", f"http://127.0.0.1:{port}")
    assert told.startswith("error: ")
    assert "--url" in told


@pytest.mark.parametrize("url", ["127.0.0.1:8890", "file:///etc/passwd", "http://127.0.0.1:1"])
def test_an_address_that_cannot_be_asked_is_one_line(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert "use --url http://HOST:PORT" in (told := refusal(capsys, "--url", url)) or "running extender" in told
