# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
import random
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extender.model.cost import CostModel, LinkLoad
from extender.model.demand import Demand, Origin
from extender.model.snapshot import NodeState, NodeView
from extender.placement.node_verdict import node_cost
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode
from lab.bench.extender import placement_quality
from lab.bench.extender.placement_quality import (
    DATA_MINING,
    WITHOUT,
    Choose,
    Nodes,
    at_random,
    demand_of,
    extender,
    fill,
    flow_size,
    judged,
    lower_bound,
    packed,
    quality,
    spread,
)
from lab.controlplane import scheduler_config

G = 1e9
LINK = 2.5 * G
MOUSE, QUIET = demand_of(1000.0, LINK), demand_of(2**20, LINK)


def elephant(rate: float) -> Demand:
    return Demand(TrafficClass.ELEPHANT, rate, 0.0, 0.0, Origin.LEARNED, 1)


def test_flow_sizes_follow_the_published_distribution() -> None:
    draw = random.Random(1)
    sizes = sorted(flow_size(draw) for _ in range(20_000))
    for packets, share in DATA_MINING[1:]:
        below = sum(size <= packets * 1460 * (1 + 1e-9) for size in sizes) / len(sizes)
        assert below == pytest.approx(share, abs=0.015)


@pytest.mark.parametrize(
    ("size", "cls", "rate"),
    [
        (100 * 2**10, TrafficClass.MOUSE, 0.0),
        (2**20, TrafficClass.QUIET, 0.0),
        (10 * 2**20, TrafficClass.ELEPHANT, 8 * 10 * 2**20),  # within a second
        (2**30, TrafficClass.ELEPHANT, 0.9 * LINK),  # no more than a link carries
    ],
)
def test_a_pod_is_what_its_transfers_make_it(size: float, cls: TrafficClass, rate: float) -> None:
    demand = demand_of(size, LINK)
    assert (demand.cls, demand.tx) == (cls, rate)


def test_a_filled_cluster_is_judged_by_its_pairs_its_waits_and_what_its_links_cannot_carry() -> None:
    nodes = Nodes(2, LINK)
    names = list(nodes.bound)
    there = [(0, MOUSE), (0, MOUSE), (0, elephant(LINK / 2)), (1, elephant(LINK)), (1, MOUSE)]
    for number, (at, demand) in enumerate(there):
        nodes.place(names[at], demand, number)
    found = judged("by hand", nodes)
    assert found.pairs == 3  # two on the first node, one on the second
    assert found.mean_wait == pytest.approx((1 + 1 + 19) / 3)  # W(0.5) twice, W(0.95) once
    assert found.waiting_mice == 100
    assert found.unmet == pytest.approx(100 * 0.1 / 1.5)  # a tenth of the second link, of one and a half asked for


def test_pods_that_end_leave_nothing_behind() -> None:
    nodes, draw = Nodes(3, LINK), random.Random(1)
    live = fill(nodes, spread, [elephant(G), MOUSE, MOUSE, MOUSE, elephant(G), MOUSE], 3, draw, candidates=60)
    left = [placed.demand for there in nodes.bound.values() for placed in there]
    assert len(live) == len(left) == 3
    assert sorted(d.tx for d in live) == sorted(d.tx for d in left)
    used = sum(view.link.tx for view in nodes.views.values())
    assert used == pytest.approx(sum(demand.tx for demand in live))


def test_every_policy_ends_with_the_same_pods() -> None:
    demands = [demand_of(flow_size(random.Random(number)), LINK) for number in range(60)]
    ends = [
        [id(d) for d in fill(Nodes(4, LINK), choose, demands, 20, random.Random(1), candidates=candidates)]
        for choose in (at_random, spread, extender(PlacementMode.SCORE))
        for candidates in (50, 100)
    ]
    assert all(end == ends[0] for end in ends)


def test_as_many_nodes_are_candidates_as_the_shipped_configuration_looks_at() -> None:
    assert scheduler_config.shipped()["percentageOfNodesToScore"] == placement_quality._SAMPLED


def test_pods_choose_among_so_many_candidates() -> None:
    seen: list[int] = []

    def first(_nodes: Nodes, _demand: Demand, names: list[str], _draw: random.Random) -> str:
        seen.append(len(names))
        return names[0]

    for candidates in (0.1, 10, 42, 100):
        fill(Nodes(50, LINK), first, [MOUSE], 1, random.Random(1), candidates=candidates)
    assert seen == [1, 5, 21, 50]


def shape(placed: list[list[Demand]]) -> list[tuple[float, int]]:
    """Of each node: its elephants' bit/s, in links, and its mice."""
    return [(round(sum(d.tx for d in there) / LINK, 6), sum(d.suffers for d in there)) for there in placed]


