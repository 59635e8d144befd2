# SPDX-License-Identifier: Apache-2.0
"""The chart in a cluster of real nodes, as an operator handles it: Helm's commands and what kubectl shows."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from lab import manifests
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import get, metrics

NAME: Final = "traffic-footprint"
"""Of the release and of its namespace."""
OFTEN: Final = {"settings": {"pollInterval": 0.3}}
"""Of agents, so that nobody waits long until they have counted."""
AGENTS_ALONE: Final = {"nodeagent": OFTEN, "extender": {"enabled": False}, "scheduler": {"enabled": False}}
"""Values with which the chart measures and does not place."""


POD_METRICS = "--set=nodeagent.settings.podMetrics=1000"
"""Tests hold the bytes of single pods against what these sent."""


def helm(lab: RealLab, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
    """What Helm prints, as the administrator, in the release's namespace. Fails the test when Helm fails."""
    done = _run(lab, *arguments, values=values)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{state(lab)}"
    return done.stdout


def _run(
    lab: RealLab, *arguments: str, values: Mapping[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    argv = [str(lab.helm_path), "--kubeconfig", str(lab.kubeconfig), "--namespace", NAME, *arguments]
    argv += ["--values", "-"] if values is not None else []
    env = {"PATH": os.environ["PATH"], "HOME": str(lab.dir)}
    given = json.dumps(values) if values is not None else None
    return subprocess.run(argv, input=given, env=env, capture_output=True, text=True, check=False, timeout=600)


def usual(lab: RealLab) -> dict[str, Any]:
    """Values: the links' true capacity, which their interfaces do not say, and frequent signs of life."""
    return {"nodeagent": {"settings": {**OFTEN["settings"], "linkCapacity": lab.config.link, "leaseRenew": 5}}}


def installed(lab: RealLab) -> bool:
    return bool(json.loads(helm(lab, "list", "--output", "json")))


def install(lab: RealLab, values: Mapping[str, Any] | None = None) -> str:
    """Install the chart, at its defaults without ``values``, and wait until its own probes call it ready."""
    chart = str(manifests.CHART)
    return helm(
        lab, "install", NAME, chart, "--create-namespace", "--wait", "--timeout=4m", POD_METRICS, values=values
    )


def upgrade(lab: RealLab, values: Mapping[str, Any]) -> str:
    """Upgrade the release to ``values`` on top of the defaults, and wait until it is ready."""
    return helm(lab, "upgrade", NAME, str(manifests.CHART), "--wait", "--timeout=4m", POD_METRICS, values=values)


def try_upgrade(lab: RealLab, values: Mapping[str, Any], timeout: str) -> subprocess.CompletedProcess[str]:
    """As ``upgrade``, when it is to fail: how Helm ended after ``timeout``, a duration of Helm's."""
    return _run(
        lab, "upgrade", NAME, str(manifests.CHART), "--wait", f"--timeout={timeout}", POD_METRICS, values=values
    )


def pods(lab: RealLab, component: str) -> list[dict[str, Any]]:
    """The pods of one component that are not being deleted."""
    selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component={component}"
    found: list[dict[str, Any]] = get(lab, "pods", "-n", NAME, "-l", selector)["items"]
    return [each for each in found if not each["metadata"].get("deletionTimestamp")]


def filtered(lab: RealLab) -> float:
    """Requests of kube-scheduler that the extenders have decided, all replicas together."""
    return sum(
        value
        for each in pods(lab, "extender")
        for key, value in metrics(f"http://{each['status']['podIP']}:8891/metrics").items()
        if key.startswith("traffic_footprint_extender_requests_total") and 'verb="filter"' in key and '"ok"' in key
    )


def state(lab: RealLab) -> str:
    """What a person would look at when the release does not become ready."""
    return lab.kubectl("-n", NAME, "get", "pods", "-o", "wide") + lab.kubectl("-n", NAME, "get", "events")


def process(lab: RealLab, pod: Mapping[str, Any], container: str = "") -> int:
    """Process id, on its node's machine, of a pod's container of that name; without one, of the first."""
    status = next(s for s in pod["status"]["containerStatuses"] if container in ("", s["name"]))
    found = status["containerID"].removeprefix("containerd://")
    inspected = json.loads(lab.node(pod["spec"]["nodeName"]).crictl("inspect", found))
    return int(inspected["info"]["pid"])
