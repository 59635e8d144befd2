# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any

import pytest

from extender import cli
from extender import run as run_module
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cli import read_settings
from extender.cluster.offline import SavedCluster, StateFeed, state_of
from footprint.keys import POD_CLASS
from footprint.settings import read
from plugin.cli import main
from plugin.explain.flags import SHARED, ExplainSettings
from tests.extender.builders import patient, pod_json
from tests.extender.client import Client
from tests.extender.cluster.test_offline import saved

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  template:
    metadata: {annotations: {traffic-footprint.io/class: mouse}}
    spec: {containers: []}
"""
CRONJOB = """
kind: CronJob
metadata: {name: backup}
spec: {jobTemplate: {spec: {template: {metadata: {annotations: {traffic-footprint.io/class: elephant}}}}}}
"""


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"kind": "List", "items": saved()}))
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    main(["explain", *map(str, arguments)])
    return capsys.readouterr().out


def test_offline_and_the_extender_tell_the_same(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    told = json.loads(run(capsys, "bulk-x", "--state", state, "-o", "json"))
    client = Client(create_app(Service(state_of(SavedCluster(saved())), StateFeed(), patient())))
    names = sorted(told["nodes"])
    posted = client.post("/explain", json={"Pod": pod_json("bulk-x", uid="p"), "NodeNames": names}).json()
    known = client.get("/explain?namespace=default&pod=bulk-x").json()
    assert told == posted == known
    assert client.get("/explain?namespace=default&pod=none").status_code == 404


def busy_evening() -> list[dict[str, Any]]:
    """A saved cluster in which each setting matters: a pod that came 5 s ago, and a TrafficFootprint."""
    young = pod_json("young", uid="y", owner=("Job", "young"), node="mice", phase="Running",
                     annotations={POD_CLASS: "elephant"})  # fmt: skip
    young["status"]["containerStatuses"] = [{"state": {"running": {"startedAt": "2026-01-01T11:59:55Z"}}}]
    record = {"kind": "TrafficFootprint", "metadata": {"name": "bulk", "namespace": "default"},
              "spec": {"workload": "Job/bulk", "class": "mouse"}}  # fmt: skip
    return [*saved(), {"kind": "Pod", **young}, record]


@pytest.mark.parametrize(
    "flags",
    [
        ["--placement", "score"], ["--placement", "strict", "--relax-after", "1e9"], ["--stale-after", "20"],
        ["--ledger-hold", "4"], ["--default-elephant-bandwidth", "50M"], ["--no-learn"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_offline_reproduces_an_extender_that_was_started_with_the_same_flags(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: list[str]
) -> None:
    monkeypatch.setattr(run_module, "configure_logging", lambda *_: None)
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"items": busy_evening()}))
    settings = cli.read_settings(["--state", str(state), *flags])
    source = run_module.source_of(settings)
    extender = create_app(Service(source.state, source.feed, settings.policy))
    capsys.readouterr()  # what it logged
    usual = json.loads(run(capsys, "bulk-x", "--state", state, "-o", "json"))
    told = json.loads(run(capsys, "bulk-x", "--state", state, "-o", "json", *flags))
    used = told.pop("settings")
    assert told == Client(extender).get("/explain?namespace=default&pod=bulk-x").json()
    assert told != usual, "the flag matters"
    assert "settings" not in usual
    assert set(used) == {
        flag.removeprefix("--no-").strip("-").replace("-", "_") for flag in flags if flag[0] == "-"
    }
    [line] = [
        row for row in run(capsys, "bulk-x", "--state", state, *flags).splitlines() if row.startswith("not by")
    ]
    assert all(flag in line for flag in flags if flag.startswith("--"))


def test_the_extenders_flags_have_its_names_and_defaults() -> None:
    arguments = read(ExplainSettings, ["p"])
    settings = read_settings([])
    assert {name: getattr(arguments, name) for name in SHARED} == {n: getattr(settings, n) for n in SHARED}


def test_a_pod_that_runs_is_explained_as_if_it_did_not_yet(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    state = tmp_path / "state.json"
    alone = pod_json("e", uid="e", node="busy", phase="Running")
    state.write_text(json.dumps({"items": [*saved(), {"kind": "Pod", **alone}]}))
    told = json.loads(run(capsys, "e", "--state", state, "-o", "json"))
    assert (told["pod"]["node"], told["nodes"]["busy"]["unsuitable"]) == ("busy", None)
    assert told["nodes"]["busy"]["link"]["tx"] == 0
    text = run(capsys, "e", "--state", state)
    assert "runs on busy, which is shown as it would be without this pod" in text


def test_people_read_scores_terms_and_reasons(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    text = run(capsys, "bulk-x", "--state", state)
    assert "default/bulk-x, workload Job/bulk: elephant, tx 180 Mbit/s, learned from 1 pod" in text
    [busy] = [line for line in text.splitlines() if line.strip().startswith("busy")]
    assert "elephants use 90 percent of the link" in busy
    assert re.findall(r"[A-Z]+", text[text.index("WAITING") :])[:4] == ["WAITING", "HARM", "SLOWDOWN", "ROOM"]
    assert "malformed-footprint" in text
    assert "no-footprint" in text


def test_a_rejected_node_stands_last_and_has_no_score(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    rows = run(capsys, "bulk-x", "--state", state, "--placement", "strict", "--relax-after", 1e9).splitlines()
    assert [row.split()[:3] for row in rows[-2:]] == [["busy", "-", "no"], ["mice", "-", "no"]]
    assert all(row.split()[1:3] == ["5", "yes"] for row in rows[-5:-2])


def test_a_workloads_manifest_is_asked_about_as_its_pod(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, state: Path
) -> None:
    for manifest, workload, demand in (
        (DEPLOYMENT, "Deployment/web", "mouse"),
        (CRONJOB, "CronJob/backup", "elephant"),
    ):
        (tmp_path / "m.yaml").write_text(manifest)
        told: dict[str, Any] = json.loads(run(capsys, "-f", tmp_path / "m.yaml", "--state", state, "-o", "json"))
        assert told["pod"]["workload"] == workload
        assert told["demand"]["cls"] == demand


def test_every_pod_of_a_stream_is_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, state: Path
) -> None:
    (tmp_path / "m.yaml").write_text(f"{DEPLOYMENT}---\nkind: Service\nspec: {{}}\n---\n{CRONJOB}---\n")
    arguments = ("-f", tmp_path / "m.yaml", "--state", state)
    told = json.loads(run(capsys, *arguments, "-o", "json"))
    assert [one["pod"]["workload"] for one in told["items"]] == ["Deployment/web", "CronJob/backup"]
    text = run(capsys, *arguments)
    assert text.startswith("default/web, ")
    assert "\n\ndefault/backup, " in text


def test_a_cluster_that_powershell_saved_is_read(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, state: Path
) -> None:
    saved_there = tmp_path / "utf16.json"
    saved_there.write_bytes(codecs.BOM_UTF16_LE + state.read_text().replace("\n", "\r\n").encode("utf-16-le"))
    flags = ("-o", "json", "--state")
    assert run(capsys, "bulk-x", *flags, saved_there) == run(capsys, "bulk-x", *flags, state)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["none"], "no pod default/none in"),
        ([], "not both"),
        (["x", "-f", "y"], "not both"),
        (["-f", "/nonexistent.yaml"], "cannot be read"),
        (["x", "--state", "/nonexistent.json"], "kubectl get nodes,pods,leases -A -o json"),
        (["x", "--placement", "sometimes"], "--placement 'sometimes'"),
        (["x", "--stale-after", "0"], "--stale-after '0'"),
        (["x", "--ledger-hold", "nan"], "--ledger-hold 'nan'"),
        (["x", "--default-elephant-bandwidth", "lots"], "such as 400M"),
    ],
)
def test_what_cannot_be_explained_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], state: Path, arguments: list[str], part: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--state", str(state), *arguments])
    assert caught.value.code == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "- a", "kind: Deployment\nspec: {}", "{", "\x00", 'metadata: {name: "\\ud800"}\nspec: {}']
)
def test_a_manifest_without_a_pod_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, state: Path, text: str
) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(SystemExit):
        main(["explain", "--state", str(state), "-f", str(tmp_path / "m.yaml")])
    assert capsys.readouterr().err.startswith("error: ")
