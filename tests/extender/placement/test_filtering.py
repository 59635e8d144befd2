# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.demand import Demand, Origin
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeView
from extender.placement.filtering import effective_placement, filter_nodes
from extender.placement.node_verdict import unsuitable
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    MIXED,
    M,
    cluster,
    elephant,
    mouse,
    pod_info,
    unknown,
    view,
)

SCORE, PREFER, STRICT, IGNORE = (
    PlacementMode.SCORE,
    PlacementMode.PREFER,
    PlacementMode.STRICT,
    PlacementMode.IGNORE,
)
FREE = view("free")
BUSY = view("busy", *(elephant(f"e{i}", tx=54 * M) for i in range(3)))  # 162 of 200
MICE = view("mice", mouse("m1"), mouse("m2"))
DARK = unknown("dark")
SNAPSHOT = cluster(FREE, BUSY, MICE, DARK)
SMALL = Demand(TrafficClass.ELEPHANT, 20 * M, 0.0, 0.0, Origin.LEARNED, 1)


@pytest.mark.parametrize(
    ("demand", "node", "reason"),
    [
        (A_MOUSE, FREE, None),
        (A_MOUSE, MICE, None),
        (A_MOUSE, BUSY, "elephants use 81 percent of the link (3 pods, 162 Mbit/s of 200 Mbit/s)"),
        (A_MOUSE, view("n", elephant("e", tx=99 * M)), None),  # below half
        (A_MOUSE, view("n", elephant("e", tx=100 * M)), "elephants use 50 percent"),
        (A_MOUSE, view("n", elephant("e", tx=0, rx=150 * M)), "elephants use 75 percent"),
        (AN_ELEPHANT, FREE, None),
        (
            AN_ELEPHANT,
            MICE,
            "2 pods with mice flows live here, elephants would use 75 percent of the link with this pod",
        ),
        (AN_ELEPHANT, view("n", mouse("m")), "1 pod with mice flows lives here"),
        (AN_ELEPHANT, BUSY, "too little is left for another 150 Mbit/s"),  # 180 - 162 is less than 0.9 * 150
        (AN_ELEPHANT, view("n", elephant("e", tx=0, rx=190 * M)), None),  # the other direction is full
        (SMALL, MICE, None),  # 10 % of the link harms nobody
        (SMALL, view("n", elephant("e", tx=150 * M)), None),  # 30 are left
        (SMALL, BUSY, None),  # 18 of 20: a tenth may be missing
        (SMALL, view("n", elephant("e", tx=165 * M)), "too little is left for another 20 Mbit/s"),
        (MIXED, BUSY, "elephants use 81 percent"),
        (Demand(), BUSY, None),
        (AN_ELEPHANT, DARK, None),
        (A_MOUSE, DARK, None),
    ],
)
def test_a_node_is_unsuitable_for_a_reason_people_understand(
    demand: Demand, node: NodeView, reason: str | None
) -> None:
    found = unsuitable(demand, node)
    assert found == reason if reason is None else reason in (found or "")


def test_a_link_smaller_than_the_demand_suits_while_it_is_free() -> None:
    huge = Demand(TrafficClass.ELEPHANT, 1000 * M, 0.0, 0.0, Origin.DECLARED)
    assert unsuitable(huge, FREE) is None
    assert unsuitable(huge, view("n", elephant("e", tx=50 * M))) is not None


ALL = ["dark", "busy", "mice", "free"]


@pytest.mark.parametrize(
    ("demand", "placement", "names", "passed"),
    [
        (A_MOUSE, PREFER, ALL, ["dark", "mice", "free"]),
        (A_MOUSE, STRICT, ALL, ["dark", "mice", "free"]),
        (A_MOUSE, SCORE, ALL, ALL),
        (A_MOUSE, IGNORE, ALL, ALL),
        (AN_ELEPHANT, PREFER, ALL, ["dark", "free"]),
        (AN_ELEPHANT, PREFER, ["busy", "mice"], ["busy", "mice"]),  # nothing suits: scores decide
        (AN_ELEPHANT, STRICT, ["busy", "mice"], []),
        (AN_ELEPHANT, PREFER, ["busy", "dark"], ["busy", "dark"]),  # a dark node is no reason to drop others
        (AN_ELEPHANT, STRICT, ["busy", "dark"], ["dark"]),
        (AN_ELEPHANT, PREFER, ["busy"], ["busy"]),  # asked again about a nominated node
        (AN_ELEPHANT, PREFER, ["not-seen", "busy", "free"], ["not-seen", "free"]),
        (AN_ELEPHANT, PREFER, ["", "free", ""], ["free"]),
        (Demand(), STRICT, ALL, ALL),
        (AN_ELEPHANT, STRICT, [], []),
    ],
)
def test_modes_drop_what_they_promise(
    demand: Demand, placement: PlacementMode, names: list[str], passed: list[str]
) -> None:
    verdict = filter_nodes(names, demand, placement, SNAPSHOT)
    assert verdict.passed == passed
    assert set(verdict.rejected) == {name for name in names if name} - set(passed)


@pytest.mark.parametrize(
    ("pod", "waited", "expected"),
    [
        (pod_info("p"), 0.0, PREFER),
        (pod_info("p", declared=Declared(placement=SCORE)), 0.0, SCORE),
        (pod_info("p", declared=Declared(placement=STRICT)), 119.0, STRICT),
        (pod_info("p", declared=Declared(placement=STRICT)), 120.0, PREFER),  # relaxed
        (pod_info("p", controller="DaemonSet", declared=Declared(placement=STRICT)), 0.0, IGNORE),
        (pod_info("p", ns="kube-system"), 0.0, IGNORE),
        (pod_info("p", priority_class="system-node-critical"), 0.0, IGNORE),
    ],
)
def test_the_mode_is_the_pods_wish_the_default_or_none_of_our_business(
    pod: PodInfo, waited: float, expected: PlacementMode
) -> None:
    assert effective_placement(pod, PREFER, waited, 120.0) is expected


names = st.lists(st.sampled_from([*ALL, "", "not-seen", "ü"]), max_size=8)


@given(
    names, st.sampled_from([A_MOUSE, AN_ELEPHANT, MIXED, SMALL, Demand()]), st.sampled_from(list(PlacementMode))
)
def test_only_names_that_were_sent_come_back_in_their_order(
    sent: list[str], demand: Demand, placement: PlacementMode
) -> None:
    verdict = filter_nodes(sent, demand, placement, SNAPSHOT)
    assert verdict.passed == [name for name in sent if name and name not in verdict.rejected]
    assert set(verdict.rejected) <= set(sent) - {"", "dark", "not-seen", "ü"}
    assert all(verdict.rejected.values())
    assert not any("%" in reason for reason in verdict.rejected.values())  # a format verb to kube-scheduler
    if placement is not STRICT:
        assert verdict.passed or not any(sent)
