# SPDX-License-Identifier: Apache-2.0
"""Extenders beside a lab's control plane, and what both sides count: for tests that break one of them.

No agents and no traffic: footprints are written by the test, and pods are bound but never run (they have no
command), so that hundreds of them cost little.
"""

from __future__ import annotations

import json
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from prometheus_client.parser import text_string_to_metric_families

from footprint.cluster.client import MERGE_PATCH, ApiError, request
from footprint.keys import DEFAULT_NAMESPACE, NODE_FOOTPRINT, POD_CLASS, lease_name
from lab.lab import Lab
from lab.processes import Process
from lab.programs import EXTENDER_PORT
from tests.cluster.conftest import running
from tests.cluster.support import workloads
from tests.extender.builders import M, annotation, elephant, pod_json

T = TypeVar("T")

PATIENT = ("--stale-after", "3600", "--deadline", "10")
"""Flags for tests of other things: on a slow machine nothing may become stale, and no answer late, by itself."""
SCHEDULER = {"httpTimeout": "30s"}
"""For kube-scheduler, likewise."""
FAILED_CALLS = ("Skipping extender as it returned error", "Failed to run extender's priority function")
"""What kube-scheduler logs of a call that failed; the second with ``TELLING`` only."""
TELLING = ("--vmodule=schedule_one=5",)

MOUSE = {POD_CLASS: "mouse"}
PODS = "/api/v1/namespaces/default/pods"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{DEFAULT_NAMESPACE}/leases"
_DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
_PREFIX = "traffic_footprint_extender_"


a_lab = contextmanager(running)
"""A lab that is gone at the end of the block, also when something in it fails."""


def eventually(what: str, look: Callable[[], T | None], seconds: float = 120) -> T:
    """As in ``workloads``, for what takes long on a machine that is busy with other things."""
    return workloads.eventually(what, look, seconds)


class Page:
    """A Prometheus page at one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples called ``name`` that have these ``labels``."""
        found = (s for s in self._samples if s.name == name and labels.items() <= s.labels.items())
        return sum(sample.value for sample in found)


def read(url: str) -> str:
    """What GET answers. Raises OSError."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the lab's own addresses
        body: bytes = answer.read()
    return body.decode()


@dataclass
class Replica:
    """A running extender."""

    process: Process
    port: int
    pages_port: int
    """Where its pages are without TLS."""

    @property
    def ready(self) -> bool:
        try:
            return read(f"http://127.0.0.1:{self.pages_port}/readyz") == "ok"
        except OSError:
            return False

    @property
    def page(self) -> Page:
        return Page(read(f"http://127.0.0.1:{self.pages_port}/metrics"))

    def count(self, name: str, **labels: str) -> float:
        """Of a metric of the extender, by its name without the prefix."""
        return self.page.total(_PREFIX + name, **labels)

    def post(self, verb: str, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body).encode()
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/{verb}", data)
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - the lab's own addresses
            return json.loads(answer.read())

    def rejects(self, lab: Lab) -> set[str]:
        """Nodes that a mouse is kept off."""
        answer = self.post("filter", mouse_request(lab.node_names))
        return set(answer["FailedAndUnresolvableNodes"] or ())

    def answered(self) -> dict[str, int]:
        """What it says in its log's last line that it has answered; for when it has ended."""
        last: dict[str, Any] = json.loads(self.process.log.read_text().splitlines()[-1])
        assert last["event"] == "stopped", last
        counts: dict[str, int] = last["answered"]
        return counts


def mouse_request(names: Sequence[str]) -> dict[str, Any]:
    pod = pod_json("asked", uid="asked", annotations=MOUSE, owner=None)
    return {"Pod": pod, "NodeNames": list(names)}


@contextmanager
def extender(
    lab: Lab, name: str = "extender-a", port: int = EXTENDER_PORT, pages_port: int = 0,
    flags: Sequence[str] = PATIENT, *, env: Mapping[str, str] | None = None,
) -> Iterator[Replica]:  # fmt: skip
    """A replica that is ready; ended afterwards, if it still runs."""
    replica = begin(lab, name, port, pages_port, flags, env=env)
    try:
        yield replica
    finally:
        replica.process.send(signal.SIGCONT)
        replica.process.stop(signal.SIGKILL)


def begin(
    lab: Lab, name: str, port: int, pages_port: int = 0, flags: Sequence[str] = PATIENT,
    *, env: Mapping[str, str] | None = None,
) -> Replica:  # fmt: skip
    """A replica that is ready, and the caller's to end."""
    pages = ("--metrics-port", str(pages_port)) if pages_port else ()
    process = lab.start_replica(name, port, (*flags, *pages), env=env)
    replica = Replica(process, port, pages_port or port)
    process.wait_ready(lambda: replica.ready, 60)
    return replica


# The cluster.


