# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from extender.learning.elector import Elector, own_identity
from extender.learning.leader_election import (
    DURATION,
    RENEW,
    WRITES_FOR,
    Candidacy,
    Step,
    after_renewal,
    claimed,
    decide,
    given_up,
    holder_of,
)
from tests.extender.learning.builders import MemoryStore
from tests.extender.states import Clock

THEN = datetime(2026, 1, 1, tzinfo=UTC)
ME = Candidacy("me")


def lease(holder: Any = "other", renewed: Any = "t1", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "1"}, "spec": {"holderIdentity": holder, "renewTime": renewed, **spec}}


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (lease("other"), Step.WAIT),
        (lease("me"), Step.RENEW),
        (lease(""), Step.TAKE),  # given up
        ({"metadata": {}, "spec": {}}, Step.TAKE),  # as installed
        ({"metadata": {}}, Step.TAKE),
        (lease(None), Step.TAKE),
        (lease(["other"]), Step.TAKE),
    ],
)
def test_what_a_lease_asks_for_at_first_sight(found: dict[str, Any], step: Step) -> None:
    assert decide(ME, found, 100.0)[1] is step


def test_a_lease_is_taken_over_only_after_it_stood_still_for_its_whole_time() -> None:
    mine, step = decide(ME, lease(), 100.0)
    for now in (110.0, 100.0 + DURATION):
        mine, step = decide(mine, lease(), now)
        assert step is Step.WAIT
    assert decide(mine, lease(), 100.1 + DURATION)[1] is Step.TAKE
    renewed, step = decide(mine, lease(renewed="t2"), 100.1 + DURATION)
    assert step is Step.WAIT
    assert decide(renewed, lease(renewed="t2"), 100.0 + 2 * DURATION)[1] is Step.WAIT


def test_anothers_clock_does_not_count() -> None:
    mine, step = decide(ME, lease(renewed="1970-01-01T00:00:00.000000Z"), 100.0)
    assert step is Step.WAIT
    assert not mine.leads(100.0)


def test_a_holder_stops_writing_before_others_may_begin() -> None:
    mine = after_renewal(ME, 100.0)
    assert mine.leads(100.0 + WRITES_FOR - 0.1)
    assert not mine.leads(100.0 + WRITES_FOR)
    assert RENEW < WRITES_FOR < DURATION


def test_a_holder_that_sees_another_in_its_place_leads_no_more() -> None:
    mine, step = decide(after_renewal(ME, 100.0), lease("other"), 101.0)
    assert step is Step.WAIT
    assert not mine.leads(101.0)


def test_what_a_new_holder_writes() -> None:
    taken = claimed(lease("other", leaseTransitions=3), "me", THEN)
    assert taken["metadata"] == {"resourceVersion": "1"}
    assert taken["spec"] == {
        "holderIdentity": "me", "leaseDurationSeconds": 30, "leaseTransitions": 4,
        "acquireTime": "2026-01-01T00:00:00.000000Z", "renewTime": "2026-01-01T00:00:00.000000Z",
    }  # fmt: skip
    again = claimed(taken, "me", datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC))
    assert again["spec"]["acquireTime"] == "2026-01-01T00:00:00.000000Z"
    assert again["spec"]["renewTime"] == "2026-01-01T00:00:10.000000Z"
    assert again["spec"]["leaseTransitions"] == 4
    assert holder_of(given_up(again)) == ""


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0.1, 25)), max_size=60), st.data())
def test_two_replicas_never_believe_at_once_that_they_lead(
    steps: list[tuple[str, float]], data: st.DataObject
) -> None:
    """Replicas with clocks of their own look at one Lease in any order, some never again."""
    offsets = {"a": 0.0, "b": 5000.0, "c": -300.0}
    minds, now = {name: Candidacy(name) for name in offsets}, 0.0
    shown: dict[str, Any] = {"metadata": {}, "spec": {}}
    for name, pause in steps:
        now += pause
        own = now + offsets[name]
        minds[name], step = decide(minds[name], shown, own)
        if step is not Step.WAIT and data.draw(st.booleans(), label="the write arrives"):
            shown = claimed(shown, name, datetime.fromtimestamp(now, UTC))
            minds[name] = after_renewal(minds[name], own)
        assert sum(mind.leads(now + offsets[name]) for name, mind in minds.items()) <= 1


