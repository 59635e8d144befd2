# SPDX-License-Identifier: Apache-2.0
"""Decisions as the page shows them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extender.page.decisions import KEPT, NAMED, UNREAD, Recorder
from extender.placement.tables import Tables
from footprint.declared import PlacementMode
from tests.extender.builders import A_MOUSE, M, cluster, elephant, mouse, pod_info, unknown, view

NEVER = 1e12


def cluster_of(busy: int, free: int = 3) -> Any:
    return cluster(
        *(view(f"busy-{n:04}", elephant(f"e{n}", tx=180 * M)) for n in range(busy)),
        *(view(f"free-{n}", mouse(f"m{n}")) for n in range(free)), unknown("new"),
    )  # fmt: skip


def decide(recorder: Recorder, uid: str, snapshot: Any, tables: Tables | None = None) -> None:
    tables, names = tables or Tables(), list(snapshot.nodes)
    pod = pod_info(uid, wl="Deployment/web")
    answer = tables.filter(names, A_MOUSE, PlacementMode.PREFER, snapshot, NEVER)
    recorder.filtered(pod, A_MOUSE, PlacementMode.PREFER, len(names), answer)
    passed = names if answer.passed is None else answer.passed
    recorder.scored(
        pod, A_MOUSE, PlacementMode.PREFER, passed, tables.prioritize(passed, A_MOUSE, snapshot, NEVER)
    )


def test_a_decision_says_who_was_rejected_and_why_and_who_is_best() -> None:
    recorder = Recorder(clock=lambda: 5.0)
    decide(recorder, "a", cluster_of(12))
    assert recorder.digest()
    assert not recorder.digest()
    (shown,) = recorder.since(0)
    assert (shown["candidates"], shown["rejected"], shown["class"], shown["at"]) == (16, 12, "mouse", 5.0)
    assert len(shown["why_not"]) == NAMED
    assert shown["why_not"][0]["node"] == "busy-0000"
    assert "elephants use 90 percent of the link" in shown["why_not"][0]["why"]
    assert sum(shown["scores"].values()) == 4
    assert {"free-0", "free-1", "free-2"} <= {one["node"] for one in shown["best"]}
    assert shown["bound"] is None
    recorder.bind({"a": "free-1", "somebody else": "free-2"})
    assert recorder.since(0)[0]["bound"] == "free-1"
    assert recorder.unbound() == []


def test_a_reader_gets_what_changed_since_its_cursor_only() -> None:
    recorder = Recorder()
    snapshot = cluster_of(1)
    for uid in "ab":
        decide(recorder, uid, snapshot)
        recorder.digest()
    cursor = recorder.changes
    assert recorder.since(cursor) == []
    recorder.bind({"a": "free-1"})
    assert [one["pod"] for one in recorder.since(cursor)] == ["a"]
    assert len(recorder.since(0, most=1)) == 1


def test_a_burst_keeps_the_decisions_and_lets_go_of_their_lists() -> None:
    recorder = Recorder()
    tables, snapshot = Tables(), cluster_of(2)
    for number in range(KEPT + 50):
        decide(recorder, f"pod-{number}", snapshot, tables)
    held = [one for one in recorder._kept.values() if one.answer is not None or one.scores is not None]
    assert len(held) == UNREAD
    assert len(recorder._kept) == KEPT
    assert recorder.lost_details == KEPT + 50 - UNREAD
    while recorder.digest():
        pass
    shown = recorder.since(0)
    assert len(shown) == KEPT
    assert shown[0]["incomplete"] is True
    assert "why_not" in shown[-1]


def test_a_pods_later_attempt_takes_the_place_of_the_one_before() -> None:
    recorder = Recorder()
    snapshot = cluster_of(1)
    for _ in range(3):
        decide(recorder, "a", snapshot)
    while recorder.digest():
        pass
    assert [one["number"] for one in recorder.since(0)] == [3]


@pytest.mark.parametrize("name", ["x" * 100_000, "<script>alert(1)</script>", "\u202etxt.exe", "\x00\x1b[2J"])
def test_names_are_bounded_and_are_data(name: str) -> None:
    recorder = Recorder()
    snapshot = cluster(view(name, elephant("e", tx=180 * M)), view("free"))
    pod = pod_info("a", wl=name, ns=name)
    answer = Tables().filter(list(snapshot.nodes), A_MOUSE, PlacementMode.PREFER, snapshot, NEVER)
    recorder.filtered(pod, A_MOUSE, PlacementMode.PREFER, 2, answer)
    recorder.digest()
    (shown,) = recorder.since(0)
    assert shown["rejected"] == 1
    assert max(len(text) for text in (shown["namespace"], shown["workload"], shown["why_not"][0]["node"])) <= 253
    assert len(json.dumps(shown)) < 10_000
