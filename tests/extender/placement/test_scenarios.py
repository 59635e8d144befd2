# SPDX-License-Identifier: Apache-2.0
"""Small clusters in which one sees whether filter and score together do what they are for.

The scheduler here does what kube-scheduler does with our answers: it takes the best score, and among equals the
node with the fewest pods, as its own spreading plugins would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import pytest

from extender.model.demand import Demand, Origin
from extender.model.ledger import BoundPod
from extender.model.mice_free_links import MiceFreeLinks
from extender.model.snapshot import NodeFacts, Snapshot, view_node
from extender.placement.filtering import filter_nodes
from extender.placement.scoring import NEUTRAL, score_nodes
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode
from footprint.models import PodFootprint
from footprint.staleness import LastRenewal
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    LINK,
    MIXED,
    STALE_AFTER,
    M,
    elephant,
    footprint,
    mouse,
    pod_info,
)

GREEDY = Demand(TrafficClass.ELEPHANT, 190 * M, 0.0, 0.0, Origin.LEARNED, 3)
UNKNOWN_ELEPHANT = Demand()


class Cluster:
    """Measured pods per node, and what was placed since."""

    def __init__(self, measured: Mapping[str, list[PodFootprint]]) -> None:
        self.measured = measured
        self.placed: dict[str, list[BoundPod]] = {name: [] for name in measured}
        self.mice_free_links = MiceFreeLinks(100 * M)

    def snapshot(self) -> Snapshot:
        facts = (
            NodeFacts(name, footprint(*pods), "", LastRenewal("1", 0.0), tuple(self.placed[name]))
            for name, pods in self.measured.items()
        )
        views = {fact.name: view_node(fact, 0.0, STALE_AFTER) for fact in facts}
        keep = self.mice_free_links.links_to_keep(LINK, len(views))
        return Snapshot(views, scarce=keep > 0 and sum(v.link.mice == 0 for v in views.values()) <= keep)

    def scores(self, demand: Demand) -> dict[str, int]:
        names = list(self.measured)
        return dict(zip(names, score_nodes(names, demand, self.snapshot()), strict=True))

    def place(self, demand: Demand, placement: PlacementMode = PlacementMode.PREFER) -> str:
        snapshot = self.snapshot()
        passed = filter_nodes(list(self.measured), demand, placement, snapshot).passed
        scores = dict(zip(passed, score_nodes(passed, demand, snapshot), strict=True))
        pods = {name: len(self.measured[name]) + len(self.placed[name]) for name in passed}
        chosen = min(passed, key=lambda name: (-scores[name], pods[name], name))
        pod = pod_info(f"new-{sum(map(len, self.placed.values()))}", wl=f"Job/{demand.cls}")
        self.placed[chosen].append(BoundPod(pod, demand))
        self.mice_free_links.put(pod)
        self.mice_free_links.update({pod.key: replace(demand, pods=0)}, ())
        return chosen


def test_mice_are_left_to_the_schedulers_own_spreading_while_no_elephants_are_near() -> None:
    cluster = Cluster({"a": [mouse("m1"), mouse("m2"), mouse("m3")], "b": [], "c": [mouse("m4", nf=50)]})
    assert set(cluster.scores(A_MOUSE).values()) == {NEUTRAL}
    assert Counter(cluster.place(A_MOUSE) for _ in range(5)) == {"b": 3, "c": 2}  # all three hold three


@pytest.mark.parametrize("placement", [PlacementMode.SCORE, PlacementMode.PREFER, PlacementMode.STRICT])
@pytest.mark.parametrize("demand", [AN_ELEPHANT, GREEDY], ids=["100 M free beside it", "takes the whole link"])
def test_a_burst_of_elephants_takes_one_mice_free_node_each(demand: Demand, placement: PlacementMode) -> None:
    cluster = Cluster({"a": [mouse("m1")], "b": [mouse("m2")], "c": [], "d": [], "e": [], "f": []})
    chosen = [cluster.place(demand, placement) for _ in range(3)]
    assert len(set(chosen)) == 3
    assert not {"a", "b"} & set(chosen)


def test_more_elephants_than_mice_free_nodes_share_links_with_few_mice_rather_than_join_many() -> None:
    cluster = Cluster({"a": [mouse("m1"), mouse("m2"), mouse("m3")], "b": [mouse("m4")], "c": [], "d": []})
    chosen = Counter(cluster.place(GREEDY) for _ in range(6))
    assert chosen == {"b": 2, "c": 2, "d": 2}  # a free link 0, one mouse 19, beside an elephant 30, three mice 57


def test_a_small_elephant_joins_few_mice_rather_than_starve_in_a_crowd() -> None:
    small = Demand(TrafficClass.ELEPHANT, 60 * M, 0.0, 0.0, Origin.LEARNED, 2)
    crowd = [elephant(f"e{i}", tx=38 * M) for i in range(5)]
    cluster = Cluster({"crowd": crowd, "few": [mouse("m")]})
    # Crowd: 30 of 60 M, five keep 150 of 180: 15 * (1 + 5 * 0.2) = 30. Few: W(0.3) = 0.43 for one mouse.
    assert cluster.place(small) == "few"


def test_a_large_elephant_joins_a_crowd_rather_than_fill_the_link_of_many_mice() -> None:
    large = Demand(TrafficClass.ELEPHANT, 150 * M, 0.0, 0.0, Origin.LEARNED, 2)
    crowd = [elephant(f"e{i}", tx=38 * M) for i in range(5)]
    many = Cluster({"crowd": crowd, "many": [mouse(f"m{i}", nf=99) for i in range(10)]})
    # Crowd: 30 of 150 M, so 15 * (4 + 5 * 0.2) = 75. Many: W(0.75) = 3 for a weight of 30, cost 90.
    assert many.scores(large)["crowd"] == 10


def test_elephants_fill_the_emptiest_of_crowded_links() -> None:
    cluster = Cluster({"three": [elephant(f"e{i}", tx=63 * M) for i in range(3)], "one": [elephant("f")]})
    assert cluster.scores(GREEDY) == {"three": 0, "one": 10}


def test_a_mixed_pod_avoids_both_elephants_and_mice() -> None:
    demand = Demand(TrafficClass.MIXED, 110 * M, 0.0, 0.5, Origin.LEARNED, 2)
    cluster = Cluster({"elephants": [elephant("e")], "mice": [mouse("m1"), mouse("m2")], "free": []})
    scores = cluster.scores(demand)
    assert scores["free"] == 10
    assert scores["elephants"] == 0
    assert cluster.place(demand) == "free"
    assert cluster.place(MIXED) != "elephants"


def test_a_pod_or_an_elephant_of_unknown_workload_scores_all_alike() -> None:
    cluster = Cluster({"a": [elephant("e")], "b": [mouse("m")], "c": []})
    assert set(cluster.scores(UNKNOWN_ELEPHANT).values()) == {NEUTRAL}


def test_a_link_that_elephants_use_to_nine_tenths_counts_as_full() -> None:
    cluster = Cluster({"full": [elephant("e", tx=182 * M)], "fuller": [elephant("f", tx=199 * M)], "free": []})
    assert cluster.scores(A_MOUSE) == {"full": 0, "fuller": 0, "free": 10}


def test_mice_between_elephants_everywhere_take_the_least_loaded() -> None:
    cluster = Cluster(
        {"a": [elephant("e1")], "b": [elephant("e2", tx=160 * M)], "c": [elephant("e3", tx=110 * M), mouse("m")]}
    )
    assert [cluster.place(A_MOUSE) for _ in range(4)] == ["c"] * 4
    scores = cluster.scores(A_MOUSE)
    assert scores["c"] > scores["b"] > scores["a"]


def test_elephants_with_an_interleaved_burst_of_mice_end_up_apart() -> None:
    cluster = Cluster({name: [] for name in "abcd"})
    homes: dict[str, set[str]] = {"elephant": set(), "mouse": set()}
    for _ in range(2):
        homes["elephant"].add(cluster.place(GREEDY))
        homes["mouse"] |= {cluster.place(A_MOUSE) for _ in range(3)}
    assert not homes["elephant"] & homes["mouse"]
    assert (len(homes["elephant"]), len(homes["mouse"])) == (2, 2)


def test_one_mouse_everywhere_still_leaves_elephants_together() -> None:
    cluster = Cluster({"a": [mouse("m1")], "b": [mouse("m2"), mouse("m3")], "c": [mouse("m4"), mouse("m5")]})
    # Harm one node's mice, not all: beside one elephant costs 30, two mice 38; only a third elephant (45) parts.
    assert [cluster.place(GREEDY) for _ in range(2)] == ["a", "a"]
    assert cluster.place(GREEDY) in "bc"
