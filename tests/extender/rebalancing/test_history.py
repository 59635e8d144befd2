# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.rebalancing import history as memory
from extender.rebalancing.gain import Misplaced, Reason
from extender.rebalancing.history import History, Sent, beginning, moved, observed, patience, waits
from tests.extender.builders import pod_info
from tests.extender.rebalancing.builders import ACT, misplaced

OLD = 10 * 86400.0
FOUND = misplaced()
WEB = FOUND.pod.key
SUSTAINED = ACT.sustain * patience(FOUND.share, OLD)


def long_worth(now: float = 1e5) -> History:
    """A memory in which the move of FOUND has been worth it for ever."""
    return replace(beginning(ACT, 0.0), since={FOUND.pod.uid: now - 1e5})


def other(number: int) -> Misplaced:
    return misplaced(f"other{number}", wl=f"Deployment/other{number}", node=f"n{number}")


def reason(history: History, now: float, age: float = OLD) -> Reason | None:
    wait = waits(history, FOUND, age, now, ACT)
    return None if wait is None else wait.reason


def test_a_move_must_be_worth_it_for_a_sustained_time() -> None:
    history = observed(beginning(ACT, 0.0), [FOUND], 0.0)
    assert reason(history, SUSTAINED - 1) is Reason.NOT_YET
    assert reason(observed(history, [FOUND], SUSTAINED - 1), SUSTAINED + 1) is None


def test_the_time_begins_anew_when_a_move_ceases_to_be_worth_it() -> None:
    history = observed(observed(beginning(ACT, 0.0), [FOUND], 0.0), [], 200.0)
    assert reason(observed(history, [FOUND], 201.0), SUSTAINED + 1) is Reason.NOT_YET


@pytest.mark.parametrize(
    ("share", "age", "expected"),
    [(0, 0, 1.0), (1, 0, 2.0), (0, 9 * 3600, 2.0), (1, 99 * 3600, 4.0), (5, 1e12, 4.0), (-1, -1, 1.0)],
)
def test_pods_that_carry_much_or_live_long_must_wait_longer(share: float, age: float, expected: float) -> None:
    assert patience(share, age) == pytest.approx(expected)


def test_a_workload_that_was_moved_is_left_alone_for_the_cooldown() -> None:
    history = replace(moved(long_worth(), FOUND, "free", 1e5), since={FOUND.pod.uid: 0.0}, in_flight=())
    assert reason(history, 1e5 + ACT.cooldown - 1) is Reason.COOLING_DOWN
    assert reason(history, 1e5 + ACT.cooldown + 1) is None


def test_a_pod_that_was_just_made_is_left_alone_whoever_remembers_it() -> None:
    assert reason(long_worth(), 1e5, age=ACT.cooldown - 1) is Reason.COOLING_DOWN


@pytest.mark.parametrize("node", ["full", "free"])
def test_a_node_takes_part_in_one_move_at_a_time(node: str) -> None:
    another = misplaced("other", wl="Deployment/other", node="full", targets={"free": 0.0})
    history = moved(long_worth(), another, "free", 1e5)
    history = replace(history, budget=ACT_BUDGET, in_flight=())
    assert memory.node_waits(history, node, 1e5 + ACT.node_interval - 1, ACT) > 0
    assert memory.node_waits(history, node, 1e5 + ACT.node_interval, ACT) <= 0
    assert reason(history, 1e5 + 1) is Reason.COOLING_DOWN


ACT_BUDGET = beginning(ACT, 0.0).budget


def test_the_budget_limits_moves_in_the_long_run() -> None:
    history = replace(long_worth(), budget=ACT_BUDGET.refilled(1e5).taken())
    assert reason(history, 1e5 + 59) is Reason.LIMIT
    assert reason(history, 1e5 + 61) is None


def test_a_budget_of_zero_moves_nobody() -> None:
    none = replace(ACT, per_minute=0.0)
    history = replace(long_worth(), budget=beginning(none, 0.0).budget)
    wait = waits(history, FOUND, OLD, 1e9, none)
    assert wait is not None
    assert wait.reason is Reason.LIMIT


def test_enough_moved_pods_that_do_not_run_yet_hold_up_the_next_move() -> None:
    flying = tuple(Sent(f"u{n}", ("ns", f"w{n}"), 1e5) for n in range(memory.MAX_IN_FLIGHT))
    assert reason(replace(long_worth(), in_flight=flying), 1e5) is Reason.LIMIT
    assert reason(replace(long_worth(), in_flight=flying[1:]), 1e5) is None
    own = (Sent("u", WEB, 1e5),)
    assert reason(replace(long_worth(), in_flight=own), 1e5) is Reason.LIMIT


def test_a_disruption_budget_that_refuses_leaves_the_workload_alone_for_a_while() -> None:
    history = memory.refused(long_worth(), WEB, 1e5)
    assert reason(history, 1e5 + memory.REFUSED_FOR - 1) is Reason.REFUSED
    assert reason(history, 1e5 + memory.REFUSED_FOR + 1) is None


