# SPDX-License-Identifier: Apache-2.0
"""The kubelet of a release's extender and kube-scheduler pods, played: started, called ready, ended as asked.

Enters: a release whose pods go to the node ``PLAYED``, which the lab's own stand-in for kubelets does not know: it
calls ready whatever runs, and asks no probe. Leaves: containers as processes, each in the network namespace of
another of the lab's nodes (they want the same ports), and pods whose status says what a kubelet would. Service
addresses lead to those that are ready, by the real EndpointSlices and the lab's own rules. What an image takes to
arrive is a setting: it is what would be missed if something were taken away before its successor is there.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from footprint.cluster.client import ApiError, request
from lab.controlplane.plane import answers
from lab.errors import LabError
from lab.network.addresses import MAX_NODES, node_v4
from lab.nodes import status
from lab.nodes.plan import Placement, plan_of
from lab.nodes.registration import NodeDescription, Registrar
from lab.processes import Process
from tests.cluster.support.releases import NAME, Release

READINESS: Final = {"extender": "http://{}:8891/readyz", "scheduler": "https://{}:10259/healthz"}
"""What the chart's probes ask, by component."""
PLAYED: Final = "played"
LOOK_SECONDS: Final = 0.2
_NODE: Final = NodeDescription(PLAYED, MAX_NODES)
PODS: Final = f"/api/v1/namespaces/{NAME}/pods"


@dataclass
class Played:
    """A pod's container."""

    component: str
    index: int
    """Of the node in whose network namespace it is."""
    process: Process
    ready: bool = False
    ending: bool = False


class Runtime:
    """Plays while the block lasts; at its end every container is ended in order."""

    def __init__(self, release: Release, nodes: int) -> None:
        self._release, self._nodes, self._api = release, nodes, release.lab.api
        self.pull_seconds = 0.0
        """Between a pod's binding and its container's start."""
        self.played: dict[str, Played] = {}
        """Every container that was started, by its pod's name; ended ones too."""
        self.trouble = ""
        """What went wrong last, for whoever waits in vain."""
        self._bound: dict[str, float] = {}
        self._stop = threading.Event()
        alive = Registrar(self._api, [_NODE])
        self._threads = [
            threading.Thread(target=alive.run, args=(self._stop,), daemon=True),
            threading.Thread(target=self._run, daemon=True),
        ]

    def of(self, component: str) -> list[Process]:
        """Every container of a component, in the order of their starts."""
        return [played.process for played in self.played.values() if played.component == component]

    def running(self) -> dict[str, int]:
        """How many containers run, by component."""
        return {c: sum(process.running for process in self.of(c)) for c in READINESS}

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            try:
                self._look()
            except (ApiError, LabError, OSError) as error:  # looked at again in a moment
                self.trouble = str(error)
        for played in self.played.values():
            played.process.send(signal.SIGTERM)
        for played in self.played.values():
            played.process.stop(0, 30)

    def _look(self) -> None:
        query = {"fieldSelector": f"spec.nodeName={PLAYED}"}
        for pod in request(self._api, "GET", PODS, query=query)["items"]:
            name, component = pod["metadata"]["name"], pod["metadata"]["labels"]["app.kubernetes.io/component"]
            if component not in READINESS:
                continue
            played = self.played.get(name)
            since = self._bound.setdefault(name, time.monotonic())
            if "deletionTimestamp" in pod["metadata"]:
                self._end(pod, played)
            elif played is not None:
                self._probe(pod, played)
            elif time.monotonic() - since >= self.pull_seconds:
                self._begin(pod, component)

    def _begin(self, pod: dict[str, Any], component: str) -> None:
        taken = {p.index for p in self.played.values() if p.component == component and p.process.running}
        index = next(i for i in range(1, self._nodes + 1) if i not in taken)
        address = self._release.get("service", "-extender")["spec"]["clusterIP"]
        process = self._release.run(pod, f"node{index}", address)
        self.played[pod["metadata"]["name"]] = Played(component, index, process)

    def _probe(self, pod: dict[str, Any], played: Played) -> None:
        if played.ready or not answers(READINESS[played.component].format(node_v4(played.index)), None)():
            return
        placement = Placement((node_v4(played.index),), _NODE.ips)
        facts = status.Facts(placement, time.time(), status.Running(time.time()))
        plan = plan_of(pod)
        request(
            self._api, "PATCH", f"{plan.path}/status", body=status.patch(plan, facts),
            content_type="application/strategic-merge-patch+json",
        )  # fmt: skip
        played.ready = True

    def _end(self, pod: dict[str, Any], played: Played | None) -> None:
        """Ask it to end, once; when it has, its pod is gone."""
        if played is not None and played.process.running:
            if not played.ending:
                played.process.send(signal.SIGTERM)
            played.ending = True
            return
        request(self._api, "DELETE", plan_of(pod).path, body={"gracePeriodSeconds": 0})

    def __enter__(self) -> Runtime:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(120)
        self._release.containers.clear()
