# SPDX-License-Identifier: Apache-2.0
"""One turn in a lab of real nodes with the chart installed: pods arrive, are placed, and are asked from outside.

Enters: a lab whose agents measure, and a scheduler's name. Leaves: a Turn. Effects only: what arrives is in
``workloads``, what the programs print is read by ``results``. Guarantees: the turn's pods are gone afterwards.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from footprint.classes import TrafficClass
from footprint.cluster.client import request
from footprint.codec import decode
from footprint.keys import NODE_FOOTPRINT
from lab.bench.scheduler.real import programs, results, workloads
from lab.bench.scheduler.real.results import Latency, Turn
from lab.bench.scheduler.real.workloads import CACHE, SERVICES, WEB
from lab.errors import LabError
from lab.nodes.real import registry
from lab.nodes.real.cluster import RealLab
from lab.processes import Process

ELEPHANTS: Final = 2
_WAIT_SECONDS: Final = 120.0
_REQUESTS: Final = 100
"""Of one run of redis-benchmark."""
_PAUSE: Final = 1.0
"""Seconds between two runs: without a pause the client itself would fill a processor."""


def turn(
    lab: RealLab, scheduler: str, *,
    replicas: int = 2, seconds: float = 20.0, elephants: int = ELEPHANTS, number: int = 0,
) -> Turn:  # fmt: skip
    """Place ``elephants``, and ``replicas`` pods of each service, and measure for ``seconds``. Raises LabError.

    ``number`` tells turns of one scheduler in one lab apart. Call it from the control plane's network namespace,
    where the lab's registry takes the programs' image.
    """
    # Of the turn's own, so that nothing learned in one turn helps in another.
    namespace = f"bench-{scheduler}-{elephants}-{number}"
    registry.push(programs.image())
    lab.create_namespace(namespace)
    try:
        with _bulk_servers(lab, namespace, elephants) as servers:
            for first in range(min(elephants, 1)):
                _place_elephant(lab, first, namespace, scheduler)
            for service in SERVICES:
                _create(lab, workloads.deployment(service, namespace, scheduler, replicas))
            for service in SERVICES:
                lab.kubectl("-n", namespace, "rollout", "status", f"deployment/{service.name}", "--timeout=110s")
            for later in range(1, elephants):
                _place_elephant(lab, later, namespace, scheduler)
            return _measured(lab, scheduler, namespace, servers, seconds)
    finally:
        lab.kubectl("delete", "namespace", namespace, "--timeout=110s")


def _place_elephant(lab: RealLab, number: int, namespace: str, scheduler: str) -> None:
    _create(lab, workloads.bulk(number, namespace, scheduler))
    _until(lambda: _is_elephant(lab, namespace, number), f"elephant {number + 1} to be annotated")


def _measured(lab: RealLab, scheduler: str, namespace: str, servers: list[Process], seconds: float) -> Turn:
    pods = request(lab.api, "GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    begin = time.time()
    latencies = _ask(lab, namespace, pods, seconds)
    end = time.time()
    logs = [server.log.read_text() for server in servers]
    try:
        goodputs = tuple(results.goodput(log, begin, end) for log in logs)
    except ValueError as error:
        raise LabError(f"{error}; the servers' logs say why: {servers[0].log}") from error
    return Turn(
        scheduler, workloads.places(pods, workloads.MOUSE), workloads.places(pods, workloads.ELEPHANT),
        latencies, goodputs,
    )  # fmt: skip


@contextmanager
def _bulk_servers(lab: RealLab, namespace: str, count: int) -> Iterator[list[Process]]:
    """An iperf3 server outside the cluster for each elephant; a line a second with its time."""
    flags = ("--interval", "1", "--format", "k", "--forceflush", "--timestamps=%s ")
    servers = [
        lab.spawn_in(
            "outside",
            programs.outside("/usr/bin/iperf3", "--server", "--port", str(workloads.bulk_port(n)), *flags),
            name=f"iperf3-{namespace}-{n}",
        )
        for n in range(count)
    ]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def _ask(lab: RealLab, namespace: str, pods: list[dict[str, Any]], seconds: float) -> dict[str, Latency]:
    """Every service's latency: each of its pods is asked by a client of its own, all at once."""
    asked = {service: [p for p in pods if p["metadata"]["labels"]["app"] == service.name] for service in SERVICES}
    wrk = [
        lab.spawn_in("outside", _wrk(pod, seconds), name=f"wrk-{namespace}-{number}")
        for number, pod in enumerate(asked[WEB])
    ]
    outputs: dict[str, list[str]] = {pod["metadata"]["name"]: [] for pod in asked[CACHE]}
    deadline = time.monotonic() + seconds
    while True:
        for pod in asked[CACHE]:
            outputs[pod["metadata"]["name"]].append(_redis(lab, pod))
        if time.monotonic() >= deadline:
            break
        time.sleep(_PAUSE)
    for client in wrk:
        client.wait(seconds + _WAIT_SECONDS)
    try:
        return {
            CACHE.name: results.median([results.redis(runs) for runs in outputs.values()]),
            WEB.name: results.median([results.wrk(client.log.read_text()) for client in wrk]),
        }
    except ValueError as error:
        raise LabError(f"{error}; a client failed, see {lab.dir / 'logs'}") from error


def _redis(lab: RealLab, pod: Mapping[str, Any]) -> str:
    argv = programs.outside(
        "/usr/bin/redis-benchmark", "-h", pod["status"]["podIP"], "-p", str(CACHE.port),
        "-c", "1", "-n", str(_REQUESTS), "-t", "get", "--csv",
    )  # fmt: skip
    done = lab.exec_in("outside", argv, timeout=_WAIT_SECONDS)
    if done.returncode:
        raise LabError(f"redis-benchmark failed: {done.stderr.strip()}")
    return done.stdout


def _wrk(pod: Mapping[str, Any], seconds: float) -> list[str]:
    return programs.outside(
        "/usr/bin/wrk", "--threads", "1", "--connections", "1", "--duration", f"{max(seconds, 1):.0f}",
        "--timeout", "5", "--latency", "--script", programs.PACE_SCRIPT,
        f"http://{pod['status']['podIP']}:{WEB.port}/",
    )  # fmt: skip


def _create(lab: RealLab, manifest: Mapping[str, Any]) -> None:
    lab.kubectl("create", "-f", "-", input=json.dumps(manifest))


def _is_elephant(lab: RealLab, namespace: str, number: int) -> bool:
    """Whether its node says so of elephant ``number``."""
    for node in request(lab.api, "GET", "/api/v1/nodes")["items"]:
        annotation = node["metadata"].get("annotations", {}).get(NODE_FOOTPRINT)
        for pod in decode(annotation).pods if annotation else ():
            if (pod.ns, pod.name) == (namespace, f"{workloads.BULK}-{number}"):
                return pod.cls is TrafficClass.ELEPHANT and pod.el > 0
    return False


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"waited {_WAIT_SECONDS:g} s for {what}; see the logs (--keep FOLDER)")
        time.sleep(0.5)
