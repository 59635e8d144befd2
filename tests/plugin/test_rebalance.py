# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extender.rebalancing.plan import MAX_EXAMINED
from footprint.keys import REBALANCE, lease_name
from footprint.models import PodFootprint
from plugin.cli import main
from tests.extender.builders import annotation, elephant, mouse, node_json, pod_json

ALLOWED = {REBALANCE: "allow"}


def node(name: str, *pods: PodFootprint, **spec: Any) -> list[dict[str, Any]]:
    """A ready Node with room, and its agent's Lease."""
    made = node_json(name, annotation(*pods))
    made["spec"] = spec
    made["status"] = {
        "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    renewed = {"renewTime": "2026-02-01T00:00:00.000000Z"}
    return [{"kind": "Node", **made}, {"kind": "Lease", "metadata": {"name": lease_name(name)}, "spec": renewed}]


def pod(measured: PodFootprint, where: str, annotations: dict[str, str]) -> dict[str, Any]:
    kind, _, name = measured.wl.partition("/")
    made = pod_json(
        measured.name, uid=measured.uid, owner=(kind, name), node=where, phase="Running", annotations=annotations
    )
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    return {"kind": "Pod", **made}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Two mice beside an elephant, one of which says never; a free node, and one that takes no pods."""
    e, m, n = elephant("e"), mouse("m", wl="StatefulSet/m"), mouse("n", wl="StatefulSet/n")
    items = [
        *node("full", e, m, n), *node("free"), *node("closed", unschedulable=True),
        pod(e, "full", {}), pod(m, "full", ALLOWED), pod(n, "full", {REBALANCE: "never"}),
        {"kind": "Namespace", "metadata": {"name": "default"}},
    ]  # fmt: skip
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"kind": "List", "items": items}))
    return path


def told(saved: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main(["rebalance", "--state", str(saved), "-o", "json", *more]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_plan_says_who_moves_where_with_what_gain_and_why_others_stay(
    saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(saved, capsys)
    assert [(move["pod"], move["from"], move["to"]) for move in found["moves"]] == [("m", "full", "free")]
    assert found["moves"][0]["gain"] == found["gain"] == 19
    assert {one["pod"]: one["reason"] for one in found["stay"]} == {"e": "bound-to-place", "n": "opted-out"}
    assert found["troubled_nodes"] == 1


def test_a_higher_price_moves_nobody(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not told(saved, capsys, "--restart-cost", "50")["moves"]


def test_without_consent_nobody_is_moved(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved.write_text(saved.read_text().replace('"allow"', '"never"'))
    assert not told(saved, capsys)["moves"]


def test_every_misplaced_pod_is_read_however_many_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The pod that somebody lets be moved gains no more than others, and is the last of them."""
    e = elephant("e")
    mice = [mouse(f"m{number:02}", wl=f"StatefulSet/m{number}") for number in range(MAX_EXAMINED + 5)]
    last = len(mice) - 1
    items = [
        *node("full", e, *mice), *node("free"), pod(e, "full", {}),
        *(pod(one, "full", ALLOWED if number == last else {}) for number, one in enumerate(mice)),
        {"kind": "Namespace", "metadata": {"name": "default"}},
    ]  # fmt: skip
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"kind": "List", "items": items}))
    found = told(path, capsys)
    assert [move["pod"] for move in found["moves"]] == [mice[last].name]
    assert {one["reason"] for one in found["stay"] if one["pod"] != "e"} == {"not-opted-in"}


def test_people_read_a_table(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rebalance", "--state", str(saved)]) == 0
    text = capsys.readouterr().out
    assert "1 moves now" in text
    assert "default/m" in text
    assert "opted-out" in text


def test_a_file_that_is_no_cluster_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["rebalance", "--state", str(tmp_path / "none.json")])
    assert "--state" in capsys.readouterr().err
