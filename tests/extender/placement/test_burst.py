# SPDX-License-Identifier: Apache-2.0
"""A burst of elephants asked about faster than any bind is seen, through the real verbs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from extender.api.answers import Verbs
from extender.api.metrics import Metrics
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH
from tests.extender.builders import M, annotation, decode_request, elephant, mouse, patient, pod_json

NODES = [f"node{n}" for n in range(8)]
WITH_MICE = NODES[:4]
NOW = 1000.0


@pytest.fixture
def verbs() -> Verbs:
    """Eight nodes, mice on four of them."""
    return over(with_mice())


def with_mice() -> ClusterState:
    state = ClusterState(stale_after=180.0, clock=lambda: NOW)
    for name in NODES:
        pods = [mouse(f"mouse-{name}")] if name in WITH_MICE else []
        state.put_nodes([NodeInfo(name, annotation(*pods))])
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    return state


def over(state: ClusterState) -> Verbs:
    return Verbs(state, patient(), Metrics(state, {}), clock=lambda: NOW)


def asked(uid: str, names: list[str]) -> Any:
    declared = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "180M"}
    return decode_request(
        json.dumps({"Pod": pod_json(uid=uid, annotations=declared), "NodeNames": names}).encode()
    )


def placed(verbs: Verbs, uid: str) -> str:
    """Where kube-scheduler sends the pod: the only node left, else the best of the scores."""
    passed = json.loads(verbs.filter(asked(uid, NODES), NOW))["NodeNames"]
    if len(passed) == 1:
        return str(passed[0])
    scores = json.loads(verbs.prioritize(asked(uid, passed), NOW))
    return str(max(scores, key=lambda entry: entry["Score"])["Host"])


def test_each_elephant_of_a_burst_gets_a_link_of_its_own(verbs: Verbs) -> None:
    nodes = [placed(verbs, f"u{n}") for n in range(4)]
    assert sorted(nodes) == sorted(set(NODES) - set(WITH_MICE))


def test_idle_time_after_an_answer_counts_the_pod_where_it_was_sent() -> None:
    state = with_mice()
    verbs = over(state)
    node = placed(verbs, "u1")
    verbs.work_ahead()
    assert [name for name, view in state.snapshot.nodes.items() if view.ledger.elephants] == [node]


def test_a_pod_asked_about_again_does_not_stand_in_its_own_way(verbs: Verbs) -> None:
    first = placed(verbs, "u1")
    assert [placed(verbs, "u1") for _ in range(3)] == [first] * 3


def test_the_filter_asked_twice_about_one_pod_answers_alike(verbs: Verbs) -> None:
    for n in range(3):
        placed(verbs, f"u{n}")
    first = verbs.filter(asked("u9", NODES), NOW)
    assert len(json.loads(first)["NodeNames"]) == 1
    assert verbs.filter(asked("u9", NODES), NOW) == first
    assert verbs.filter(asked("u9", NODES[:1]), NOW) == verbs.filter(asked("u9", NODES[:1]), NOW)


def test_a_burst_of_mice_leaves_links_for_the_elephants_that_are_known() -> None:
    state = ClusterState(stale_after=180.0, clock=lambda: NOW)
    for name in NODES:
        ended = (elephant(f"old-{name}", tx=190 * M),) if name in NODES[:2] else ()
        state.put_nodes([NodeInfo(name, annotation(ended=ended))])
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    verbs = over(state)

    def mouse_to(uid: str) -> str:
        declared = pod_json(uid=uid, annotations={POD_CLASS: "mouse"})
        question = decode_request(json.dumps({"Pod": declared, "NodeNames": NODES}).encode())
        scores = json.loads(verbs.prioritize(question, NOW))
        return str(max(scores, key=lambda entry: entry["Score"])["Host"])

    taken = {mouse_to(f"m{n}") for n in range(20)}
    assert len(taken) == 4, "two elephants are known: twice as many links are kept, half of all at most"
