# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from typing import Any

import pytest

from footprint.classes import TrafficClass
from lab.demo.report import DRAIN_SECONDS, RunReport
from lab.demo.results import final_line, summarise
from lab.demo.scenario import KIND_LABEL, PHASE_LABEL
from lab.demo.watcher import PodSeen, Seen
from lab.traffic.histogram import bucket


def seen_pod(uid: str, cls: TrafficClass, node: str, phase: str = "day") -> PodSeen:
    return PodSeen(uid, f"pod-{uid}", node, {"app": "web", KIND_LABEL: str(cls), PHASE_LABEL: phase})


def printed(**final: Any) -> str:
    return "\n".join(["not json", json.dumps({"progress": 1}), json.dumps(final)])


def mouse_log(milliseconds: dict[int, int]) -> str:
    histogram = {str(bucket(ms * 1000)): count for ms, count in milliseconds.items()}
    sent = sum(milliseconds.values())
    return printed(result="mouse", started={"monotonic": 5.0}, sent=sent, answered=sent, histogram=histogram)


def elephant_log(goodput: float, started: float) -> str:
    return printed(result="elephant", started={"monotonic": started}, goodput=goodput)


def run(seen: Seen, logs: dict[str, str], expected: int) -> RunReport:
    return summarise("default", seen, logs, expected, 60.0)


def test_the_last_result_line_counts_and_nothing_else_is_one() -> None:
    assert final_line(printed(result="mouse")) == {"result": "mouse"}
    assert final_line('{"progress":1}\nTraceback\n[1]') is None


def test_all_mice_requests_make_one_distribution() -> None:
    pods = {
        p.uid: p for p in (seen_pod("a", TrafficClass.MOUSE, "node1"), seen_pod("b", TrafficClass.MOUSE, "node2"))
    }
    report = run(Seen(pods=pods), {"pod-a": mouse_log({1: 990}), "pod-b": mouse_log({1: 0, 100: 10})}, 2)
    assert report.p50 == pytest.approx(0.001, rel=0.01)
    assert report.p99 == pytest.approx(0.001, rel=0.01)
    assert report.p999 == pytest.approx(0.1, rel=0.01)
    assert sum(count for _, count in report.latency) == 1000
    assert report.unplaced == ()


def test_history_does_not_count_and_meetings_of_both_kinds_do() -> None:
    pods = {
        p.uid: p
        for p in (
            seen_pod("old", TrafficClass.ELEPHANT, "node1", "history"),
            seen_pod("m", TrafficClass.MOUSE, "node1"),
            seen_pod("e", TrafficClass.ELEPHANT, "node1"),
            seen_pod("f", TrafficClass.ELEPHANT, "node2"),
        )
    }
    logs = {"pod-m": mouse_log({1: 1}), "pod-e": elephant_log(100e6, 10.0), "pod-f": elephant_log(200e6, 11.0)}
    report = run(Seen(pods=pods, elephant_shown={"e": 12.5}), logs, 3)
    assert report.goodput == 150e6
    assert report.detection == [2.5]
    assert report.nodes() == {"node1": (1, 1), "node2": (0, 1)}
    assert report.shared_nodes == 1


def test_a_request_that_was_never_answered_counts_as_long_as_was_waited_for_it() -> None:
    log = json.loads(mouse_log({1: 97}).splitlines()[-1])
    pods = {"m": seen_pod("m", TrafficClass.MOUSE, "node1")}
    report = run(Seen(pods=pods), {"pod-m": json.dumps({**log, "sent": 100, "lost": 3})}, 1)
    assert (report.lost, report.mice[0].lost, report.mice[0].answered) == (3, 3, 97)
    assert report.p50 == pytest.approx(0.001, rel=0.01)
    assert report.p99 == pytest.approx(DRAIN_SECONDS, rel=0.02)
    assert report.mice[0].p99 == report.p99
    assert sum(count for _, count in report.latency) == 100


def test_a_pod_without_a_result_or_without_a_node_is_named() -> None:
    pods = {"m": seen_pod("m", TrafficClass.MOUSE, "node1")}
    assert run(Seen(pods=pods), {}, 2).unplaced == ("pod-m", "pod 2 of 2: never bound")
    never_began = printed(result="mouse", started={}, sent=0, answered=0, histogram={})
    assert run(Seen(pods=pods), {"pod-m": never_began}, 1).unplaced == ("pod-m",)
