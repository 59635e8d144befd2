# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.model.pods import NOTHING_DECLARED, WorkloadKey
from extender.model.trafficfootprint import Record
from tests.extender.learning.builders import BACKUP, OVERRIDDEN, WEB, profile, record


class Told:
    """What the index has said so far."""

    def __init__(self) -> None:
        self.records: dict[WorkloadKey, Record] = {}
        self.times = 0

    def __call__(self, changes: Mapping[WorkloadKey, Record | None]) -> None:
        self.times += 1
        for key, found in changes.items():
            if found is None:
                self.records.pop(key, None)
            else:
                self.records[key] = found


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def index(told: Told) -> TrafficFootprintIndex:
    return TrafficFootprintIndex(told)


def test_what_the_watch_shows_is_told_by_workload(index: TrafficFootprintIndex, told: Told) -> None:
    index.replace([record(BACKUP, profile()), record(WEB)])
    assert told.records.keys() == {BACKUP, WEB}
    assert told.times == 1
    index.upsert(record(BACKUP, profile(rate=5e6)))
    assert told.records[BACKUP] == record(BACKUP, profile(rate=5e6))
    index.delete(record(WEB))
    assert told.records.keys() == {BACKUP} == index.records().keys()


def test_an_event_that_changes_nothing_is_not_told(index: TrafficFootprintIndex, told: Told) -> None:
    index.upsert(record(BACKUP))
    index.upsert(record(BACKUP))
    assert told.times == 1


def test_a_new_list_forgets_what_is_not_in_it(index: TrafficFootprintIndex, told: Told) -> None:
    index.replace([record(BACKUP), record(WEB)])
    index.replace([record(WEB)])
    assert told.records.keys() == {WEB}
    assert index.vanished() == {BACKUP}
    assert index.vanished() == set()


def test_of_several_objects_the_one_that_people_wrote_into_holds(index: TrafficFootprintIndex, told: Told) -> None:
    learned, second, mine = record(), record(name="a-copy"), record(name="z-mine", stated=OVERRIDDEN)
    for obj in (second, mine, learned):
        index.upsert(obj)
    assert told.records[BACKUP] is mine
    index.delete(mine)
    assert told.records[BACKUP] is learned, "the learner's own name comes before the alphabet"
    index.delete(learned)
    assert told.records[BACKUP] is second
    assert index.vanished() == set(), "the workload still has an object"


def test_an_object_whose_workload_is_malformed_stands_for_nothing(
    index: TrafficFootprintIndex, told: Told
) -> None:
    index.upsert(record())
    index.upsert(replace(record(), workload="", problems=("spec",)))
    assert told.records == {}
    assert len(index.objects()) == 1
    assert index.malformed == {"spec": 1}
    index.upsert(record())
    assert BACKUP in told.records


def test_malformed_halves_are_counted_once_per_fault(index: TrafficFootprintIndex) -> None:
    broken = replace(record(), problems=("status",))
    for version in ("1", "2", "3"):
        index.upsert(replace(broken, version=version))
    assert index.malformed == {"status": 1}
    index.upsert(record())
    index.upsert(broken)
    assert index.malformed == {"status": 2}


@st.composite
def records(draw: st.DrawFn) -> Record:
    key = draw(st.sampled_from([BACKUP, WEB, ("shop", "")]))
    stated = draw(st.sampled_from([NOTHING_DECLARED, OVERRIDDEN]))
    return record(key, name=draw(st.sampled_from(["a", "b", "c"])), stated=stated)


events = st.lists(
    st.tuples(st.sampled_from(["upsert", "delete"]), records()) | st.lists(records(), max_size=4), max_size=20
)


@given(events)
def test_whatever_happens_what_was_told_is_what_the_objects_say(
    steps: list[tuple[str, Record] | list[Record]],
) -> None:
    told = Told()
    index = TrafficFootprintIndex(told)
    there: dict[tuple[str, str], Record] = {}
    for step in steps:
        if isinstance(step, list):
            there = {(r.ns, r.name): r for r in step}
            index.replace(list(there.values()))
        else:
            kind, item = step
            getattr(index, kind)(item)
            there.pop((item.ns, item.name), None)
            if kind == "upsert":
                there[item.ns, item.name] = item
    assert told.records == index.records()
    assert told.records.keys() == {r.key for r in there.values() if r.workload}
    assert sorted(r.name for r in index.objects()) == sorted(name for _, name in there)
