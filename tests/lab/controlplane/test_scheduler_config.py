# SPDX-License-Identifier: Apache-2.0
"""The shipped kube-scheduler configuration, and what the lab changes in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lab.controlplane import scheduler_config
from lab.errors import LabError

KUBECONFIG = Path("/somewhere/scheduler.kubeconfig")


def rendered(url: str | None = "http://127.0.0.1:8890", weight: int | None = None) -> dict[str, Any]:
    text = scheduler_config.render(
        scheduler_config.shipped(), kubeconfig=KUBECONFIG, extender_url=url, weight=weight
    )
    values: dict[str, Any] = json.loads(text)
    return values


def test_the_shipped_extender_has_the_recommended_settings() -> None:
    (extender,) = scheduler_config.shipped()["extenders"]
    assert extender["nodeCacheCapable"] is True
    assert extender["ignorable"] is True
    assert extender["httpTimeout"] == "500ms"
    assert (extender["filterVerb"], extender["prioritizeVerb"]) == ("filter", "prioritize")


def test_the_lab_changes_only_what_is_its_own() -> None:
    shipped, ours = scheduler_config.shipped(), rendered()
    assert ours["clientConnection"].pop("kubeconfig") == str(KUBECONFIG)
    assert ours["leaderElection"].pop("leaderElect") is False
    shipped["clientConnection"].pop("kubeconfig")
    shipped["leaderElection"].pop("leaderElect")
    assert ours == shipped


def test_without_an_extender_none_is_configured() -> None:
    assert rendered(url=None)["extenders"] == []


def test_weight_and_address_can_be_overridden() -> None:
    (extender,) = rendered("http://127.0.0.1:1234", weight=9)["extenders"]
    assert (extender["urlPrefix"], extender["weight"]) == ("http://127.0.0.1:1234", 9)


@pytest.mark.parametrize("text", ["", "- a", "kind: Deployment", "a: [", "kind: [KubeSchedulerConfiguration]"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(LabError, match=r"kube-scheduler-config\.yaml is not"):
        scheduler_config.parse(text)
