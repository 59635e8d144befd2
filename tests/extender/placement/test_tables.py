# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.demand import Demand, Origin
from extender.model.snapshot import REMEMBERED_CHANGES, NodeView, Snapshot
from extender.placement.filtering import filter_nodes
from extender.placement.scoring import score_nodes
from extender.placement.tables import LateError, Tables
from extender.placement.tie_break import break_tie
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, MIXED, M, cluster, elephant, mouse, unknown, view

FOREVER = float("inf")
NAMES = [*"abcdef", 'quo"te', "ünicode", "never-seen"]

loads = st.sampled_from(
    [(), ("m",), ("m", "m"), ("e",), ("e", "m"), ("half",), ("half", "m"), None]  # None: nothing is known
)
snapshots = st.dictionaries(st.sampled_from(NAMES[:-1]), loads)
demands = st.sampled_from([A_MOUSE, AN_ELEPHANT, MIXED, Demand()]) | st.builds(
    Demand, st.sampled_from(TrafficClass), st.floats(0, 300 * M), st.floats(0, 300 * M), st.floats(0, 3),
    st.just(Origin.LEARNED), st.integers(0, 9),
)  # fmt: skip
questions = st.tuples(st.lists(st.sampled_from(NAMES), max_size=12), demands, st.sampled_from(PlacementMode))


def made(name: str, load: tuple[str, ...] | None) -> NodeView:
    if load is None:
        return unknown(name)
    pods = {"m": mouse("m", nf=3), "e": elephant("e"), "half": elephant("h", tx=90 * M)}
    return view(name, *(pods[kind] for kind in load))


def snapshot_of(loads: dict[str, tuple[str, ...] | None], scarce: bool = False) -> Snapshot:
    return replace(cluster(*(made(name, load) for name, load in loads.items())), scarce=scarce)


def assert_alike(tables: Tables, asked: tuple[list[str], Demand, PlacementMode], snapshot: Snapshot) -> None:
    """The tables answer what the plain functions answer."""
    names, demand, placement = asked
    plain = filter_nodes(names, demand, placement, snapshot)
    answer = tables.filter(names, demand, placement, snapshot, FOREVER)
    assert json.loads(answer.body) == {
        "NodeNames": plain.passed, "FailedAndUnresolvableNodes": plain.rejected, "Error": "",
    }  # fmt: skip
    assert answer.rejected >= len(plain.rejected)  # a name sent twice is rejected twice
    assert answer.only == (plain.passed[0] if len(plain.passed) == 1 and plain.rejected else None)
    assert answer.passed is None or (answer.passed, json.loads(answer.written)) == (plain.passed, plain.passed)
    assert_scored_alike(tables, names, demand, snapshot)


def assert_scored_alike(tables: Tables, names: list[str], demand: Demand, snapshot: Snapshot) -> None:
    scores = score_nodes(names, demand, snapshot)
    assert json.loads(tables.prioritize(names, demand, snapshot, FOREVER).body) == [
        {"Host": name, "Score": score} for name, score in zip(names, scores, strict=True)
    ]


@given(snapshots, st.lists(st.sampled_from(NAMES), max_size=12), demands, st.text(max_size=5))
def test_tables_commit_an_elephant_like_the_plain_function(
    loads: dict[str, tuple[str, ...] | None], names: list[str], demand: Demand, uid: str
) -> None:
    snapshot = snapshot_of(loads)
    plain = score_nodes(names, demand, snapshot)
    committed, chosen = break_tie(names, plain, uid)
    if demand.neutral or chosen is None or not snapshot.view(chosen).known:
        committed, chosen = plain, None
    body, found, *_ = Tables().prioritize(names, demand, snapshot, FOREVER, uid)
    assert found == chosen
    assert [entry["Score"] for entry in json.loads(body)] == committed


