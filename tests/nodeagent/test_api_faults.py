# SPDX-License-Identifier: Apache-2.0
"""Whatever a request ends in, the threads that write, renew and report go on."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from footprint.cluster.client import ApiError
from footprint.keys import POD_CLASS
from footprint.models import LinkRates, NodeFootprint
from footprint.token_bucket import TokenBucket
from nodeagent.node.pods import LocalPod, decode_pod
from nodeagent.publishing import events, heartbeat
from nodeagent.publishing import node_writer as kubernetes_writer
from nodeagent.publishing.events import BURST, EventReporter
from nodeagent.publishing.heartbeat import Heartbeat
from nodeagent.publishing.node_writer import NodeWriter

API: Any = object()


class Unforeseen(Exception):  # noqa: N818 - a stand-in for what nobody thought of
    """No failure that these modules know."""


class Server:
    """Fails with what is in ``failures``, one a request, then answers."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.asked: list[Any] = []
        self._changed = threading.Condition()

    def __call__(
        self, _api: Any, _method: str, _path: str, *, body: Any = None, **_options: Any
    ) -> dict[str, Any]:
        with self._changed:
            self.asked.append(body)
            self._changed.notify_all()
            if self._failures:
                raise self._failures.pop(0)
        return {"metadata": {"uid": "node-uid"}}

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.asked) >= count, 10)


def footprint(rate: float) -> NodeFootprint:
    return NodeFootprint(src="t", cap=LinkRates(1e9, 1e9), el=LinkRates(rate, 0))


def share(body: Any) -> str:
    return str(body["metadata"]["annotations"]["traffic-footprint.io/elephant-share"])


def test_a_write_is_repeated_whatever_it_failed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        kubernetes_writer, "request", Server(Unforeseen("?"), ApiError(0, "away"), Unforeseen("?"))
    )
    monkeypatch.setattr(kubernetes_writer, "backoff", lambda _attempt: 0.01)
    writer = NodeWriter(API, "n1")
    writer.start()
    writer.submit(footprint(1e8))
    assert writer.published.wait(10)
    assert (writer.writes, writer.errors) == (1, 3)
    assert writer.close(5)


def test_a_footprint_that_comes_between_the_choice_of_the_write_and_the_stop_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    monkeypatch.setattr(kubernetes_writer, "request", server)
    writer = NodeWriter(API, "n1")
    choose, closed = writer._next, threading.Event()
    closing: list[bool] = []

    def chosen_just_before_the_stop() -> Any:
        choice = choose()
        if not closed.is_set():
            writer.submit(footprint(3e8))
            stop = threading.Thread(target=lambda: closing.append(writer.close(10)))
            stop.start()
            while not writer._closing:
                pass
            closed.set()
        return choice

    monkeypatch.setattr(writer, "_next", chosen_just_before_the_stop)
    writer.submit(footprint(1e8))
    writer.start()
    assert closed.wait(10)
    writer._thread.join(10)
    assert [share(body) for body in server.asked] == ["10", "30"]
    assert writer.pending_age() == 0.0


def test_a_lease_is_renewed_again_whatever_a_renewal_failed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(Unforeseen("?"), ApiError(404, "absent"), Unforeseen("?"))
    monkeypatch.setattr(heartbeat, "request", server)
    monkeypatch.setattr(heartbeat, "backoff", lambda _attempt: 0.01)
    heart = Heartbeat(API, node="n1", namespace="ns", renew=60, may_renew=lambda: True)
    published, stop = threading.Event(), threading.Event()
    published.set()
    heart.start(published, stop)
    server.wait_for(4)
    stop.set()
    assert heart.errors == 2


def whale(uid: str) -> LocalPod:
    return decode_pod({"metadata": {"uid": uid, "namespace": "d", "name": uid, "annotations": {POD_CLASS: uid}}})


def test_the_next_value_is_told_whatever_an_event_failed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(Unforeseen("?"))
    monkeypatch.setattr(events, "request", server)
    reporter = EventReporter(API, "n1")
    reporter.start()
    reporter.offer([whale("a")])
    server.wait_for(1)
    reporter.offer([whale("a"), whale("b")])
    server.wait_for(2)
    assert reporter.errors == 1
    assert server.asked[1]["regarding"]["uid"] == "b"


def test_a_value_that_found_the_queue_full_is_told_once_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    monkeypatch.setattr(events, "request", server)
    pods = [whale(f"u{number}") for number in range(300)]
    reporter = EventReporter(API, "n1", TokenBucket(BURST, interval=0.0))
    reporter.offer(pods)
    reporter.offer(pods)
    assert reporter.problems == 300
    assert reporter.errors == 300 - 256, "each counts once as not sent"
    reporter.start()
    server.wait_for(256)
    reporter.offer(pods)
    server.wait_for(300)
    assert {body["regarding"]["uid"] for body in server.asked} == {pod.uid for pod in pods}
    assert len(server.asked) == 300
    assert reporter.problems == 300
