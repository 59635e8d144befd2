# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.api import answers
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.offline import StateFeed
from extender.model.pods import PodInfo
from extender.model.snapshot import Snapshot
from extender.placement import shadow as shadow_module
from extender.placement.policy import Policy
from extender.placement.scoring import score_nodes
from extender.placement.shadow import MAX_PENDING, Shadow, ShadowOutcome, ShadowReport, WouldBe, collides
from extender.placement.tables import LateError, Tables
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    MIXED,
    M,
    cluster,
    elephant,
    mouse,
    patient,
    pod_info,
    pod_json,
    unknown,
    view,
)
from tests.extender.client import Client
from tests.extender.running import small_state

SNAPSHOT = cluster(view("busy", elephant("e")), view("mice", mouse("m")), view("free"), unknown("dark"))
NAMES = list(SNAPSHOT.nodes)


def ask(shadow: Shadow, pod: PodInfo, rejected: Iterable[str] = (), names: Sequence[str] = NAMES,
        snapshot: Snapshot = SNAPSHOT) -> None:  # fmt: skip
    """A mouse's question, of which the filter would have rejected some nodes."""
    passed = [name for name in names if name not in rejected] if rejected else names
    scores = score_nodes(passed, A_MOUSE, snapshot)
    best = [name for name, score in zip(passed, scores, strict=True) if score == max(scores)]
    shadow.record_answers(pod, A_MOUSE, WouldBe(names, passed, best), snapshot)


def watched(node: str, rejected: dict[str, str], *, pod: PodInfo | None = None) -> Shadow:
    shadow, asked = Shadow(60.0), pod or pod_info("p")
    ask(shadow, asked, rejected)
    shadow.follow_binds({}, SNAPSHOT, 0.0)
    shadow.follow_binds({"p": node}, SNAPSHOT, 1.0)
    shadow.follow_binds({"p": node}, SNAPSHOT, 60.0)
    assert not shadow.collisions, "too early to judge"
    shadow.follow_binds({"p": node}, SNAPSHOT, 61.0)
    return shadow


@pytest.mark.parametrize(
    ("node", "rejected", "outcome", "collided"),
    [
        ("busy", {"busy": "full"}, ShadowOutcome.KEPT_OFF, "yes"),
        ("busy", {}, ShadowOutcome.ELSEWHERE, "yes"),
        ("free", {"busy": "full"}, ShadowOutcome.AGREED, "no"),
        ("dark", {"busy": "full"}, ShadowOutcome.AGREED, "unknown"),
    ],
)
def test_what_became_of_a_pod_is_counted_when_bound_and_when_measured(
    node: str, rejected: dict[str, str], outcome: ShadowOutcome, collided: str
) -> None:
    shadow = watched(node, rejected)
    assert shadow.outcomes == {outcome.value: 1}
    assert shadow.collisions == {(outcome.value, collided): 1}
    assert shadow.report()["avoidable_collisions"] == int(collided == "yes")
    assert shadow.waiting == ()


def test_a_pod_that_ended_before_it_could_be_judged_is_unknown() -> None:
    shadow = Shadow(60.0)
    ask(shadow, pod_info("p"))
    shadow.follow_binds({"p": "busy"}, SNAPSHOT, 0.0)
    shadow.follow_binds({}, SNAPSHOT, 100.0)
    assert shadow.collisions == {(ShadowOutcome.ELSEWHERE.value, "unknown"): 1}


def test_memory_is_bounded_and_what_is_forgotten_is_counted() -> None:
    shadow = Shadow(60.0)
    for number in range(MAX_PENDING + 7):
        ask(shadow, pod_info(f"p{number}"))
    assert len(shadow.waiting) == MAX_PENDING
    assert shadow.outcomes == {ShadowOutcome.FORGOTTEN.value: 7}


def test_a_pod_that_has_an_outcome_is_not_forgotten_but_never_judged() -> None:
    shadow = Shadow(60.0)
    ask(shadow, pod_info("early"), ["busy"])
    shadow.follow_binds({"early": "busy"}, SNAPSHOT, 0.0)
    ask(shadow, pod_info("unbound"))
    for number in range(MAX_PENDING):
        ask(shadow, pod_info(f"p{number}"))
    assert shadow.outcomes == {ShadowOutcome.KEPT_OFF.value: 1, ShadowOutcome.FORGOTTEN.value: 1}
    assert shadow.collisions == {(ShadowOutcome.KEPT_OFF.value, "never-judged"): 1}
    report = shadow.report()
    assert (report["never_judged"], report["avoidable_collisions"], report["pending"]) == (1, 0, MAX_PENDING)


@given(st.lists(st.tuples(st.sampled_from(["asked", "bound", "later"]), st.integers(0, 5)), max_size=60))
def test_every_pod_is_counted_in_one_outcome_and_judged_once(events: list[tuple[str, int]]) -> None:
    """However often it is asked about, and however many wait."""
    shadow, now, bound, ever = Shadow(60.0), 0.0, dict[str, str](), set[str]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shadow_module, "MAX_PENDING", 3)
        for what, number in events:
            uid = f"p{number}"
            if what == "asked" and uid not in bound:
                ask(shadow, pod_info(uid))
                ever.add(uid)
            elif what == "asked" and uid in shadow.waiting:
                ask(shadow, pod_info(uid))  # came late
            elif what == "bound":
                bound.setdefault(uid, "busy")
            else:
                now += 61.0
            shadow.follow_binds(bound, SNAPSHOT, now)
            counted = Counter(shadow.outcomes)
            forgotten = counted.pop(ShadowOutcome.FORGOTTEN.value, 0)
            undecided = sum(uid not in bound for uid in shadow.waiting)
            assert counted.total() == shadow.collisions.total() + len(shadow.waiting) - undecided
            assert counted.total() <= len(ever & bound.keys())
            assert counted.total() + forgotten + undecided >= len(ever)


