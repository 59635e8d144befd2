# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.learning.changes import Urgency
from extender.learning.plan import REPLACEABLE_AFTER, WritePlan, plan, worth_keeping
from extender.model.pods import WorkloadKey
from extender.model.profile import Profile
from extender.model.trafficfootprint import Record
from footprint.classes import TrafficClass
from tests.extender.builders import M
from tests.extender.learning.builders import BACKUP, NOW, OVERRIDDEN, WEB, profile, record

DAY = 86400.0
MONTH = 30 * DAY


def planned(live: dict[WorkloadKey, Profile], *objects: Record, **limits: Any) -> WritePlan:
    records = {o.key: o for o in objects if o.workload}
    return plan(live, records, objects, NOW, **{"retention": MONTH, "capacity": 10, **limits})


def keys(found: WritePlan) -> list[WorkloadKey]:
    return [update.key for update in found.updates]


def test_a_workload_gets_an_object_with_its_second_sample() -> None:
    assert keys(planned({BACKUP: profile(samples=1)})) == []
    assert keys(planned({BACKUP: profile(samples=2)})) == [BACKUP]


def test_an_object_that_is_there_is_written_from_the_first_sample_on() -> None:
    mine = record(ours=False, stated=OVERRIDDEN)
    assert keys(planned({BACKUP: profile(samples=1)}, mine)) == [BACKUP]


def test_the_most_urgent_comes_first() -> None:
    live = {("shop", f"Job/{n}"): profile() for n in ("seen", "moved", "class", "new")}
    objects = [
        record(("shop", "Job/seen"), profile(), seen=NOW - DAY),
        record(("shop", "Job/moved"), profile(50 * M)),
        record(("shop", "Job/class"), profile(cls=TrafficClass.MOUSE)),
    ]
    found = planned(live, *objects)
    assert [u.urgency for u in found.updates] == [Urgency.NEW, Urgency.CLASS, Urgency.MOVED, Urgency.SEEN]


@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({}, True),
        ({"ours": False}, False),  # somebody else made it
        ({"stated": OVERRIDDEN}, False),  # somebody wrote into it
        ({"problems": ("spec",)}, False),  # somebody wrote something into it
        ({"last_seen": NOW - MONTH + 60}, False),
        ({"last_seen": None, "profile": None}, True),  # made long ago, and never written
        ({"last_seen": None, "profile": None, "created": NOW - DAY}, False),
        ({"last_seen": None, "created": None}, False),  # nobody knows how old it is
    ],
)
def test_only_the_learners_own_objects_that_nobody_wrote_into_are_forgotten(
    changes: dict[str, Any], goes: bool
) -> None:
    old = replace(record(written=profile(), seen=NOW - MONTH - 60), **changes)
    assert planned({}, old).deletions == ((old,) if goes else ())


def test_what_is_measured_now_is_not_forgotten_however_old_its_last_sighting() -> None:
    old = record(written=profile(), seen=NOW - 2 * MONTH)
    found = planned({BACKUP: profile()}, old)
    assert found.deletions == ()
    assert [u.urgency for u in found.updates] == [Urgency.SEEN]


def test_a_full_house_leaves_newcomers_out_and_says_how_many() -> None:
    there = [record(("shop", f"Job/{n}"), profile()) for n in range(10)]
    live = {BACKUP: profile(), WEB: profile(), ("shop", "Job/3"): profile(20 * M)}
    found = planned(live, *there)
    assert keys(found) == [("shop", "Job/3")]
    assert (found.left_out, found.deletions) == (2, ())


def test_at_capacity_the_object_not_seen_for_longest_is_replaced() -> None:
    there = [record(("shop", f"Job/{n}"), profile(), seen=NOW - n * DAY) for n in range(10)]
    found = planned({BACKUP: profile(), WEB: profile()}, *there)
    assert {r.workload for r in found.deletions} == {"Job/9", "Job/8"}
    assert (set(keys(found)), found.left_out) == ({BACKUP, WEB}, 0)


def test_below_capacity_nothing_is_replaced() -> None:
    there = [record(("shop", f"Job/{n}"), profile(), seen=NOW - n * DAY) for n in range(9)]
    assert planned({BACKUP: profile()}, *there).deletions == ()


def test_objects_of_people_take_no_place() -> None:
    there = [record(("shop", f"Job/{n}"), ours=False, stated=OVERRIDDEN) for n in range(50)]
    assert keys(planned({BACKUP: profile()}, *there)) == [BACKUP]


def test_a_capacity_of_none_still_serves_what_people_made() -> None:
    found = planned({BACKUP: profile(), WEB: profile()}, record(WEB, ours=False), capacity=0)
    assert keys(found) == [WEB]
    assert found.left_out == 1


@pytest.mark.parametrize(
    ("key", "worth"),
    [
        (WEB, True),
        (("kube-system", "Deployment/coredns"), False),
        (("shop", "DaemonSet/logs"), False),
        (("shop", "Node/node1"), False),
        (("shop", "nonsense"), False),
        (("", "Job/x"), False),
    ],
)
def test_what_placement_never_touches_is_not_kept(key: WorkloadKey, worth: bool) -> None:
    assert worth_keeping(key) is worth


@given(
    st.dictionaries(st.integers(0, 30), st.integers(1, 5), max_size=20),
    st.dictionaries(
        st.integers(0, 30), st.tuples(st.floats(0, 60 * DAY), st.booleans(), st.booleans()), max_size=20
    ),
    st.integers(0, 25),
)
def test_there_are_never_more_objects_than_capacity_and_nothing_of_peoples_goes(
    live: dict[int, int], there: dict[int, tuple[float, bool, bool]], capacity: int
) -> None:
    objects = [
        record(
            ("shop", f"Job/{n}"), profile(), seen=NOW - age, ours=ours, **({"stated": OVERRIDDEN} if said else {})
        )
        for n, (age, ours, said) in there.items()
    ]
    found = planned(
        {("shop", f"Job/{n}"): profile(samples=s) for n, s in live.items()}, *objects, capacity=capacity
    )
    created = [u for u in found.updates if u.record is None]
    before = sum(o.ours for o in objects)
    assert before - len(found.deletions) + len(created) <= max(capacity, before)
    assert len(created) + found.left_out == sum(s >= 2 for n, s in live.items() if n not in there)
    for gone in found.deletions:
        assert gone.ours
        assert not gone.overrides
        assert int(gone.workload.removeprefix("Job/")) not in live
        assert gone.last_seen is not None
        assert gone.last_seen < NOW - REPLACEABLE_AFTER
    assert found.left_out == 0 or before - len(found.deletions) + len(created) >= capacity