def send(lab: Lab, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    """``request``, tried again while the API server is too busy; what is there or gone already is as asked for."""
    done = {"POST": HTTPStatus.CONFLICT, "DELETE": HTTPStatus.NOT_FOUND}.get(method)
    answers: list[dict[str, Any]] = []

    def accepted() -> bool:
        try:
            answers.append(request(lab.api, method, path, **arguments, timeout=(10, 60)))
        except ApiError as error:
            if error.status == done:
                answers.append({})
            elif 0 < error.status < HTTPStatus.INTERNAL_SERVER_ERROR and error.status != 429:
                raise
        return bool(answers)

    eventually(f"{method} {path} is answered", accepted)
    return answers[0]


def publish(lab: Lab, node: str, *busy_pods: str, tx: float = 190 * M) -> None:
    """Write ``node``'s footprint, each of ``busy_pods`` an elephant that sends ``tx`` bit/s, and its Lease."""
    footprint = annotation(*(elephant(uid, tx) for uid in busy_pods))
    patch(lab, f"/api/v1/nodes/{node}", {"metadata": {"annotations": {NODE_FOOTPRINT: footprint}}})
    lease = {"metadata": {"name": lease_name(node)}, "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}
    send(lab, "POST", _LEASES, body=lease)


def renew(lab: Lab, node: str, moment: str) -> None:
    """Write ``moment`` as the Lease's renewTime."""
    patch(lab, f"{_LEASES}/{lease_name(node)}", {"spec": {"renewTime": moment}})


def patch(lab: Lab, path: str, body: Mapping[str, Any]) -> None:
    send(lab, "PATCH", path, body=dict(body), content_type=MERGE_PATCH)


def bound(lab: Lab, app: str) -> dict[str, str]:
    """Names of the app's pods → their nodes; empty for those that have none."""
    found = send(lab, "GET", PODS, query={"labelSelector": f"app={app}"})["items"]
    return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in found}


def all_bound(lab: Lab, app: str, count: int) -> dict[str, str]:
    """The nodes of the app's pods, once there are ``count`` and each has one."""

    def look() -> dict[str, str] | None:
        nodes = bound(lab, app)
        return nodes if len(nodes) == count and all(nodes.values()) else None

    return eventually(f"{count} pods of {app} are bound", look, 240)


def _template(app: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": app}, "annotations": dict(annotations)},
        "spec": {
            "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
            "containers": [{"name": "main", "image": "none"}],
        },
    }  # fmt: skip


@contextmanager
def at_once(lab: Lab, app: str, count: int, annotations: Mapping[str, str], **spec: Any) -> Iterator[None]:
    """``count`` pods of nobody, so that kube-scheduler does not spread them for being alike; gone afterwards."""
    template = _template(app, annotations)
    for number in range(count):
        metadata = {**template["metadata"], "name": f"{app}-{number}"}
        send(lab, "POST", PODS, body={"metadata": metadata, "spec": {**template["spec"], **spec}})
    try:
        yield
    finally:
        lab.kubectl("delete", "pods", "-l", f"app={app}", "--wait=false")
        gone(lab, app)


@contextmanager
def burst(lab: Lab, app: str, count: int, annotations: Mapping[str, str] = MOUSE) -> Iterator[None]:
    """``count`` pods at once, by a Deployment; gone afterwards."""
    spec = {"replicas": count, "selector": {"matchLabels": {"app": app}}, "template": _template(app, annotations)}
    send(lab, "POST", _DEPLOYMENTS, body={"metadata": {"name": app}, "spec": spec})
    try:
        yield
    finally:
        query = {"propagationPolicy": "Foreground"}
        send(lab, "DELETE", f"{_DEPLOYMENTS}/{app}", query=query)
        gone(lab, app)


def scale(lab: Lab, app: str, count: int) -> None:
    """More pods of a burst."""
    patch(lab, f"{_DEPLOYMENTS}/{app}", {"spec": {"replicas": count}})


def gone(lab: Lab, app: str) -> None:
    eventually(f"pods of {app} are gone", lambda: not bound(lab, app))


class Creation:
    """Pods created one by one, in a thread of its own that tries again until the API has each of them.

    After the first ``pause_after`` it waits for ``go_on``.
    """

    def __init__(self, lab: Lab, app: str, count: int, pause_after: int) -> None:
        self._lab, self.app, self.count, self._pause_after = lab, app, count, pause_after
        self.go_on = threading.Event()
        self.created: list[str] = []
        self.refusals = 0
        """Attempts that failed."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        for number in range(self.count):
            if number == self._pause_after:
                self.go_on.wait()
            self._create(f"{self.app}-{number}")

    def _create(self, name: str) -> None:
        template = _template(self.app, MOUSE)
        body = {"metadata": {**template["metadata"], "name": name}, "spec": template["spec"]}
        while not self._stop.is_set():
            try:
                request(self._lab.api, "POST", PODS, body=body)
            except ApiError as error:
                if error.status != HTTPStatus.CONFLICT:  # it is there: the answer was lost, not the pod
                    self.refusals += 1
                    self._stop.wait(0.1)
                    continue
            self.created.append(name)
            return

    def __enter__(self) -> Creation:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.go_on.set()
        self._thread.join(60)
        self._lab.kubectl("delete", "pods", "-l", f"app={self.app}", "--wait=false")
        gone(self._lab, self.app)


@dataclass(frozen=True)
class Scheduler:
    """kube-scheduler's counters and complaints since a moment."""

    lab: Lab
    attempts: Mapping[str, float]
    logged: int

    @classmethod
    def now(cls, lab: Lab) -> Scheduler:
        return cls(lab, _attempts(lab), len(_log(lab)))

    def since(self) -> dict[str, float]:
        """Attempts to place a pod since then, by result."""
        return {result: count - self.attempts[result] for result, count in _attempts(self.lab).items()}

    def failed_calls(self) -> list[str]:
        """Its log lines since then about the extender's failures."""
        return [line for line in _log(self.lab)[self.logged :] if any(text in line for text in FAILED_CALLS)]


def _attempts(lab: Lab) -> dict[str, float]:
    page = Page(lab.scheduler_metrics())
    results = ("scheduled", "unschedulable", "error")
    return {result: page.total("scheduler_schedule_attempts_total", result=result) for result in results}


def _log(lab: Lab) -> list[str]:
    return lab.logs("kube-scheduler").read_text().splitlines()
