from __future__ import annotations

import pytest

from extender.app import create_app
from extender.offline import StateFeed
from extender.pods import PodInfo
from extender.settings import Policy
from extender.shadow import MAX_PENDING, Outcome, Shadow, collides
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    MIXED,
    M,
    cluster,
    elephant,
    mouse,
    pod_info,
    pod_json,
    unknown,
    view,
)
from tests.extender.client import Client
from tests.extender.serving import small_state

SNAPSHOT = cluster(view("busy", elephant("e")), view("mice", mouse("m")), view("free"), unknown("dark"))
NAMES = list(SNAPSHOT.nodes)


def watched(node: str, rejected: dict[str, str], *, pod: PodInfo | None = None) -> Shadow:
    shadow, asked = Shadow(60.0), pod or pod_info("p")
    shadow.asked(asked, A_MOUSE, NAMES, rejected, SNAPSHOT)
    shadow.look({}, SNAPSHOT, 0.0)
    shadow.look({"p": node}, SNAPSHOT, 1.0)
    shadow.look({"p": node}, SNAPSHOT, 60.0)
    assert not shadow.collisions, "too early to judge"
    shadow.look({"p": node}, SNAPSHOT, 61.0)
    return shadow


@pytest.mark.parametrize(
    ("node", "rejected", "outcome", "collided"),
    [
        ("busy", {"busy": "full"}, Outcome.KEPT_OFF, "yes"),
        ("busy", {}, Outcome.ELSEWHERE, "yes"),
        ("free", {"busy": "full"}, Outcome.AGREED, "no"),
        ("dark", {"busy": "full"}, Outcome.AGREED, "unknown"),
    ],
)
def test_what_became_of_a_pod_is_counted_when_bound_and_when_measured(
    node: str, rejected: dict[str, str], outcome: Outcome, collided: str
) -> None:
    shadow = watched(node, rejected)
    assert shadow.outcomes == {outcome.value: 1}
    assert shadow.collisions == {(outcome.value, collided): 1}
    assert shadow.report()["avoidable_collisions"] == int(collided == "yes")
    assert shadow.waiting == ()


def test_a_pod_that_ended_before_it_could_be_judged_is_unknown() -> None:
    shadow = Shadow(60.0)
    shadow.asked(pod_info("p"), A_MOUSE, NAMES, {}, SNAPSHOT)
    shadow.look({"p": "busy"}, SNAPSHOT, 0.0)
    shadow.look({}, SNAPSHOT, 100.0)
    assert shadow.collisions == {(Outcome.ELSEWHERE.value, "unknown"): 1}


def test_memory_is_bounded_and_what_is_forgotten_is_counted() -> None:
    shadow = Shadow(60.0)
    for number in range(MAX_PENDING + 7):
        shadow.asked(pod_info(f"p{number}"), A_MOUSE, NAMES, {}, SNAPSHOT)
    assert len(shadow.waiting) == MAX_PENDING
    assert shadow.outcomes == {Outcome.FORGOTTEN.value: 7}


def test_a_collision_is_mice_on_a_link_that_elephants_fill() -> None:
    both = view("n", elephant("e"), mouse("m"))
    assert collides(A_MOUSE, both)
    assert collides(AN_ELEPHANT, both)
    assert collides(MIXED, both)
    assert not collides(AN_ELEPHANT, view("n", elephant("e")))
    assert not collides(A_MOUSE, view("n", elephant("e", tx=20 * M), mouse("m")))
    assert collides(A_MOUSE, unknown("n")) is None


def test_a_process_that_only_watches_answers_as_if_it_were_not_there_and_reports() -> None:
    state = small_state()
    client = Client(create_app(state, StateFeed(), Policy(shadow=True)))
    names = ["busy", "mice", "free"]
    asked = {"Pod": pod_json(uid="u"), "NodeNames": names}
    assert client.post("/filter", json=asked).json()["NodeNames"] == names
    assert {entry["Score"] for entry in client.post("/prioritize", json=asked).json()} == {5}
    state.put_pod(pod_info("u", node="mice"))
    state.apply()
    assert client.get("/shadow").json()["pods"] == {"would-have-been-kept-off": 1}
    line = 'traffic_footprint_extender_shadow_pods_total{outcome="would-have-been-kept-off"} 1.0'
    assert line in client.get("/metrics").text
    assert Client(create_app(state, StateFeed(), Policy())).get("/shadow").status_code == 404
