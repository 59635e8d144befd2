# SPDX-License-Identifier: Apache-2.0
"""Which workloads arrive in the demo's cluster, and when: pure.

Enters: a seed. Leaves: a timeline of manifests. Both schedulers meet the same pods in the same order:

1. History: elephant Jobs and a mouse of workloads that come again later. They run and end. What was measured of
   them predicts the later ones. Annotations of the template declare the others.
2. Arrivals: mice and elephants mixed in seeded order, about one a second.
3. A burst: several elephants at once, while the earlier ones still run.

Elephants send to a host outside the cluster as fast as TCP allows. Mice send small requests to a server outside at
a fixed rate, and each is timed from when it was due.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from footprint.classes import TrafficClass
from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH, POD_WORKLOAD

NAMESPACE = "demo"
KIND_LABEL = "demo.traffic-footprint.example/traffic"
PHASE_LABEL = "demo.traffic-footprint.example/phase"
Command = Callable[[float], list[str]]
"""Seconds to run → argv of a pod's container."""


@dataclass(frozen=True)
class Workload:
    """Copies of one pod."""

    name: str
    cls: TrafficClass
    replicas: int
    declared: dict[str, str] = field(default_factory=dict)
    """Annotations a user put on the template; empty: known from its history alone."""
    cpu: str = "100m"

    @property
    def is_elephant(self) -> bool:
        return self.cls is TrafficClass.ELEPHANT


@dataclass(frozen=True)
class WorkloadArrival:
    """One thing the user does, ``at`` seconds after the start."""

    at: float
    does: str
    manifests: tuple[dict[str, Any], ...] = ()
    ends: tuple[str, ...] = ()
    """Deployments that are scaled to nothing."""


@dataclass(frozen=True)
class Scenario:
    """Everything that decides a run; two runs of one Scenario differ by their scheduler alone."""

    seed: int = 1
    nodes: int = 8
    history_seconds: float = 14.0
    settle_seconds: float = 6.0
    """Between history and arrivals: its pods are gone, what they taught is published."""
    spacing: float = 1.2
    """Mean seconds between arrivals."""
    burst: int = 2
    """Elephants that arrive at once."""
    burst_after: float = 6.0
    measured_seconds: float = 30.0
    """From the burst to the end."""
    mice: tuple[Workload, ...] = (
        Workload("web", TrafficClass.MOUSE, 4, cpu="250m"),
        Workload("cart", TrafficClass.MOUSE, 3, {POD_CLASS: "mouse"}, cpu="250m"),
    )
    elephants: tuple[Workload, ...] = (
        Workload("backup", TrafficClass.ELEPHANT, 1),
        Workload("replica", TrafficClass.ELEPHANT, 1, {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "180M"}),
    )


def _template(workload: Workload, phase: str, command: list[str], restart: str) -> dict[str, Any]:
    return {
        "metadata": {
            "labels": {"app": workload.name, KIND_LABEL: str(workload.cls), PHASE_LABEL: phase},
            "annotations": {POD_WORKLOAD: workload.name, **workload.declared},
        },
        "spec": {
            "restartPolicy": restart,
            "terminationGracePeriodSeconds": 3,
            "automountServiceAccountToken": False,
            "containers": [
                {
                    "name": "traffic",
                    "image": "traffic-footprint/lab-traffic",
                    "command": command,
                    "resources": {"requests": {"cpu": workload.cpu, "memory": "64Mi"}},
                }
            ],
        },
    }


def deployment(workload: Workload, phase: str, command: list[str], replicas: int) -> dict[str, Any]:
    """A Deployment of ``replicas`` pods named after workload and phase."""
    labels = {"app": workload.name, PHASE_LABEL: phase}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": f"{workload.name}-{phase}", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": _template(workload, phase, command, "Always"),
        },
    }  # fmt: skip


def job(workload: Workload, phase: str, number: int, command: list[str]) -> dict[str, Any]:
    """A Job of one pod."""
    return {
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": f"{workload.name}-{phase}-{number}", "namespace": NAMESPACE},
        "spec": {"backoffLimit": 0, "template": _template(workload, phase, command, "Never")},
    }  # fmt: skip


def end_of(scenario: Scenario) -> float:
    """Seconds after the start at which everything is stopped."""
    return burst_at(scenario) + scenario.measured_seconds


def first_arrival(scenario: Scenario) -> float:
    return scenario.history_seconds + scenario.settle_seconds


def burst_at(scenario: Scenario) -> float:
    arrivals = sum(w.replicas for w in scenario.elephants) + len(scenario.mice)
    return first_arrival(scenario) + arrivals * scenario.spacing + scenario.burst_after


def _history(scenario: Scenario, mouse: Command, elephant: Command) -> list[WorkloadArrival]:
    length = scenario.history_seconds - 3.0
    known = [w for w in (*scenario.mice, *scenario.elephants) if not w.declared]
    return [
        WorkloadArrival(
            0.0,
            "history: earlier copies of " + ", ".join(w.name for w in known),
            tuple(
                manifest
                for w in known
                for manifest in (
                    [job(w, "history", n, elephant(length)) for n in range(scenario.burst)]
                    if w.is_elephant
                    else [deployment(w, "history", mouse(length), replicas=1)]
                )
            ),
        ),
        WorkloadArrival(
            scenario.history_seconds, "history ends",
            ends=tuple(f"{w.name}-history" for w in known if not w.is_elephant),
        ),
    ]  # fmt: skip


def _interleaved(scenario: Scenario, mouse: Command, elephant: Command) -> list[WorkloadArrival]:
    draw = random.Random(scenario.seed)
    units = [(w, number) for w in scenario.elephants for number in range(w.replicas)]
    units += [(w, 0) for w in scenario.mice]
    draw.shuffle(units)
    at, end, arrivals = first_arrival(scenario), end_of(scenario), []
    for workload, number in units:
        what = (
            job(workload, "day", number, elephant(end - at))
            if workload.is_elephant
            else deployment(workload, "day", mouse(end - at), workload.replicas)
        )
        size = "an elephant" if workload.is_elephant else f"{workload.replicas} mice"
        arrivals.append(WorkloadArrival(at, f"{workload.name}: {size}", (what,)))
        at += scenario.spacing * draw.uniform(0.5, 1.5)
    return arrivals


def timeline(scenario: Scenario, mouse: Command, elephant: Command) -> Sequence[WorkloadArrival]:
    """All arrivals in order of time. ``mouse`` and ``elephant`` give the commands of the pods."""
    at = burst_at(scenario)
    bursting = scenario.elephants[0]
    burst = WorkloadArrival(
        at,
        f"burst: {scenario.burst} elephants of {bursting.name} at once",
        tuple(job(bursting, "burst", n, elephant(end_of(scenario) - at)) for n in range(scenario.burst)),
    )
    arrivals = [*_history(scenario, mouse, elephant), *_interleaved(scenario, mouse, elephant), burst]
    return sorted(arrivals, key=lambda arrival: arrival.at)
