# SPDX-License-Identifier: Apache-2.0
"""The lab's kube-scheduler configuration: the shipped example, so that tests cover it, with the lab's paths.

Enters: the text of ``manifests/scheduler/kube-scheduler-config.yaml``. Leaves: the configuration as JSON (which
kube-scheduler reads as YAML). Pure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import yaml

from lab.errors import LabError

SHIPPED: Final = Path(__file__).parents[2] / "manifests" / "scheduler" / "kube-scheduler-config.yaml"


def shipped() -> dict[str, Any]:
    """The shipped example as values."""
    return parse(SHIPPED.read_text())


def parse(text: str) -> dict[str, Any]:
    """A KubeSchedulerConfiguration from ``text``. Raises LabError for anything else."""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LabError(f"{SHIPPED} is not YAML: {error}") from error
    if not isinstance(config, dict) or config.get("kind") != "KubeSchedulerConfiguration":
        raise LabError(f"{SHIPPED} is not a KubeSchedulerConfiguration; restore it from the repository")
    return config


def render(config: dict[str, Any], *, kubeconfig: Path, extender_url: str | None, weight: int | None) -> str:
    """``config`` for the lab: its credentials, one scheduler without election, the extender where it runs.

    ``extender_url`` None leaves the extender out; ``weight`` None keeps the shipped one.
    """
    extenders = []
    if extender_url is not None:
        (extender,) = config["extenders"]
        extenders = [{**extender, "urlPrefix": extender_url}]
        if weight is not None:
            extenders[0]["weight"] = weight
    return json.dumps(
        {
            **config,
            "clientConnection": {**config["clientConnection"], "kubeconfig": str(kubeconfig)},
            "leaderElection": {**config["leaderElection"], "leaderElect": False},
            "extenders": extenders,
        },
        indent=2,
    )
