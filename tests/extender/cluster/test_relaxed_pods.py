# SPDX-License-Identifier: Apache-2.0
"""Events on strict pods that waited too long: one for each, from a thread of its own, bounded."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration
from prometheus_client import CollectorRegistry, generate_latest

from extender.cluster import relaxed_pods
from extender.cluster.relaxed_pods import REMEMBERED, RelaxedPods, event
from footprint.cluster.client import ApiError
from tests.extender.builders import pod_info


def reporter() -> RelaxedPods:
    return RelaxedPods(ApiClient(Configuration()))


@pytest.fixture
def posted(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Bodies of requests, which all succeed."""
    bodies: list[dict[str, Any]] = []
    monkeypatch.setattr(relaxed_pods, "request", lambda *_, body, **__: bodies.append(body))
    return bodies


def test_the_event_stands_on_the_pod_and_says_what_became_of_it() -> None:
    made = event(pod_info("u-1"), 121.4, "replica", datetime(2026, 1, 1, 12, tzinfo=UTC))
    assert made["regarding"]["uid"] == "u-1"
    assert made["metadata"]["namespace"] == made["regarding"]["namespace"]
    assert made["eventTime"] == "2026-01-01T12:00:00.000000Z"
    assert made["note"] == (
        "placement strict found no suitable node for 121 s (--relax-after): the pod is placed as with prefer from "
        "now on"
    )
    other = event(pod_info("u-1"), 300, "another replica", datetime.now(UTC))
    assert other["metadata"]["name"] == made["metadata"]["name"], "replicas send one Event"
    assert event(pod_info("u-2"), 1, "r", datetime.now(UTC))["metadata"] != made["metadata"]


def test_a_pod_that_asks_again_is_told_of_once() -> None:
    made = reporter()
    for _ in range(5):
        made.offer(pod_info("u-1"), 130.0)
    made.offer(pod_info("u-2"), 130.0)
    assert made._queue.qsize() == 2


def test_a_pod_without_a_uid_is_not_told_of() -> None:
    made = reporter()
    made.offer(pod_info(""), 130.0)
    assert made._queue.qsize() == 0


def test_what_does_not_fit_is_counted_and_offered_again() -> None:
    made = reporter()
    for i in range(300):
        made.offer(pod_info(f"u-{i}"), 130.0)
    assert (made._queue.qsize(), made.failures) == (256, 44)
    made._queue.get()
    made.offer(pod_info("u-299"), 140.0)
    assert (made._queue.qsize(), made.failures) == (256, 44)


def test_what_is_remembered_is_bounded() -> None:
    made = reporter()
    for i in range(REMEMBERED + 100):
        made.offer(pod_info(f"u-{i}"), 130.0)
        made._queue.get()
    assert len(made._seen) == REMEMBERED


def test_an_event_that_another_replica_sent_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, posted: list[dict[str, Any]]
) -> None:
    made = reporter()
    made.send(pod_info("u-1"), 130.0)
    assert (made.sent, len(posted)) == (1, 1)

    def exists(*_: object, **__: object) -> None:
        raise ApiError(409, "exists")

    monkeypatch.setattr(relaxed_pods, "request", exists)
    made.send(pod_info("u-2"), 130.0)
    assert made.sent == 1


@pytest.mark.usefixtures("posted")
@pytest.mark.parametrize("error", [ApiError(403, "forbidden"), RuntimeError("unforeseen")])
def test_the_thread_outlives_what_fails(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    made, tried = reporter(), list[str]()
    send = made.send

    def fails_first(pod: Any, waited: float) -> None:
        tried.append(pod.uid)
        if len(tried) == 1:
            raise error
        send(pod, waited)
        raise SystemExit  # ends the thread, as nothing else does

    monkeypatch.setattr(made, "send", fails_first)
    made.offer(pod_info("u-1"), 130.0)
    made.offer(pod_info("u-2"), 130.0)
    with pytest.raises(SystemExit):
        made._run()
    assert (tried, made.failures, made.sent) == (["u-1", "u-2"], 1, 1)
    registry = CollectorRegistry()
    registry.register(made)
    page = generate_latest(registry).decode()
    assert "traffic_footprint_extender_events_total 1.0" in page
    assert "traffic_footprint_extender_event_failures_total 1.0" in page
