# SPDX-License-Identifier: Apache-2.0
"""The parts of the cluster state, each by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.cluster.assumptions import Assumptions
from extender.cluster.deadlines import DUE_AT_ONCE, Deadlines
from extender.cluster.node_entry import read_annotation
from extender.cluster.node_views import NodeViews
from extender.cluster.waiting_pods import WaitingPods
from extender.cluster.workload_totals import WorkloadTotals
from extender.model.snapshot import NodeFacts, NodeState
from footprint.staleness import LastRenewal
from tests.extender.builders import elephant, footprint, pod_info


def test_a_pod_is_assumed_on_one_node_at_a_time() -> None:
    assumed = Assumptions()
    assumed.add(pod_info("p"), "a", 2.0)
    assumed.add(pod_info("p"), "b", 3.0)
    assert [pod.uid for pod in assumed.on("b")] == ["p"]
    assert (list(assumed.on("a")), assumed.node_of("p"), "p" in assumed) == ([], "b", True)
    assert assumed.expire(2.5) == set(), "the first assumption's end is not the second one's"
    assert assumed.expire(3.0) == {"b"}
    assert (assumed.forget("p"), assumed.node_of("p"), "p" in assumed) == ("", "", False)


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from("ab"), st.floats(0, 10)), max_size=30))
def test_every_assumption_ends(added: list[tuple[str, str, float]]) -> None:
    assumed = Assumptions()
    for uid, node, until in added:
        assumed.add(pod_info(uid), node, until)
    last = {uid: (node, until) for uid, node, until in added}
    assert assumed.expire(5.0) == {node for node, until in last.values() if until <= 5.0}
    assumed.expire(10.0)
    assert not any(assumed.on(node) for node in "ab")


def test_of_a_nodes_moments_the_earliest_counts_once() -> None:
    deadlines = Deadlines()
    for moment in (5.0, 3.0, 4.0):
        deadlines.note("a", moment)
    assert deadlines.due(2.9) == ([], False)
    assert deadlines.due(10.0) == (["a"], False)
    assert deadlines.due(10.0) == ([], False)
    deadlines.note("a", 12.0)
    assert deadlines.due(12.0) == (["a"], False)


def test_moments_that_come_together_are_taken_in_slices() -> None:
    deadlines = Deadlines()
    for number in range(DUE_AT_ONCE + 1):
        deadlines.note(f"n{number}", 1.0)
    first, more = deadlines.due(1.0)
    assert (len(first), more) == (DUE_AT_ONCE, True)
    assert len(deadlines.due(1.0)[0]) == 1


def test_who_waits_is_copied_once_a_tick() -> None:
    waiting = WaitingPods(1.0)
    assert waiting.put(pod_info("p"), 10.0)
    assert not waiting.put(pod_info("p"), 11.0), "since the first time"
    assert (waiting.copy(12.0), dict(waiting.shown)) == (True, {"p": 10.0})
    assert waiting.put(pod_info("p", node="a"), 12.1)
    assert (waiting.copy(12.9), len(waiting), len(waiting.shown)) == (False, 0, 1)
    assert (waiting.copy(13.0), dict(waiting.shown)) == (True, {})
    assert not waiting.drop("p")


def test_a_view_that_cannot_be_computed_is_a_node_that_is_unknown() -> None:
    views = NodeViews(WorkloadTotals(), Assumptions(), {}, stale_after=180.0, hold=60.0, default_rate=1e8)
    broken: Any = None
    facts = NodeFacts("n", replace(footprint(elephant("e")), cap=broken), "", LastRenewal("1", 0.0))
    view = views.compute(facts, 0.0)
    assert (view.state, view.known, views.failures) == (NodeState.FAILED, False, 1)
    assert "AttributeError" in view.detail


@pytest.mark.parametrize("text", [7, 0.5])
def test_an_annotation_that_is_not_even_text_costs_its_node_alone(text: Any) -> None:
    said = read_annotation(text)
    assert (said.footprint, said.reason) == (None, "failed")