def elector(store: MemoryStore, clock: Clock, identity: str = "me") -> Elector:
    return Elector(store, candidate=lambda: True, identity=identity, clock=clock)


def test_one_leads_and_the_other_takes_over_when_it_falls_silent() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = elector(store, clock, "first"), elector(store, clock, "second")
    for _ in range(10):
        first.step()
        second.step()
        assert (first.leads(), second.leads()) == (True, False)
        clock.now += RENEW
    waited = 0.0
    while not second.leads():
        clock.now += RENEW
        waited += RENEW
        second.step()
        assert waited <= DURATION + RENEW
    assert not first.leads()
    first.step()
    assert (first.leads(), second.leads()) == (False, True)


def test_whoever_leaves_lets_the_next_lead_at_once() -> None:
    store, clock = MemoryStore(), Clock()
    first, second = elector(store, clock, "first"), elector(store, clock, "second")
    first.step()
    second.step()
    first.give_up()
    assert not first.leads()
    second.step()
    assert second.leads()
    asked = len(store.asked)
    first.give_up()  # no longer its own
    assert len(store.asked) == asked


def test_who_loses_a_race_for_the_lease_waits_and_counts_no_error() -> None:
    store, clock = MemoryStore(), Clock()
    store.fails = [-1, 409]
    mine = elector(store, clock)
    mine.step()
    assert (mine.leads(), mine.errors) == (False, 0)


def test_a_leader_cut_off_from_the_api_stops_writing_in_time() -> None:
    store, clock = MemoryStore(), Clock()
    mine = elector(store, clock)
    mine.step()
    store.fails = [0] * 10
    while clock.now < 1000 + WRITES_FOR:
        assert mine.leads()
        clock.now += 5
        mine.step()
    assert not mine.leads()
    assert mine.errors == 4


def test_a_lease_that_is_not_there_is_made_where_that_is_allowed() -> None:
    store, clock = MemoryStore(), Clock()
    store.lease = None
    mine = elector(store, clock)
    mine.step()
    assert (mine.leads(), mine.errors) == (True, 0)
    store.lease, refused = None, elector(store, clock, "other")
    store.fails = [-1, 403]
    refused.step()
    assert (refused.leads(), refused.errors) == (False, 1)


def test_each_election_names_the_rights_that_its_own_lease_needs() -> None:
    store = MemoryStore()
    mine = Elector(store, candidate=lambda: True, lease="another", remedy="grant the rights of another")
    for one, words in ((elector(store, Clock()), "manifests/base"), (mine, "grant the rights of another")):
        store.fails = [403]
        with capture_logs() as logs:
            one.step()
        assert words in logs[0]["event"]


def test_nobody_stands_for_election_where_there_is_nothing_to_write() -> None:
    store = MemoryStore()
    stop = threading.Event()
    mine = Elector(store, candidate=lambda: False)
    thread = threading.Thread(target=mine.run, args=(stop,))
    thread.start()
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert store.asked == []


def test_an_elector_gives_its_lease_up_when_it_is_stopped() -> None:
    store, stop, taken = MemoryStore(), threading.Event(), threading.Event()
    write = store.write_lease

    def noticed(lease: Mapping[str, Any]) -> None:
        write(lease)
        taken.set()

    store.write_lease = noticed  # type: ignore[method-assign]
    thread = threading.Thread(target=Elector(store, candidate=lambda: True, identity="me").run, args=(stop,))
    thread.start()
    assert taken.wait(30)
    assert store.lease is not None
    assert holder_of(store.lease) == "me"
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert holder_of(store.lease) == ""


def test_two_processes_on_one_machine_are_two_candidates() -> None:
    assert own_identity() != own_identity()