def test_failed_evictions_in_a_row_stop_everything_and_one_that_succeeds_counts_anew() -> None:
    history = long_worth()
    for n in range(memory.FAILURES - 1):
        history = memory.failed(history, other(n), "500", 1e5, ACT, target=f"t{n}")
    history = replace(history, budget=ACT_BUDGET)
    assert reason(history, 1e5) is None
    assert moved(history, FOUND, "free", 1e5).failures == 0
    history = memory.failed(history, other(9), "500", 1e5, ACT, target="t9")
    assert reason(history, 1e5 + ACT.halt - 1) is Reason.HALTED
    assert not history.since, "what was worth it must be so anew"
    history = memory.settled(history, {}, 1e5 + ACT.halt, ACT)
    assert reason(observed(history, [FOUND], 1e5 + ACT.halt), 1e5 + ACT.halt + SUSTAINED + 1) is None


def test_a_fatal_failure_stops_at_once() -> None:
    history = memory.failed(long_worth(), other(0), "403", 1e5, ACT, target="free", fatal=True)
    assert reason(history, 1e5) is Reason.HALTED


def test_an_eviction_that_failed_counts_in_the_limits_for_it_may_have_been_made() -> None:
    history = memory.failed(long_worth(), FOUND, "timed out", 1e5, ACT, target="free")
    assert reason(replace(history, since={FOUND.pod.uid: 0.0}), 1e5 + 1) is Reason.COOLING_DOWN
    assert memory.node_waits(history, "full", 1e5 + 1, ACT) > 0
    assert memory.node_waits(history, "free", 1e5 + 1, ACT) > 0
    assert not history.budget.available
    assert history.failures == 1
    there = {WEB: [replace(FOUND.pod, phase="Running")]}
    assert memory.settled(history, there, 1e5 + 1, ACT).in_flight
    assert not memory.settled(history, there, 1e5 + 30, ACT).in_flight, "it was not made"
    ending = {WEB: [replace(FOUND.pod, phase="Running", deleting=True)]}
    assert memory.settled(history, ending, 1e5 + 30, ACT).in_flight, "it was"


def test_a_moved_workloads_pod_that_stays_pending_stops_everything() -> None:
    history = moved(long_worth(), FOUND, "free", 1e5)
    pending = {WEB: [pod_info("successor", wl=WEB[1])]}
    history = memory.settled(history, pending, 1e5 + 1, ACT)
    assert history.in_flight[0].pending_since == 1e5 + 1
    before = memory.settled(history, pending, 1e5 + ACT.pending_limit, ACT)
    assert reason(before, 1e5 + ACT.pending_limit) is not Reason.HALTED
    after = memory.settled(before, pending, 1e5 + 1 + ACT.pending_limit, ACT)
    assert reason(after, 1e5 + 1 + ACT.pending_limit) is Reason.HALTED
    assert "default/Deployment/web" in after.halted_why


def test_a_move_is_done_when_the_pod_is_gone_and_its_successor_runs() -> None:
    history = moved(long_worth(), FOUND, "free", 1e5)
    runs = pod_info("successor", wl=WEB[1], node="free", phase="Running")
    ending = replace(FOUND.pod, deleting=True)
    assert memory.settled(history, {WEB: [runs, ending]}, 1e5 + 30, ACT).in_flight
    assert memory.settled(history, {WEB: []}, 1e5 + 1, ACT).in_flight, "its successor may not be shown yet"
    assert not memory.settled(history, {WEB: [runs]}, 1e5 + 30, ACT).in_flight


def test_an_evicted_pod_that_never_ends_is_forgotten_at_last() -> None:
    history = moved(long_worth(), FOUND, "free", 1e5)
    pods = {WEB: [FOUND.pod]}
    assert memory.settled(history, pods, 1e5 + memory.FORGET_IN_FLIGHT - 1, ACT).in_flight
    assert not memory.settled(history, pods, 1e5 + memory.FORGET_IN_FLIGHT, ACT).in_flight


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_REMEMBERED", 40)
    history = long_worth()
    for number in range(memory.MAX_REMEMBERED + 5):
        one = misplaced(f"u{number}", wl=f"Deployment/w{number}", node=f"n{number}")
        history = replace(moved(history, one, "t", float(number)), in_flight=())
    assert len(history.workloads) == len(history.nodes) == memory.MAX_REMEMBERED
    assert ("default", "Deployment/w0") not in history.workloads
    assert "t" in history.nodes


few = st.integers(0, 3)


@given(st.lists(st.tuples(st.floats(0, 100), few, few, few), max_size=60))
def test_however_moves_are_tried_no_limit_is_passed(tries: list[tuple[float, int, int, int]]) -> None:
    config = replace(ACT, sustain=0.0, cooldown=200.0, node_interval=90.0, per_minute=2.0)
    history, now = beginning(config, 0.0), 0.0
    made: list[tuple[float, str, str, str]] = []
    for passed, workload, source, target in tries:
        now += passed
        if source == target:
            continue
        one = misplaced(f"u{workload}", wl=f"Job/{workload}", node=f"n{source}", targets={f"n{target}": 0.0})
        history = observed(memory.settled(history, {}, now, config), [one], now)
        free = waits(history, one, 1e9, now, config) is None
        if free and memory.node_waits(history, f"n{target}", now, config) <= 0:
            history = moved(history, one, f"n{target}", now)
            made.append((now, f"w{workload}", f"n{source}", f"n{target}"))
    for at, (then, *names) in enumerate(made):
        for later, *others in made[at + 1 :]:
            apart = later - then
            assert names[0] != others[0] or apart >= config.cooldown
            assert not set(names[1:]) & set(others[1:]) or apart >= config.node_interval
        window = [later for later, *_ in made[at:] if later - then <= 60.0]
        assert len(window) <= max(1.0, config.per_minute) + config.per_minute + 1e-6