@pytest.mark.parametrize(
    ("demands", "nodes", "full", "expected"),
    [
        # the largest first: 0.5 + 0.4 and 0.5 + 0.3
        ([elephant(r * LINK) for r in (0.3, 0.5, 0.4, 0.5)] + [MOUSE] * 3, 3, 110, [(0.9, 0), (0.8, 0), (0, 3)]),
        # one too many: onto the least loaded
        ([elephant(r * LINK) for r in (0.9, 0.5, 0.5)], 2, 110, [(0.9, 0), (1.0, 0)]),
        # mice for whom no node is left share the emptier link
        ([elephant(0.9 * LINK), elephant(0.5 * LINK)] + [MOUSE] * 2, 2, 3, [(0.9, 0), (0.5, 2)]),
        ([elephant(0.9 * LINK), elephant(0.5 * LINK)] + [MOUSE] * 3, 2, 3, [(0.9, 1), (0.5, 2)]),
        # quiet pods leave the other nodes to mice
        ([elephant(0.9 * LINK), QUIET, QUIET] + [MOUSE] * 3, 2, 3, [(0.9, 0), (0, 3)]),
        # more pods than nodes may have: alike on all
        ([MOUSE] * 8, 2, 3, [(0, 4), (0, 4)]),
    ],
)
def test_a_packing_keeps_elephants_together_and_mice_away_from_them(
    demands: list[Demand], nodes: int, full: int, expected: list[tuple[float, int]]
) -> None:
    assert shape(packed(demands, nodes, LINK, full)) == expected


def test_a_packing_is_judged_like_any_placement() -> None:
    found = quality("packed", packed([elephant(LINK / 2), MOUSE], 1, LINK), LINK)
    assert (found.pairs, found.waiting_mice) == (1, 100)
    assert found.mean_wait == pytest.approx(1)


def test_no_placement_carries_more_than_all_links_together() -> None:
    assert lower_bound([elephant(LINK)] * 4, 2, LINK).unmet == pytest.approx(100 * (4 - 1.8) / 4)
    assert lower_bound([elephant(G), MOUSE], 2, LINK).pairs == 0


demands = st.lists(
    st.sampled_from([MOUSE, QUIET, *(elephant(rate * LINK) for rate in (0.2, 0.45, 0.5, 0.9))]),
    min_size=1,
    max_size=5,
)


@given(demands, st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_no_placement_beats_the_lower_bound(pods: list[Demand], nodes: int, full: int) -> None:
    bound = lower_bound(pods, nodes, LINK, full)
    at_most = max(full, math.ceil(len(pods) / nodes))
    for choice in product(range(nodes), repeat=len(pods)):
        there = [[pod for pod, at in zip(pods, choice, strict=True) if at == node] for node in range(nodes)]
        if max(map(len, there)) > at_most:
            continue
        found = quality("any", there, LINK)
        assert found.unmet >= bound.unmet - 1e-6
        if found.unmet <= bound.unmet + 1e-6:
            assert found.pairs >= bound.pairs
            assert found.mean_wait >= bound.mean_wait - 1e-9
            assert found.waiting_mice >= bound.waiting_mice - 1e-9


@given(demands, st.integers(1, 3), st.integers(1, 3))
def test_a_packing_places_every_pod_once(pods: list[Demand], nodes: int, full: int) -> None:
    placed = [id(pod) for there in packed(pods, nodes, LINK, full) for pod in there]
    assert sorted(placed) == sorted(map(id, pods))


@pytest.mark.parametrize(
    "choose", [at_random, spread, extender(PlacementMode.PREFER), extender(PlacementMode.SCORE)]
)
def test_every_policy_answers_a_candidate(choose: Choose) -> None:
    nodes, draw = Nodes(10, LINK), random.Random(1)
    names = list(nodes.bound)[3:6]
    assert {choose(nodes, demand, names, draw) for demand in (MOUSE, elephant(G)) for _ in range(5)} <= set(names)


def test_a_model_without_a_term_prices_everything_else_alike() -> None:
    full = NodeView("a", NodeState.KNOWN, link=LinkLoad(LINK, LINK, tx=LINK, elephants=1))
    usual = node_cost(elephant(LINK), full)
    assert node_cost(elephant(LINK), full, model=WITHOUT["slowdown"]) == 0 < usual
    assert node_cost(elephant(LINK), full, model=WITHOUT["room"]) == usual
    assert node_cost(elephant(LINK), full, model=CostModel(slowdown=150)) == pytest.approx(10 * usual)


def test_a_clusters_tables_use_its_model() -> None:
    draw, free_of_charge = random.Random(1), CostModel(0.0, 0.0, 0.0, 0.0)
    nodes = Nodes(2, LINK, model=free_of_charge)
    nodes.place("node-0000", elephant(LINK), 1)
    for number in (2, 3):
        nodes.place("node-0001", QUIET, number)
    chosen = extender(PlacementMode.SCORE)(nodes, elephant(LINK), list(nodes.bound), draw)
    assert chosen == "node-0000", "nothing costs anything: the node with the fewest pods is taken"
