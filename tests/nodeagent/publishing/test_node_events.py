# SPDX-License-Identifier: Apache-2.0
"""What is told of a Node, and how seldom."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from footprint.models import LinkRates, NodeFootprint
from footprint.token_bucket import TokenBucket
from nodeagent.measuring.coverage import LOW_COVERAGE
from nodeagent.publishing import events
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.node_events import (
    AGAIN,
    HOLD,
    LITTLE_SEEN,
    MOST,
    NOT_UNDERSTOOD,
    UNKNOWN,
    Notice,
    Notices,
    node_event,
    notices,
)

GOOD = NodeFootprint(src="ctnetlink", cap=LinkRates(1e9, 1e9))
UNKNOWN_LINK = replace(GOOD, cap=LinkRates())
BLIND = replace(GOOD, bad=(LOW_COVERAGE,))
PROBLEM = "annotation traffic-footprint.io/link-capacity: 'fast' is not a bandwidth"


@pytest.mark.parametrize(
    ("footprint", "problems", "reasons"),
    [
        (GOOD, (), []),
        (UNKNOWN_LINK, (), [UNKNOWN]),
        (BLIND, (), [LITTLE_SEEN]),
        (GOOD, (PROBLEM, "another"), [NOT_UNDERSTOOD, NOT_UNDERSTOOD]),
        (replace(BLIND, cap=LinkRates()), (PROBLEM,), [NOT_UNDERSTOOD, UNKNOWN, LITTLE_SEEN]),
        (replace(GOOD, bad=("flows-evicted",)), (), []),
        (replace(GOOD, cap=LinkRates(0.0, 1e9)), (), []),
    ],
)
def test_what_is_told_of_a_node(footprint: NodeFootprint, problems: tuple[str, ...], reasons: list[str]) -> None:
    assert [notice.reason for notice in notices(footprint, problems)] == reasons


def told(state: Notices, footprint: NodeFootprint, now: float, *problems: str) -> list[str]:
    return [notice.reason for notice in state.advance(footprint, problems, now)]


def test_what_is_so_for_a_moment_is_not_told() -> None:
    state = Notices()
    assert told(state, UNKNOWN_LINK, 0.0) == []
    assert told(state, UNKNOWN_LINK, HOLD - 1) == []
    assert told(state, GOOD, HOLD) == []
    assert told(state, UNKNOWN_LINK, HOLD + 1) == []
    assert told(state, UNKNOWN_LINK, 2 * HOLD + 1) == [UNKNOWN]


def test_what_comes_and_goes_is_told_once_an_hour_at_most() -> None:
    state, count = Notices(), 0
    for second in range(0, 2 * int(AGAIN), 20):
        footprint = BLIND if second % 200 < 120 else GOOD
        count += len(told(state, footprint, float(second)))
    assert count == 2


def test_another_text_that_is_not_understood_is_told_of_its_own() -> None:
    state = Notices()
    assert told(state, GOOD, 0.0, "one") == told(state, GOOD, 30.0, "one", "two") == []
    assert told(state, GOOD, 60.0, "one", "two") == [NOT_UNDERSTOOD]
    assert told(state, GOOD, 90.0, "one", "two") == [NOT_UNDERSTOOD]
    assert told(state, GOOD, 120.0, "one", "two") == []


def test_texts_without_end_take_no_memory() -> None:
    state = Notices()
    for second in range(1000):
        state.advance(GOOD, [f"text {second // 100 * 1000 + number}" for number in range(1000)], float(second))
    assert len(state._since) <= MOST
    assert len(state._told) <= MOST


def test_the_event_is_about_the_node_and_bounded() -> None:
    made = node_event(Notice(UNKNOWN, "x" * 5000), "n" * 253, "uid-1", datetime.now(UTC))
    assert made["metadata"]["namespace"] == "default"
    assert len(made["metadata"]["name"]) <= 253
    assert len(made["note"]) == 1024
    assert made["regarding"] == {"apiVersion": "v1", "kind": "Node", "name": "n" * 253, "uid": "uid-1"}


def test_an_event_has_one_name_for_one_notice() -> None:
    def name(notice: Notice, uid: str = "u") -> str:
        return str(node_event(notice, "n1", uid, datetime.now(UTC))["metadata"]["name"])

    assert name(Notice(UNKNOWN, "a")) == name(Notice(UNKNOWN, "said otherwise"))
    others = [Notice(UNKNOWN, "a"), Notice(LITTLE_SEEN, "a"), Notice(NOT_UNDERSTOOD, "a", "b")]
    assert len({*map(name, others), name(Notice(UNKNOWN, "a"), "another Node")}) == 4


def test_the_reporter_sends_them_and_a_full_queue_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any]] = []
    arrived = threading.Event()

    def request(_api: Any, _method: str, path: str, *, body: Any, **_options: Any) -> dict[str, Any]:
        sent.append((path, body))
        arrived.set()
        return {}

    monkeypatch.setattr(events, "request", request)
    reporter = EventReporter(object(), "n1", TokenBucket(burst=1, interval=3600.0), "uid-1")  # type: ignore[arg-type]
    reporter.start()
    reporter.tell(Notice(UNKNOWN, "note", str(number)) for number in range(1000))
    assert arrived.wait(10)
    [(path, body)] = sent
    assert path.endswith("/namespaces/default/events")
    assert (body["reason"], body["regarding"]["uid"]) == (UNKNOWN, "uid-1")
    assert reporter.errors >= 1000 - 256 - 2
