# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.cost import placement_cost
from extender.model.demand import Demand
from extender.placement.node_verdict import node_cost
from extender.placement.scoring import BEST, NEUTRAL, score_nodes, to_scores
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, MIXED, M, cluster, elephant, mouse, unknown, view


@pytest.mark.parametrize(
    ("costs", "scores"),
    [
        ([0.0, 19.0], [10, 0]),
        ([0.0, 1.0, 19.0], [10, 8, 0]),  # 10 * (log 20 - log 2) / log 20 = 7.7
        ([19.0, 19.0], [5, 5]),  # equally bad is equal
        ([0.0, 0.24], [5, 5]),  # not material
        ([0.0, 0.25], [10, 0]),
        ([0.0, None, 4.0], [10, 5, 0]),  # unknown is neither good nor bad
        ([None, None], [5, 5]),
        ([3.0, None], [5, 5]),
        ([], []),
    ],
)
def test_scores_use_the_full_range_only_for_material_differences(
    costs: list[float | None], scores: list[int]
) -> None:
    assert to_scores(costs) == scores


@given(st.lists(st.none() | st.floats(0, 1e7), max_size=30))
def test_scores_are_integers_from_0_to_10_and_cheaper_is_never_worse(costs: list[float | None]) -> None:
    scores = to_scores(costs)
    assert len(scores) == len(costs)
    assert all(type(score) is int and 0 <= score <= BEST for score in scores)
    ranked = sorted((c, s) for c, s in zip(costs, scores, strict=True) if c is not None)
    assert [s for _, s in ranked] == sorted((s for _, s in ranked), reverse=True)


@pytest.mark.parametrize("demand", [A_MOUSE, AN_ELEPHANT, MIXED])
def test_the_score_rests_on_the_cost_that_explanations_show(demand: Demand) -> None:
    for node in (view("n"), view("n", elephant("e")), view("n", mouse("m"), elephant("f", tx=40 * M))):
        for scarce in (True, False):
            shown = placement_cost(demand.tx, demand.rx, demand.suffers, node.link, scarce).total
            assert node_cost(demand, node, scarce) == pytest.approx(shown)


def test_a_mouse_leaves_a_link_that_elephants_will_need_unless_the_others_are_busy() -> None:
    shared, free = view("shared", mouse("m"), elephant("e", tx=90 * M)), view("free")
    snapshot = replace(cluster(shared, free), scarce=True)
    assert score_nodes(["shared", "free"], A_MOUSE, snapshot) == [5, 5]  # W(0.45) = 0.82 against 1: not material
    calm = replace(cluster(view("shared", mouse("m")), free), scarce=True)
    assert score_nodes(["shared", "free"], A_MOUSE, calm) == [10, 0]
    busy = replace(cluster(view("shared", mouse("m"), elephant("e", tx=130 * M)), free), scarce=True)
    assert score_nodes(["shared", "free"], A_MOUSE, busy) == [0, 10]  # W(0.65) = 1.86
    assert score_nodes(["shared", "free"], A_MOUSE, replace(calm, scarce=False)) == [5, 5]


def test_a_pod_nothing_is_known_of_scores_all_nodes_alike() -> None:
    snapshot = cluster(view("a"), view("b", elephant("e")), unknown("c"))
    assert score_nodes(["a", "b", "c", "not-seen"], Demand(), snapshot) == [NEUTRAL] * 4


def test_the_worked_example_of_the_documentation_holds() -> None:
    snapshot = cluster(
        view("a"), view("b", mouse("m1"), mouse("m2")), view("c", elephant("e", tx=162 * M)), unknown("d")
    )
    costs = [node_cost(AN_ELEPHANT, snapshot.view(name)) for name in "abc"]
    assert costs == pytest.approx([0.0, 6.0, 22.0])
    assert score_nodes(list("abcd"), AN_ELEPHANT, snapshot) == [10, 4, 0, 5]
    assert score_nodes(list("abcd"), A_MOUSE, snapshot) == [10, 10, 0, 5]
