# SPDX-License-Identifier: Apache-2.0
"""Which pods arrive in a turn: pure.

Enters: a namespace and a scheduler. Leaves: manifests. Both schedulers meet the same pods in the same order: an
elephant that nobody declared, then declared mice, then the elephant's next copy. So the second elephant can be
known by what was measured of the first one alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from footprint.keys import POD_CLASS, POD_WORKLOAD
from lab.bench.scheduler.real.programs import NAME, NGINX_CONFIG
from lab.network.addresses import OUTSIDE_V4

KIND_LABEL: Final = "bench.traffic-footprint.example/traffic"
MOUSE: Final = "mouse"
ELEPHANT: Final = "elephant"
BULK: Final = "bulk"
"""The elephants' workload."""
_BULK_PORT: Final = 5201


@dataclass(frozen=True)
class Service:
    """A service whose every request is small."""

    name: str
    command: tuple[str, ...]
    port: int


CACHE: Final = Service("cache", ("redis-server", "--save", "", "--protected-mode", "no", "--port", "6379"), 6379)
WEB: Final = Service("web", ("nginx", "-c", NGINX_CONFIG), 8080)
SERVICES: Final = (CACHE, WEB)


def deployment(service: Service, namespace: str, scheduler: str, replicas: int) -> dict[str, Any]:
    """``replicas`` pods of ``service``, declared mice."""
    labels = {"app": service.name, KIND_LABEL: MOUSE}
    container = {
        "name": service.name, "image": NAME, "command": list(service.command),
        "readinessProbe": {"tcpSocket": {"port": service.port}, "periodSeconds": 1},
    }  # fmt: skip
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": service.name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": service.name}},
            "template": {
                "metadata": {"labels": labels, "annotations": {POD_CLASS: MOUSE}},
                "spec": _spec(container, scheduler),
            },
        },
    }  # fmt: skip


def bulk_port(number: int) -> int:
    """Where elephant ``number`` sends to: an iperf3 server serves one client at a time."""
    return _BULK_PORT + number


def bulk(number: int, namespace: str, scheduler: str) -> dict[str, Any]:
    """Elephant ``number`` of the workload: it sends as fast as TCP lets it until it is deleted."""
    command = ["iperf3", "--client", OUTSIDE_V4, "--port", str(bulk_port(number)), "--time", "86400"]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": f"{BULK}-{number}", "namespace": namespace,
            "labels": {"app": BULK, KIND_LABEL: ELEPHANT}, "annotations": {POD_WORKLOAD: BULK},
        },
        "spec": _spec({"name": BULK, "image": NAME, "command": command}, scheduler),
    }  # fmt: skip


def _spec(container: Mapping[str, Any], scheduler: str) -> dict[str, Any]:
    requests = {"cpu": "50m", "memory": "32Mi"}
    return {
        "schedulerName": scheduler,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "containers": [{**container, "resources": {"requests": requests}}],
    }


def places(pods: Sequence[Mapping[str, Any]], kind: str) -> dict[str, str]:
    """Name to node, of the pods of a kind that are placed and not being deleted."""
    return {
        pod["metadata"]["name"]: pod["spec"]["nodeName"]
        for pod in pods
        if pod["metadata"].get("labels", {}).get(KIND_LABEL) == kind
        and pod["spec"].get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
    }
