# SPDX-License-Identifier: Apache-2.0
"""Plays a scenario in a lab and measures it. Effects only; decisions are in ``scenario`` and ``results``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from footprint.cluster.client import MERGE_PATCH, request
from lab.demo.live import PAGE_ARGS, Live
from lab.demo.report import DRAIN_SECONDS, RunReport
from lab.demo.results import HISTORY, summarise
from lab.demo.scenario import NAMESPACE, PHASE_LABEL, Scenario, WorkloadArrival, end_of, timeline
from lab.demo.watcher import Watcher
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4
from lab.traffic import argv

SINK_PORT, MOUSE_PORT = 5001, 8080
_COLLECTIONS = {"Deployment": "/apis/apps/v1", "Job": "/apis/batch/v1"}
_END_SECONDS = 20.0
"""For the last results: elephants drain what they queued, mice wait for late answers."""

Say = Callable[[str], None]


def mouse(seconds: float) -> list[str]:
    """A mouse pod: 50 small requests a second, a fifth of them over a connection of their own."""
    return argv(
        "mouse", f"{OUTSIDE_V4}:{MOUSE_PORT}", "--rate", "50", "--new-share", "0.2", "--seconds", f"{seconds:.1f}",
        "--drain", f"{DRAIN_SECONDS:g}",
    )  # fmt: skip


def elephant(seconds: float) -> list[str]:
    """An elephant pod: two connections that send as fast as they can."""
    return argv("elephant", f"{OUTSIDE_V4}:{SINK_PORT}", "--connections", "2", "--seconds", f"{seconds:.1f}")


def _path(manifest: dict[str, Any]) -> str:
    kind = manifest["kind"]
    return f"{_COLLECTIONS[kind]}/namespaces/{NAMESPACE}/{kind.lower()}s"


def _play(lab: Lab, arrivals: Sequence[WorkloadArrival], say: Say) -> float:
    """Create everything at its time; returns the monotonic time of the start."""
    start = time.monotonic()
    for arrival in arrivals:
        time.sleep(max(0.0, start + arrival.at - time.monotonic()))
        say(f"{time.monotonic() - start:5.1f} s  {arrival.does}")
        for manifest in arrival.manifests:
            request(lab.api, "POST", _path(manifest), body=manifest)
        for name in arrival.ends:
            path = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}"
            request(lab.api, "PATCH", path, body={"spec": {"replicas": 0}}, content_type=MERGE_PATCH)
    return start


def _unfinished(lab: Lab) -> int:
    """Pods of the day that have not printed their result."""
    pods = request(lab.api, "GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    day = [p["metadata"] for p in pods if p["metadata"].get("labels", {}).get(PHASE_LABEL) != HISTORY]
    return sum('"result"' not in lab.pod_log(NAMESPACE, m["name"]) for m in day)


def _await_results(lab: Lab) -> None:
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline and _unfinished(lab):
        time.sleep(0.5)


@contextmanager
def _watching(lab: Lab) -> Iterator[Watcher]:
    watcher = Watcher(lab.api)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


def _servers(lab: Lab) -> None:
    lab.spawn_in("outside", argv("sink", "--port", str(SINK_PORT)), name="sink")
    lab.spawn_in("outside", argv("mouse_server", "--port", str(MOUSE_PORT)), name="mouse-server")


def run(
    scenario: Scenario, *, extender: bool, say: Say, keep: Path | None = None, link_stated: bool = True,
    live: Live | None = None,
) -> RunReport:  # fmt: skip
    """One run in a lab of its own: the scenario with the default scheduler, or with ours wired in.

    Agents run in both, so that both pay for them and report what they wrote. Without ``link_stated`` nobody tells
    them what links carry. ``live``: open the live page, and take a picture of it.
    """
    name = "extender" if extender else "default"
    config = LabConfig(
        nodes=scenario.nodes, extender=extender, link_stated=link_stated, keep_dir=keep / name if keep else None,
        extender_args=PAGE_ARGS if live else (),
    )  # fmt: skip
    arrivals = timeline(scenario, mouse, elephant)
    began = time.monotonic()
    with Lab(config) as lab:
        say(f"lab {lab.id}: {scenario.nodes} nodes up in {time.monotonic() - began:.1f} s")
        lab.create_namespace(NAMESPACE)
        _servers(lab)
        shown = live.beside(lab, extender=extender) if live else nullcontext()
        with shown, _watching(lab) as watcher:
            with live.pictures(lab, name, _elephants(arrivals)) if live else nullcontext():
                start = _play(lab, arrivals, say)
                time.sleep(max(0.0, start + end_of(scenario) - time.monotonic()))
            say(f"{time.monotonic() - start:5.1f} s  the end: collecting results")
            _await_results(lab)
            seconds = time.monotonic() - start
        seen = watcher.seen
        logs = {pod.name: lab.pod_log(NAMESPACE, pod.name) for pod in seen.pods.values()}
    return summarise(name, seen, logs, _expected(arrivals), seconds)


def _expected(arrivals: Sequence[WorkloadArrival]) -> int:
    day = [m for a in arrivals for m in a.manifests if _phase(m) != HISTORY]
    return sum(int(manifest["spec"].get("replicas", 1)) for manifest in day)


def _elephants(arrivals: Sequence[WorkloadArrival]) -> int:
    """Elephant pods of the day, which are Jobs."""
    day = [m for a in arrivals for m in a.manifests if _phase(m) != HISTORY]
    return sum(int(m["spec"].get("completions", 1)) for m in day if m["kind"] == "Job")


def _phase(manifest: dict[str, Any]) -> str:
    return str(manifest["spec"]["template"]["metadata"]["labels"][PHASE_LABEL])
