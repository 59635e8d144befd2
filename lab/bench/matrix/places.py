# SPDX-License-Identifier: Apache-2.0
"""Where the real kube-scheduler puts the matrix's pods, with the extender and without it. Effects only.

Enters: nothing but the machine. Leaves: for each placement a node for each pod. The pods run their traffic while
others arrive, and agents measure in both cases.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from footprint.classes import TrafficClass
from footprint.cluster.client import request
from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH
from lab.bench.matrix.cells import DEFAULT, EGRESS, OURS
from lab.bench.matrix.traffic import ASKED_PORT, SINK_PORT, has_begun, is_mouse, pod_argv
from lab.errors import LabError
from lab.lab import Lab, LabConfig
from lab.traffic import argv

NODES: Final = 4
_ARRIVALS: Final = "memmemmmmm"
"""Mice and elephants, one after the other, as the days of a cluster go."""
_NAMESPACE: Final = "matrix"
_WAIT_SECONDS: Final = 60.0
_PAUSE: Final = 0.3

Say = Callable[[str], None]
Places = dict[str, str]
"""Pod to node. A pod's name begins with its kind."""


def places(say: Say, keep: Path | None = None) -> dict[str, Places]:
    """Of each placement. Raises LabError."""
    return {placement: _places(placement, say, keep) for placement in (DEFAULT, OURS)}


def _places(placement: str, say: Say, keep: Path | None) -> Places:
    config = LabConfig(nodes=NODES, extender=placement == OURS, keep_dir=keep / placement if keep else None)
    with Lab(config) as lab:
        lab.create_namespace(_NAMESPACE)
        lab.spawn_in("outside", argv("sink", "--port", str(SINK_PORT)), name="sink")
        lab.spawn_in("outside", argv("mouse_server", "--port", str(ASKED_PORT)), name="mouse-server")
        for number, kind in enumerate(_ARRIVALS):
            name = f"{'mouse' if kind == 'm' else 'elephant'}-{number}"
            request(lab.api, "POST", f"/api/v1/namespaces/{_NAMESPACE}/pods", body=_pod(name))
            _until_it_has_begun(lab, name)
        pods = request(lab.api, "GET", f"/api/v1/namespaces/{_NAMESPACE}/pods")["items"]
    found = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in pods}
    say(f"{placement}: {', '.join(f'{pod} on {node}' for pod, node in found.items())}")
    return found


def _pod(name: str) -> dict[str, Any]:
    declared = {POD_CLASS: str(TrafficClass.MOUSE)}
    if not is_mouse(name):
        declared = {POD_CLASS: str(TrafficClass.ELEPHANT), POD_EXPECTED_BANDWIDTH: "180M"}
    container = {
        "name": "traffic", "image": "traffic-footprint/lab-traffic", "command": pod_argv(name, EGRESS, 50.0),
        "resources": {"requests": {"cpu": "100m"}},
    }  # fmt: skip
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "annotations": declared},
        "spec": {
            "terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False, "containers": [container],
        },
    }  # fmt: skip


def _until_it_has_begun(lab: Lab, name: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not has_begun(lab.pod_log(_NAMESPACE, name)):
        if time.monotonic() > deadline:
            raise LabError(f"pod {name} has not begun after {_WAIT_SECONDS:g} s; its log says why (--keep FOLDER)")
        time.sleep(_PAUSE)
