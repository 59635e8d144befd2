# SPDX-License-Identifier: Apache-2.0
"""Real traffic for the cluster tier: pods that run the lab's programs, and what the cluster says of them."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from footprint.codec import decode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import NodeFootprint, PodFootprint
from lab.lab import Lab
from lab.network.addresses import node_v4
from lab.programs import EXTENDER_URL

T = TypeVar("T")

ETHERNET_HEADER = 14
AGENT_PORT = 9101


def then_interface(argv: list[str]) -> list[str]:
    """``argv``, and afterwards the pod's own interface counters on its output."""
    return ["sh", "-c", '"$@"; cat /proc/net/dev', "sh", *argv]


def pod(
    name: str,
    command: list[str],
    *,
    node: str | None = None,
    annotations: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    selector: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """A pod that runs ``command``; ``node`` binds it without asking any scheduler."""
    spec: dict[str, Any] = {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "automountServiceAccountToken": False,
        "containers": [{"name": "main", "image": "none", "command": command}],
    }  # fmt: skip
    if node:
        spec["nodeName"] = node
    if selector:
        spec["nodeSelector"] = dict(selector)
    metadata = {"name": name, "annotations": dict(annotations or {}), "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def eventually(what: str, look: Callable[[], T | None], seconds: float = 30.0) -> T:
    """The first value of ``look`` that is true: an empty list is nothing yet. Fails the test when there is none in
    time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = look()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def get(cluster: Lab, *arguments: str) -> Any:
    """``kubectl get ... -o json``."""
    return json.loads(cluster.kubectl("get", *arguments, "-o", "json"))


def _listing(manifests: Sequence[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})


@contextmanager
def running(cluster: Lab, *manifests: dict[str, Any]) -> Iterator[None]:
    """Create, and whatever happens delete, waiting until the pods are gone."""
    listing = _listing(manifests)
    cluster.kubectl("apply", "-f", "-", input=listing)
    try:
        yield
    finally:
        cluster.kubectl("delete", "-f", "-", "--ignore-not-found", input=listing)
        eventually("pods are gone", lambda: not get(cluster, "pods")["items"])


@contextmanager
def created(cluster: Lab, *manifests: dict[str, Any]) -> Iterator[list[str]]:
    """Pods beside the module's; yields their names."""
    names = [manifest["metadata"]["name"] for manifest in manifests]
    cluster.kubectl("apply", "-f", "-", input=_listing(manifests))
    try:
        yield names
    finally:
        cluster.kubectl("delete", "pod", "--ignore-not-found", *names)


def footprint(cluster: Lab, node: str) -> NodeFootprint | None:
    """What ``node``'s annotation says now."""
    annotation = get(cluster, "node", node)["metadata"].get("annotations", {}).get(NODE_FOOTPRINT)
    return decode(annotation) if annotation else None


def measured(cluster: Lab, node: str, name: str) -> PodFootprint | None:
    """The pod called ``name`` in ``node``'s annotation."""
    shown = footprint(cluster, node)
    return next((p for p in shown.pods if p.name == name), None) if shown else None


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the lab's own addresses
        body: bytes = answer.read()
    return body.decode()


def metrics(url: str) -> dict[str, float]:
    """Samples of a Prometheus page by name and labels, as spelled there."""
    found = re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", _text(url), re.MULTILINE)
    return {name: float(value) for name, value in found}


def agent_metrics(index: int) -> dict[str, float]:
    """Of the agent of node ``index`` (1 is node1)."""
    return metrics(f"http://{node_v4(index)}:{AGENT_PORT}/metrics")


def owner_bytes(index: int, uid: str, direction: str) -> float:
    """What the agent of node ``index`` has counted for a pod."""
    return agent_metrics(index).get(
        f'traffic_footprint_agent_pod_traffic_bytes_total{{direction="{direction}",uid="{uid}"}}', 0.0
    )


def extender_metrics() -> dict[str, float]:
    return metrics(f"{EXTENDER_URL}/metrics")


def result(log: str) -> dict[str, Any] | None:
    """A traffic program's last line, once it is there."""
    for line in log.splitlines():
        if line.startswith("{") and '"result"' in line:
            value: dict[str, Any] = json.loads(line)
            return value
    return None


def interface_ip_bytes(log: str) -> tuple[int, int] | None:
    """IP bytes (transmitted, received) of the pod's eth0 from the ``/proc/net/dev`` at the end of its log."""
    match = re.search(r"^\s*eth0:\s*([\d ]+)$", log, re.MULTILINE)
    if match is None:
        return None
    fields = [int(field) for field in match[1].split()]
    return fields[8] - ETHERNET_HEADER * fields[9], fields[0] - ETHERNET_HEADER * fields[1]
