# SPDX-License-Identifier: Apache-2.0
"""A full link is full whatever its capacity is said to be, and a capacity that is guessed never filters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from extender.model.cost import SATURATED, capacity_now, careful_capacity, waiting
from extender.model.snapshot import NodeFacts, NodeState, NodeView, view_node
from extender.placement.explain import explain
from extender.placement.filtering import filter_nodes
from extender.placement.scoring import score_nodes
from footprint.declared import PlacementMode
from footprint.models import LinkRates, PodFootprint
from footprint.staleness import LastRenewal
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    STALE_AFTER,
    M,
    cluster,
    elephant,
    footprint,
    mouse,
    patient,
    pod_info,
    view,
)

GIGABIT = 1000 * M


def node(name: str, *pods: PodFootprint, gone: tuple[str, ...] = (), **said: Any) -> NodeView:
    """A fresh node whose agent says more of its link."""
    found = replace(footprint(*pods, cap=GIGABIT), **said)
    return view_node(NodeFacts(name, found, "", LastRenewal("1", 0.0), gone=gone), 0.0, STALE_AFTER)


@pytest.mark.parametrize(
    ("capacity", "elephants", "full", "expected"),
    [
        (1000, 180, False, 1000),
        (1000, 180, True, 200),  # 180 / 0.9
        (0, 180, True, 200),  # not known: the queue says it
        (0, 180, False, 0),
        (1000, 0, True, 1000),  # full of something else
        (100, 180, True, 100),  # what is stated is less
    ],
)
def test_elephants_use_nine_tenths_of_a_full_direction(
    capacity: float, elephants: float, full: bool, expected: float
) -> None:
    assert capacity_now(capacity, elephants, full=full) == pytest.approx(expected)


def test_a_full_direction_counts_as_saturated_and_one_without_elephants_does_not() -> None:
    full = node("n", elephant("e", 180 * M), full=("tx",), by="assumed")
    assert full.utilisation == pytest.approx(SATURATED)
    assert full.waiting == pytest.approx(waiting(1.0))
    assert full.load == "the link is full with elephants (1 pod, 180 Mbit/s)"
    assert node("n", mouse("m"), full=("tx",)).utilisation == 0
    assert node("n", elephant("e", 180 * M), full=("rx",)).utilisation == pytest.approx(0.18)


def test_a_link_is_not_full_any_more_when_its_elephants_are_gone() -> None:
    assert node("n", elephant("e", 180 * M), gone=("e",), full=("tx",)).utilisation == 0


def test_a_link_without_a_capacity_is_known_while_it_is_full_with_elephants() -> None:
    unknown = LinkRates()
    assert node("n", elephant("e"), cap=unknown).state is NodeState.NO_CAPACITY
    assert node("n", mouse("m"), cap=unknown, full=("tx",)).state is NodeState.NO_CAPACITY
    known = node("n", elephant("e"), cap=unknown, full=("tx",))
    assert known.state is NodeState.KNOWN
    assert known.utilisation == pytest.approx(SATURATED)
    assert "traffic-footprint.io/link-capacity" in node("n", cap=unknown).detail


BUSY = elephant("e", 800 * M)
"""Four fifths of a gigabit."""


@pytest.mark.parametrize(
    ("said", "filters"),
    [
        ({}, True),  # an agent of before
        ({"by": "stated"}, True),
        ({"by": "driver"}, True),
        ({"by": "a-later-word"}, True),
        ({"by": "estimated", "sure": 0.5}, True),
        ({"by": "estimated", "sure": 0.49}, False),
        ({"by": "assumed"}, False),
        ({"by": "assumed", "full": ("tx",)}, True),
        ({"by": "assumed", "full": ("rx",)}, False),
    ],
)
@pytest.mark.parametrize("mode", [PlacementMode.STRICT, PlacementMode.PREFER])
def test_a_guessed_capacity_moves_scores_and_never_filters(
    said: dict[str, Any], filters: bool, mode: PlacementMode
) -> None:
    snapshot = cluster(view("free"), node("busy", BUSY, mouse("m"), **said))
    for demand in (A_MOUSE, AN_ELEPHANT):
        verdict = filter_nodes(["free", "busy"], demand, mode, snapshot)
        assert ("busy" in verdict.rejected) is filters
        free, busy = score_nodes(["free", "busy"], demand, snapshot)
        assert free > busy


@pytest.mark.parametrize(
    ("guess", "elephants", "expected"),
    [
        (1000, 0, 100),  # a tenth
        (1000, 18, 100),
        (1000, 180, 200),  # those there may fill it
        (1000, 990, 1000),
    ],
)
def test_scores_take_a_guess_for_a_tenth_or_for_what_elephants_would_fill(
    guess: float, elephants: float, expected: float
) -> None:
    assert careful_capacity(guess, elephants) == pytest.approx(expected)


def test_elephants_on_links_that_nobody_knows_do_not_pile_up_and_mice_are_left_alone() -> None:
    """1 Gbit/s is assumed, and 190 Mbit/s is what the links really carry: the guess alone would allow five."""
    snapshot = cluster(
        node("one", elephant("e", 190 * M), by="assumed"),
        node("mice", mouse("m"), mouse("n"), by="assumed"),
        node("empty", by="assumed"),
    )
    names = ["one", "mice", "empty"]
    for_elephant = dict(zip(names, score_nodes(names, AN_ELEPHANT, snapshot), strict=True))
    assert max(for_elephant, key=for_elephant.__getitem__) == "empty"
    assert for_elephant["empty"] > for_elephant["one"]
    one, mice, empty = score_nodes(names, A_MOUSE, snapshot)
    assert one < min(mice, empty)
    assert filter_nodes(names, AN_ELEPHANT, PlacementMode.STRICT, snapshot).rejected == {}


def test_a_view_whose_capacity_is_firm_from_now_on_is_judged_anew() -> None:
    before, after = (node("n", BUSY, by="estimated", sure=sure) for sure in (0.4, 0.6))
    assert not after.judged_like(before)
    assert after.judged_like(replace(after, sure=0.9))


def test_an_explanation_says_where_a_capacity_comes_from_and_that_a_link_is_full() -> None:
    views = cluster(
        node("full", elephant("e", 180 * M), by="assumed", full=("tx",)),
        node("learned", elephant("e", 180 * M), by="estimated", sure=0.3),
    )
    told = explain(pod_info("p"), ["full", "learned"], views, patient(), 0.0)["nodes"]
    assert told["full"]["link"]["full"] == ["tx"]
    assert (told["full"]["link"]["capacity_by"], told["full"]["link"]["guessed"]) == ("assumed", ["rx"])
    assert told["learned"]["load"] == (
        "elephants may use as much as 90 percent of the link (1 pod, 180 Mbit/s; its capacity is estimated)"
    )
    assert told["learned"]["link"]["sure"] == 0.3
