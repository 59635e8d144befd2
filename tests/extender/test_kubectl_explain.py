from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from extender.app import create_app
from extender.kubectl import main
from extender.offline import SavedCluster, StateFeed, state_of
from extender.settings import Policy
from tests.extender.builders import pod_json
from tests.extender.client import Client
from tests.extender.test_offline import saved

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
    client = Client(create_app(state_of(SavedCluster(saved())), StateFeed(), Policy()))
    names = sorted(told["nodes"])
    posted = client.post("/explain", json={"Pod": pod_json("bulk-x", uid="p"), "NodeNames": names}).json()
    known = client.get("/explain?namespace=default&pod=bulk-x").json()
    for answer in (posted, known):
        answer.pop("waited_seconds")
    told.pop("waited_seconds")
    assert told == posted == known
    assert client.get("/explain?namespace=default&pod=none").status_code == 404


def test_people_read_scores_terms_and_reasons(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    text = run(capsys, "bulk-x", "--state", state)
    assert "default/bulk-x, workload Job/bulk: elephant, tx 180 Mbit/s, learned from 1 pods" in text
    [busy] = [line for line in text.splitlines() if line.strip().startswith("busy")]
    assert "elephants use 90 percent of the link" in busy
    assert re.findall(r"[A-Z]+", text[text.index("WAITING") :])[:4] == ["WAITING", "HARM", "SLOWDOWN", "ROOM"]
    assert "malformed-footprint" in text
    assert "no-footprint" in text


def test_a_rejected_node_stands_last_and_has_no_score(capsys: pytest.CaptureFixture[str], state: Path) -> None:
    rows = run(capsys, "bulk-x", "--state", state, "--placement", "strict").splitlines()
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


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["none"], "no pod default/none in"),
        ([], "not both"),
        (["x", "-f", "y"], "not both"),
        (["-f", "/nonexistent.yaml"], "cannot be read"),
        (["x", "--state", "/nonexistent.json"], "kubectl get nodes,pods,leases -A -o json"),
    ],
)
def test_what_cannot_be_explained_is_one_line_with_the_remedy(
    capsys: pytest.CaptureFixture[str], state: Path, arguments: list[str], part: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["explain", "--state", str(state), *arguments])
    assert caught.value.code == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "- a", "kind: Deployment\nspec: {}", "{", "\x00"])
def test_a_manifest_without_a_pod_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, state: Path, text: str
) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(SystemExit):
        main(["explain", "--state", str(state), "-f", str(tmp_path / "m.yaml")])
    assert capsys.readouterr().err.startswith("error: ")