@given(snapshots, st.lists(questions, max_size=4), st.booleans())
def test_tables_answer_exactly_like_the_plain_functions(
    loads: dict[str, tuple[str, ...] | None], asked: list[tuple[list[str], Demand, PlacementMode]], scarce: bool
) -> None:
    tables, snapshot = Tables(), snapshot_of(loads, scarce)
    for question in asked:
        assert_alike(tables, question, snapshot)


@given(snapshots, st.lists(st.tuples(snapshots, st.booleans(), st.booleans(), questions), max_size=6))
def test_tables_follow_changes_exactly(
    loads: dict[str, tuple[str, ...] | None],
    steps: list[
        tuple[dict[str, tuple[str, ...] | None], bool, bool, tuple[list[str], Demand, PlacementMode]]
    ],
) -> None:  # fmt: skip
    tables, snapshot = Tables(), snapshot_of(loads)
    current = dict(loads)
    for changes, removed, asked_between, question in steps:
        for name in changes if removed else ():
            current.pop(name, None)
        if not removed:
            current.update(changes)
        scarce = not snapshot.scarce if asked_between else snapshot.scarce
        views = {name: snapshot.nodes.get(name) for name in current}
        fresh = {
            name: made(name, load) if name in changes else (views[name] or made(name, load))
            for name, load in current.items()
        }
        snapshot = Snapshot(
            fresh, scarce=scarce, version=snapshot.version + 1, recent=(*snapshot.recent, frozenset(changes))
        )
        if asked_between:
            assert_alike(tables, question, snapshot)
    assert_alike(tables, (NAMES, MIXED, PlacementMode.STRICT), snapshot)


def test_a_reader_that_lags_too_far_starts_anew() -> None:
    tables, before = Tables(), snapshot_of({"a": (), "b": ("e",)})
    assert_alike(tables, (["a", "b"], A_MOUSE, PlacementMode.STRICT), before)
    after = replace(
        snapshot_of({"a": ("e",), "b": ()}),
        version=REMEMBERED_CHANGES + 5, recent=(frozenset[str](),) * REMEMBERED_CHANGES,
    )  # fmt: skip
    assert_alike(tables, (["a", "b"], A_MOUSE, PlacementMode.STRICT), after)


class Ticks:
    """A clock that goes on by a second with every look at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


CROWD = [f"n{number}" for number in range(300)]


def crowd() -> Snapshot:
    return snapshot_of({name: ("e",) if name > "n2" else () for name in CROWD})


def test_past_the_deadline_filtering_stops_and_can_be_taken_up_again() -> None:
    clock = Ticks()
    tables, snapshot = Tables(clock), crowd()
    with pytest.raises(LateError):
        tables.filter(CROWD, A_MOUSE, PlacementMode.STRICT, snapshot, 1.5)
    assert clock.now == 2.0, "it stopped at the second look"
    assert_alike(tables, (CROWD, A_MOUSE, PlacementMode.STRICT), snapshot)


def test_past_the_deadline_scoring_stops() -> None:
    with pytest.raises(LateError):
        Tables(Ticks()).prioritize(CROWD, A_MOUSE, crowd(), 1.5)


def test_idle_time_leaves_nothing_to_work_out() -> None:
    clock = Ticks()
    tables, snapshot = Tables(clock), crowd()
    tables.filter(CROWD[:1], A_MOUSE, PlacementMode.STRICT, snapshot, FOREVER)
    slices = 1
    while tables.work_ahead(snapshot, clock.now + 1.5):
        slices += 1
    assert slices > 1, "no slice takes longer than it may"
    looked = clock.now
    assert_alike(tables, (CROWD, A_MOUSE, PlacementMode.STRICT), snapshot)
    assert clock.now == looked, "nothing was left to do when the question came"


def test_many_kinds_of_demand_are_bounded_and_still_right() -> None:
    tables, snapshot = Tables(), snapshot_of({"a": (), "b": ("half",), "c": ("m",)})
    for rate in range(1, 200):
        asked = Demand(TrafficClass.ELEPHANT, rate * M, 0.0, 0.0, Origin.DECLARED)
        assert_alike(tables, (list("abc"), asked, PlacementMode.PREFER), snapshot)
