# SPDX-License-Identifier: Apache-2.0
"""A cluster for benchmarks of the extender: many annotated nodes, computed, the same in every run.

Enters: numbers of nodes and pods. Leaves: Nodes, Leases and Pods in the API's form. Each node has some elephants
and mice, so that links differ as in a busy cluster.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from footprint.classes import TrafficClass
from footprint.cluster import paths
from footprint.codec import encode
from footprint.keys import NODE_FOOTPRINT, lease_name
from footprint.models import LinkRates, NodeFootprint, PodFootprint

LINK: Final = 10e9
WORKLOADS: Final = 200
"""Deployments. Each has one class, and pods are spread over them."""
_ELEPHANTS: Final = 40
"""How many of the workloads are elephants."""


def node_name(number: int) -> str:
    """A name as long as those of managed clusters."""
    return f"gke-prod-pool-{number % 7}-{number * 2654435761 % 2**32:08x}-{number:04d}"


def workload(number: int) -> tuple[str, TrafficClass]:
    """Name and class of a pod's workload."""
    index = number * 7919 % WORKLOADS
    return f"service-{index}", TrafficClass.ELEPHANT if index < _ELEPHANTS else TrafficClass.MOUSE


def _pod(node: int, slot: int, draw: random.Random) -> PodFootprint:
    number = node * 31 + slot
    name, cls = workload(number)
    # Pods of an elephant workload send on every tenth node only. Elsewhere they are idle.
    if cls is TrafficClass.ELEPHANT and node % 10:
        cls = TrafficClass.QUIET
    rate = draw.choice((0.2e9, 0.8e9, 2e9, 4e9)) if cls is TrafficClass.ELEPHANT else 0.0
    return PodFootprint(
        uid=pod_uid(node, slot), ns="production", name=f"{name}-5d8f7c9b6d-{number % 99999:05d}",
        wl=f"Deployment/{name}", cls=cls, tx=max(rate, 2e6), rx=1e6, etx=rate, el=int(rate > 0),
        nf=draw.choice((0.5, 3.0, 20.0)), ms=0.95,
    )  # fmt: skip


def pod_uid(node: int, slot: int) -> str:
    return f"{node:08x}-{slot:04x}-4000-8000-000000000000"


def footprint(node: int, pods: int) -> NodeFootprint:
    """What node number ``node`` publishes."""
    draw = random.Random(node)
    shown = tuple(_pod(node, slot, draw) for slot in range(pods))
    elephants = LinkRates(min(sum(pod.etx for pod in shown), LINK), 0.0)
    return NodeFootprint(src="ebpf-fentry", cap=LinkRates(LINK, LINK), pods=shown, el=elephants)


def node_object(number: int, pods: int) -> dict[str, Any]:
    """A Node with its footprint annotation and nothing else."""
    text = encode(footprint(number, pods)).text
    metadata = {"name": node_name(number), "resourceVersion": "1", "annotations": {NODE_FOOTPRINT: text}}
    return {"kind": "Node", "apiVersion": "v1", "metadata": metadata}


def lease_object(number: int) -> dict[str, Any]:
    metadata = {"name": lease_name(node_name(number)), "resourceVersion": "1", "namespace": "traffic-footprint"}
    spec = {"renewTime": "2026-01-01T00:00:00.000000Z"}
    return {"kind": "Lease", "apiVersion": paths.LEASE_API, "metadata": metadata, "spec": spec}


def pod_object(number: int, *, uid: str, node: str = "", phase: str = "Pending") -> dict[str, Any]:
    """A Pod of one of the workloads, 3 kB long, as of a small Deployment."""
    name, _ = workload(number)
    owner = {
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-5d8f7c9b6d", "controller": True,
        "blockOwnerDeletion": True, "uid": "3b1c5d0e-0000-4000-8000-000000000000",
    }  # fmt: skip
    container = {
        "name": "main", "image": f"registry.example/{name}:1.42.0", "imagePullPolicy": "IfNotPresent",
        "env": [{"name": f"SETTING_{index}", "value": "x" * 24} for index in range(16)],
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 10},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/token", "readOnly": True}],
    }  # fmt: skip
    metadata = {
        "name": f"{name}-5d8f7c9b6d-{number % 99999:05d}", "generateName": f"{name}-5d8f7c9b6d-",
        "namespace": "production", "uid": uid, "resourceVersion": "1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"app": name, "pod-template-hash": "5d8f7c9b6d", "team": "payments"},
        "annotations": {"prometheus.io/scrape": "true", "checksum/config": "0" * 64},
        "ownerReferences": [owner],
        "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": {
            f"f:field-{index}": {} for index in range(30)}}],
    }  # fmt: skip
    spec: dict[str, Any] = {
        "containers": [container],
        "schedulerName": "default-scheduler",
        "serviceAccount": name,
    }
    if node:
        spec["nodeName"] = node
    conditions = [{"type": kind, "status": "True"} for kind in ("Initialized", "Ready", "PodScheduled")]
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, "conditions": conditions}}


def nodes(count: int, pods: int) -> Iterator[dict[str, Any]]:
    """``count`` Nodes with ``pods`` measured pods each."""
    return (node_object(number, pods) for number in range(count))