def test_what_is_remembered_of_a_pod_is_a_byte_per_node() -> None:
    shadow, names = Shadow(60.0), [f"n{number}" for number in range(5000)]
    crowd = cluster(*(view(name, elephant("e")) for name in names))
    ask(shadow, pod_info("p"), names[:2500], names, crowd)
    ask(shadow, pod_info("q"), names[:2500], [*names, *(f"made-up-{number}" for number in range(5000))], crowd)
    first, second = shadow._pending.values()
    assert len(first.marks) == len(second.marks) == len(names), "names that no node has take no room"
    assert first.numbers is second.numbers


def test_a_node_is_found_again_whatever_nodes_come_and_go_meanwhile() -> None:
    shadow, before = Shadow(60.0), cluster(view("a"), view("b", elephant("e")))
    ask(shadow, pod_info("p"), ["b"], ["a", "b", "later"], before)
    for round_ in range(40):  # as many nodes as make the numbers begin anew
        views = [view("b", elephant("e")), view("a"), *(view(f"{round_}-{number}") for number in range(50))]
        ask(shadow, pod_info(f"other-{round_}"), [], ["a"], cluster(*views))
    assert len(shadow._numbers) < 1500
    ask(shadow, pod_info("q"), ["b"], ["a", "b"], before)
    shadow.follow_binds({"p": "b", "q": "a"}, before, 0.0)
    assert shadow.outcomes == {ShadowOutcome.KEPT_OFF.value: 1, ShadowOutcome.AGREED.value: 1}


def test_a_node_that_the_watch_had_not_shown_is_as_good_as_the_answer_said() -> None:
    for names, outcome in ((["busy", "new"], ShadowOutcome.ELSEWHERE), (["dark", "new"], ShadowOutcome.AGREED)):
        shadow = Shadow(60.0)
        ask(shadow, pod_info("p"), [], ["free", *names] if outcome is ShadowOutcome.ELSEWHERE else names)
        shadow.follow_binds({"p": "new"}, SNAPSHOT, 0.0)
        assert shadow.outcomes == {outcome.value: 1}


def test_a_collision_is_mice_on_a_link_that_elephants_fill() -> None:
    both = view("n", elephant("e"), mouse("m"))
    assert collides(A_MOUSE, both)
    assert collides(AN_ELEPHANT, both)
    assert collides(MIXED, both)
    assert not collides(AN_ELEPHANT, view("n", elephant("e")))
    assert not collides(A_MOUSE, view("n", elephant("e", tx=20 * M), mouse("m")))
    assert collides(A_MOUSE, unknown("n")) is None


def asked_and_bound(policy: Policy) -> tuple[Client, bytes]:
    """A watching process that saw a pod go where it would not have sent it, and its answer to the filter."""
    state = small_state()
    client = Client(create_app(Service(state, StateFeed(), policy)))
    answer = client.post("/filter", json={"Pod": pod_json(uid="u"), "NodeNames": ["busy", "mice", "free"]})
    state.put_pod(pod_info("u", node="mice"))
    state.apply()
    return client, answer.content


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_watching_stops_when_acting_would(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    deadlines = []

    def late(*arguments: Any, **_: Any) -> None:
        deadlines.append(arguments[-1])
        raise LateError

    monkeypatch.setattr(Tables, verb, late)
    client, answer = asked_and_bound(Policy(shadow=True, deadline=3600))
    assert [deadline - time.monotonic() > 0 for deadline in deadlines] == [True]
    assert json.loads(answer)["NodeNames"] == ["busy", "mice", "free"]
    assert client.get("/shadow").json()["pods"] == {}, "such an answer would have changed nothing"
    assert 'requests_total{result="late",verb="filter"} 1.0' in client.get("/metrics").text


def test_watching_works_nothing_out_by_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(answers, "filter_nodes")
    monkeypatch.delattr(answers, "score_nodes")
    client, _ = asked_and_bound(patient(shadow=True))
    assert client.get("/shadow").json()["pods"] == {"would-have-been-kept-off": 1}


@pytest.mark.parametrize("bound", [True, False])
def test_every_byte_of_a_report_is_described(bound: bool) -> None:
    client = (
        asked_and_bound(patient(shadow=True))[0]
        if bound
        else Client(create_app(Service(small_state(), StateFeed(), patient(shadow=True))))
    )
    answer = client.get("/shadow")
    described = ShadowReport.model_validate_json(answer.content, strict=True)
    assert described.model_dump(mode="json") == json.loads(answer.content)
    assert bool(described.pods) is bound


def test_a_process_that_only_watches_answers_as_if_it_were_not_there_and_reports() -> None:
    state = small_state()
    client = Client(create_app(Service(state, StateFeed(), patient(shadow=True))))
    names = ["busy", "mice", "free"]
    asked = {"Pod": pod_json(uid="u"), "NodeNames": names}
    assert client.post("/filter", json=asked).json()["NodeNames"] == names
    assert {entry["Score"] for entry in client.post("/prioritize", json=asked).json()} == {5}
    state.put_pod(pod_info("u", node="mice"))
    state.apply()
    assert client.get("/shadow").json()["pods"] == {"would-have-been-kept-off": 1}
    line = 'traffic_footprint_extender_shadow_pods_total{outcome="would-have-been-kept-off"} 1.0'
    assert line in client.get("/metrics").text
    assert Client(create_app(Service(state, StateFeed(), patient()))).get("/shadow").status_code == 404
