# SPDX-License-Identifier: Apache-2.0
"""An upgrade and a rollback replace both sides of a release while pods are created: none of them waits for it.

Real Helm, API server, controllers and kube-schedulers; the chart's pods run as ``tests.cluster.support.runtime``
does it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import pytest

from footprint.cluster.client import ApiError, request
from lab import manifests
from lab.errors import LabError
from lab.lab import Lab, LabConfig
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.releases import NAME, VALUES, Release, merged
from tests.cluster.support.replicas import FAILED_CALLS, PODS, TELLING, Replica
from tests.cluster.support.runtime import PLAYED, READINESS, Runtime
from tests.cluster.support.workloads import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

NODES: Final = 6
EVERY_SECONDS: Final = 0.4
PULL_SECONDS: Final = 40.0
"""What a new pod's image takes to arrive: what pods would wait if their only kube-scheduler left before."""
LONGEST_SECONDS: Final = 20.0
"""For the longest wait. A kube-scheduler that ends in order gives its Lease back, and the next one looks for it
every 2 to 4.4 s. Half of ``PULL_SECONDS``, and room for a machine that is busy with other things."""

_ONE: Final = {
    "replicas": 1,
    "podDisruptionBudget": {"enabled": False},
    "nodeSelector": {"kubernetes.io/hostname": PLAYED},
}
# One of each: whoever is replaced is the only one. The times are for slow machines: no call may be late by itself.
ALONE: Final[dict[str, Any]] = {
    "extender": {**_ONE, "settings": {"deadline": 5, "staleAfter": 3600}},
    "scheduler": {**_ONE, "httpTimeout": "10s", "extraArgs": ["--v=2", *TELLING]},
}
NEXT: Final[dict[str, Any]] = {
    "extender": {"settings": {"placement": "score"}},
    "scheduler": {"profile": {"percentageOfNodesToScore": 100}},
}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The chart with one extender and one kube-scheduler; nothing of the lab's own installation."""
    config = LabConfig(nodes=NODES, agents=False, extender=False, keep_dir=logs_of("test_upgrade"))
    for lab in running(config):
        lab.kubectl("delete", "-k", str(manifests.BASE), "--wait", "--timeout=120s")
        made = Release(lab, tmp_path_factory.mktemp("upgrade"), {})
        values = merged(VALUES, ALONE)
        done = made.helm("install", NAME, str(manifests.CHART), "--create-namespace", values=values)
        assert done.returncode == 0, done.stderr
        yield made


class PodStream:
    """Pods for the release's kube-scheduler, one after the other while the block lasts. They never run."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.created = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_SECONDS):
            spec = {
                "schedulerName": NAME, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False,
                "containers": [{"name": "main", "image": "none"}],
            }  # fmt: skip
            metadata = {"name": f"stream-{self.created}", "labels": {"app": "stream"}}
            with suppress(ApiError):  # one that is not there is created in the next round
                request(self._lab.api, "POST", PODS, body={"metadata": metadata, "spec": spec})
                self.created += 1

    def __enter__(self) -> PodStream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


def stream_of(lab: Lab) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = request(lab.api, "GET", PODS, query={"labelSelector": "app=stream"})["items"]
    return found


def waited(pod: dict[str, Any]) -> float:
    """Seconds from its creation to its binding, as the API server wrote them down: each a whole second."""
    [bound] = [c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled" and c["status"] == "True"]
    begin, end = pod["metadata"]["creationTimestamp"], bound["lastTransitionTime"]
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def replaced(release: Release, runtime: Runtime, count: int) -> None:
    """Until ``count`` of each component have been started in all, and all but the last have ended in order."""
    for component in READINESS:
        try:
            rollout = f"deployment/{NAME}-{component}"
            release.lab.kubectl("-n", NAME, "rollout", "status", rollout, "--timeout=110s")
        except LabError as error:
            raise AssertionError(f"{error}; the runtime: {runtime.trouble or 'no trouble'}") from error
    eventually("the old ones have ended", lambda: set(runtime.running().values()) == {1}, 60)
    for component in READINESS:
        started = runtime.of(component)
        assert len(started) == count, component
        assert [process.returncode for process in started] == [0] * (count - 1) + [None], component


def test_no_pod_waits_while_an_upgrade_and_a_rollback_replace_both_sides(release: Release) -> None:
    lab = release.lab
    with Runtime(release, NODES) as runtime:
        replaced(release, runtime, 1)
        runtime.pull_seconds = PULL_SECONDS
        with PodStream(lab) as stream:
            eventually("the release places pods", lambda: any(p["spec"].get("nodeName") for p in stream_of(lab)))
            release.upgrade(merged(ALONE, NEXT))
            replaced(release, runtime, 2)
            done = release.helm("rollback", NAME, "1")
            assert done.returncode == 0, done.stderr
            replaced(release, runtime, 3)
            last = stream.created
            eventually("the last one of each has worked", lambda: stream.created >= last + 10)
        assert stream.created >= 2 * PULL_SECONDS / EVERY_SECONDS / 4, "pods were created all the while"
        eventually("every pod is bound", lambda: all(p["spec"].get("nodeName") for p in stream_of(lab)), 60)
    pods = stream_of(lab)
    assert len(pods) == stream.created
    longest = max(pods, key=waited)
    assert waited(longest) < LONGEST_SECONDS, longest["metadata"]["name"]

    logs = [process.log.read_text() for process in runtime.of("scheduler")]
    assert all("Successfully acquired lease" in log for log in logs), "each of them led"
    assert [line for log in logs for line in log.splitlines() if any(text in line for text in FAILED_CALLS)] == []
    answered = [Replica(process, 0, 0).answered() for process in runtime.of("extender")]
    assert all(counts.get("filter ok", 0) >= 1 for counts in answered), answered
    assert sum(counts["filter ok"] for counts in answered) >= stream.created, "every pod was asked about"
    assert set().union(*answered) == {"filter ok", "prioritize ok"}, "nothing late, shed or failed"
