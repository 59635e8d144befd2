# SPDX-License-Identifier: Apache-2.0
"""``advise``: which limits fit what was learned, and the patch that a workload's kind takes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from extender.model.profile import Profile, Rates
from footprint.keys import POD_EGRESS_LIMIT, POD_INGRESS_LIMIT
from plugin import cli
from plugin.workloads.advice import limits, patch
from tests.kubeconfig import kubeconfig
from tests.plugin.api_server import serving

PATH = "/apis/traffic-footprint.io/v1alpha1/namespaces/shop/trafficfootprints"


@pytest.mark.parametrize(
    ("tx", "rx", "headroom", "expected"),
    [
        (150e6, 0.0, 1.0, {POD_EGRESS_LIMIT: "150M"}),
        (150e6, 0.0, 1.25, {POD_EGRESS_LIMIT: "190M"}),
        (151e6, 20e6, 1.0, {POD_EGRESS_LIMIT: "160M", POD_INGRESS_LIMIT: "20M"}),
        (0.0, 1.5e9, 2.0, {POD_INGRESS_LIMIT: "3G"}),
        (0.0, 0.0, 2.0, {}),
    ],
)
def test_a_limit_is_never_below_the_peak_and_has_two_digits(
    tx: float, rx: float, headroom: float, expected: dict[str, str]
) -> None:
    assert limits(Profile(tx=Rates(tx, tx), rx=Rates(rx, rx)), headroom) == expected


def test_a_patch_goes_to_the_template_of_its_kind() -> None:
    pods = {"metadata": {"annotations": {"a": "b"}}}
    assert patch("Deployment/web", {"a": "b"}) == {"spec": {"template": pods}}
    assert patch("CronJob/web", {"a": "b"}) == {"spec": {"jobTemplate": {"spec": {"template": pods}}}}
    assert patch("Job/web", {"a": "b"}) is None  # its template cannot be changed
    assert patch("RayCluster/web", {"a": "b"}) is None


def footprint(workload: str, **status: Any) -> dict[str, Any]:
    direction = {"typical": "100M", "peak": "150M"}
    nothing = {"typical": "0", "peak": "0"}
    measured = {
        "class": "elephant", "elephants": {"tx": direction, "rx": nothing},
        "mice": {"weight": 0, "flowsPerSecond": 0}, "samples": 40, "lastSeen": "2026-01-01T00:00:00Z", **status,
    }  # fmt: skip
    return {
        "metadata": {"name": workload.lower().replace("/", "-"), "namespace": "shop"},
        "spec": {"workload": workload},
        **({"status": measured} if status != {"none": True} else {}),
    }


def advise(tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str, items: Any = None) -> str:
    shown = items or [footprint("Deployment/etl"), footprint("Ray/x"), footprint("Job/new", none=True),
                      footprint("Deployment/web", **{"class": "mouse", "elephants": {
                          "tx": {"typical": "0", "peak": "0"}, "rx": {"typical": "0", "peak": "0"}}})]  # fmt: skip
    with serving({PATH: shown}) as (port, _):
        path = kubeconfig(tmp_path / "config", f"http://127.0.0.1:{port}", user={"token": "t"})
        assert cli.main(["advise", *arguments, "-n", "shop", "--kubeconfig", str(path)]) == 0
    return capsys.readouterr().out


def test_advice_is_the_command_that_applies_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    *reasons, command = advise(tmp_path, capsys, "Deployment/etl").splitlines()
    assert all(line.startswith("# ") for line in reasons)
    words = shlex.split(command)
    assert words[:6] == ["kubectl", "-n", "shop", "patch", "deployment", "etl"]
    assert json.loads(words[-1]) == {
        "spec": {"template": {"metadata": {"annotations": {POD_EGRESS_LIMIT: "190M"}}}}
    }


def test_the_patch_alone_is_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = json.loads(advise(tmp_path, capsys, "Deployment/etl", "--headroom", "1", "-o", "json"))
    assert said == {"spec": {"template": {"metadata": {"annotations": {POD_EGRESS_LIMIT: "150M"}}}}}


def test_other_kinds_get_annotations_and_mice_no_limit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{POD_EGRESS_LIMIT}: 190M" in advise(tmp_path, capsys, "Ray/x")
    said = advise(tmp_path, capsys, "Deployment/web")
    assert "no limit is advised" in said
    assert "kubectl" not in said


@pytest.mark.parametrize(
    ("name", "remedy"), [("Job/new", "wait until"), ("Deployment/none", "lists what is known")]
)
def test_what_is_not_known_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, remedy: str
) -> None:
    with pytest.raises(SystemExit) as end:
        advise(tmp_path, capsys, name)
    assert end.value.code == 2
    assert remedy in capsys.readouterr().err
