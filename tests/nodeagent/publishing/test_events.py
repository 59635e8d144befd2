# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.declared import AnnotationProblem
from footprint.keys import POD_CLASS
from footprint.token_bucket import TokenBucket
from nodeagent.node.pods import LocalPod, decode_pod
from nodeagent.publishing import events
from nodeagent.publishing.events import BURST, EVENT_BUDGET, PACE, EventReporter, event


def pod(value: str, uid: str = "u") -> LocalPod:
    return decode_pod(
        {"metadata": {"uid": uid, "namespace": "d", "name": "p", "annotations": {POD_CLASS: value}}}
    )  # fmt: skip


def test_a_template_with_a_mistake_is_reported_at_once_for_each_of_its_pods() -> None:
    budget, waits = EVENT_BUDGET, []
    for _ in range(BURST + 1):
        budget, wait = budget.reserved(10.0)
        waits.append(wait)
    assert waits == [0.0] * BURST + [PACE]


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_window_holds_more_events_than_the_burst_and_one_for_each_interval(pauses: list[float]) -> None:
    budget, now, sent = TokenBucket(5, 1.0), 0.0, list[float]()
    for pause in pauses:
        now += pause
        budget, wait = budget.reserved(now)
        now += wait
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= 5 + (sent[last] - sent[first]) / 1.0 + 1e-6


def test_an_annotation_that_changes_all_the_time_does_not_become_an_event_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[str] = []
    full = threading.Event()

    def request(_api: Any, _method: str, _path: str, *, body: Any, **_options: Any) -> dict[str, Any]:
        sent.append(body["note"])
        full.set()
        return {}

    monkeypatch.setattr(events, "request", request)
    reporter = EventReporter(object(), "n1", TokenBucket(burst=1, interval=3600.0))  # type: ignore[arg-type]
    reporter.start()
    for number in range(2000):
        reporter.offer([pod(f"whale{number}")])
    assert full.wait(10)
    assert len(sent) == 1
    assert reporter.problems == 2000
    assert reporter.errors >= 2000 - 256 - 2, "what does not fit into the queue is counted, never kept"


def test_an_events_size_does_not_grow_with_what_somebody_wrote() -> None:
    [problem] = pod("x" * 200_000).problems
    assert isinstance(problem, AnnotationProblem)
    made = event(pod("x" * 200_000), problem, "n" * 253, datetime.now(UTC))
    assert len(made["note"]) < 300
    assert len(made["reportingInstance"]) == 128
