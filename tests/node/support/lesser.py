# SPDX-License-Identifier: Apache-2.0
"""Pods like the DaemonSet's, each with one thing less, on a node that has no agent.

Enters: the release's DaemonSet. Leaves: what each lesser agent says: its preflight's findings, or the log and the
exit status with which it ended.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import eventually, get
from tests.node.support.chart import NAME

COMMAND: Final = ("run", f"--namespace={NAME}", "--source=ctnetlink", "--metrics-port=0")
"""Without a port, for several run at once in one network namespace."""
MEASURES: Final = "measuring with ctnetlink"


def template(lab: RealLab) -> dict[str, Any]:
    """The DaemonSet's pod."""
    found: dict[str, Any] = get(lab, "daemonset", f"{NAME}-nodeagent", "-n", NAME)["spec"]["template"]
    return found


def granted(pod: dict[str, Any]) -> set[str]:
    """The capabilities and mounts of a pod."""
    container = pod["spec"]["containers"][0]
    return {*container["securityContext"]["capabilities"]["add"], *(m["name"] for m in container["volumeMounts"])}


def lesser(whole: dict[str, Any], left_out: str, node: str) -> dict[str, Any]:
    """A pod that runs the agent once, without the capability or the mount ``left_out``."""
    pod = copy.deepcopy(whole)
    container = pod["spec"]["containers"][0]
    capabilities = container["securityContext"]["capabilities"]
    capabilities["add"] = [each for each in capabilities["add"] if each != left_out]
    container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] != left_out]
    pod["spec"]["volumes"] = [each for each in pod["spec"]["volumes"] if each["name"] != left_out]
    for key in ("ports", "startupProbe", "livenessProbe", "readinessProbe"):
        container.pop(key, None)
    for key in ("affinity", "nodeSelector"):
        pod["spec"].pop(key, None)
    container["args"] = list(COMMAND)
    pod["spec"] |= {"nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": _name(left_out), "namespace": NAME, "labels": {"lesser": "agent"}},
        "spec": pod["spec"],
    }  # fmt: skip


def _name(left_out: str) -> str:
    return "without-" + left_out.lower().replace("_", "-")


def said(
    lab: RealLab, whole: dict[str, Any], left_out: Sequence[str], node: str
) -> dict[str, tuple[int | None, str]]:
    """By what was left out, the exit status (None: it measures) and the log. They run at once."""
    pods = [lesser(whole, each, node) for each in left_out]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
    lab.kubectl("apply", "-f", "-", input=text)
    try:
        return {
            each: eventually(f"without {each} it measures or ends", partial(_fate, lab, _name(each)), 120)
            for each in left_out
        }
    finally:
        lab.kubectl("-n", NAME, "delete", "pods", "-l", "lesser=agent", "--timeout=60s")


def _fate(lab: RealLab, name: str) -> tuple[int | None, str] | None:
    for status in get(lab, "pod", name, "-n", NAME)["status"].get("containerStatuses", ()):
        if "waiting" in status["state"]:
            return None
        log = lab.kubectl("-n", NAME, "logs", name)
        if "terminated" in status["state"]:
            return status["state"]["terminated"]["exitCode"], log
        if MEASURES in log:
            return None, log
    return None
