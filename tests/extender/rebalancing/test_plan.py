# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from itertools import pairwise

from extender.placement.policy import Policy
from extender.rebalancing import history as memory
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from extender.rebalancing.gain import Misplaced, Reason, Survey
from extender.rebalancing.history import Wait, beginning
from extender.rebalancing.plan import MAX_EXAMINED, MAX_REFUSALS, Examined, Plan, first_fit, plan
from tests.extender.builders import elephant, mouse
from tests.extender.rebalancing.builders import ACT, AT_ONCE, Measured, misplaced

OLD = 10 * 86400.0


def fits(one: Misplaced, busy: Collection[str]) -> Examined:
    found = first_fit(one, busy, 4.0, lambda _name: None)
    return Examined(Wait(Reason.CONSTRAINED, found)) if isinstance(found, str) else Examined(None, *found, OLD)


def planned(*found: Misplaced, config: RebalanceConfig = AT_ONCE) -> Plan:
    return plan(Survey(found), beginning(config, -60.0), fits, 0.0, config)[0]


def test_two_moves_of_one_plan_share_no_node_and_no_workload() -> None:
    config = replace(AT_ONCE, node_interval=1.0, cooldown=1.0)
    both = {"free": 0.0, "second": 1.0}
    made = planned(
        misplaced("a", wl="Job/a", node="n1", targets=both), misplaced("b", wl="Job/b", node="n2", targets=both),
        misplaced("c", wl="Job/c", node="n1", targets={"third": 0.0}), misplaced("d", wl="Job/a", node="n3"),
        config=config,
    )  # fmt: skip
    assert [(move.found.pod.uid, move.target) for move in made.moves] == [("a", "free"), ("b", "second")]
    assert {refusal.pod.uid for refusal in made.refused} == {"c", "d"}


def test_the_budget_of_one_move_holds_within_a_plan() -> None:
    config = replace(AT_ONCE, per_minute=1.0)
    made = planned(*(misplaced(f"u{n}", wl=f"Job/{n}", node=f"n{n}") for n in range(5)), config=config)
    assert len(made.moves) == 1
    assert {refusal.reason for refusal in made.refused} == {Reason.LIMIT}


def test_the_cheapest_node_that_passes_is_taken_and_one_that_gains_too_little_is_not() -> None:
    one = misplaced(targets={"a": 0.0, "b": 1.0, "c": 18.0})
    assert first_fit(one, (), 4.0, lambda name: None if name == "b" else "taint x") == ("b", 1.0)
    assert first_fit(one, (), 4.0, lambda name: None if name == "c" else "taint x") == "a: taint x"
    assert first_fit(one, {"a", "b"}, 4.0, lambda _name: None) == "a: had a move lately"


def test_at_most_so_many_pods_are_read_in_full_in_one_round() -> None:
    read: list[str] = []

    def examine(one: Misplaced, _busy: Collection[str]) -> Examined:
        read.append(one.pod.uid)
        return Examined(Wait(Reason.NOT_OPTED_IN, "no"))

    many = [misplaced(f"u{n}", wl=f"Job/{n}", node=f"n{n}") for n in range(1000)]
    made, _ = plan(Survey(tuple(many)), beginning(AT_ONCE, 0.0), examine, 0.0, AT_ONCE)
    assert len(read) == MAX_EXAMINED
    assert len(made.refused) == MAX_REFUSALS


def test_pods_that_stay_take_no_others_turn_for_ever() -> None:
    """Nobody opted in but the pod that gains least."""
    last = misplaced("last", wl="Job/last", node="n", cost=5.0)
    many = [misplaced(f"u{n}", wl=f"Job/{n}", node=f"n{n}") for n in range(3 * MAX_EXAMINED)]

    def examine(one: Misplaced, busy: Collection[str]) -> Examined:
        return fits(one, busy) if one is last else Examined(Wait(Reason.NOT_OPTED_IN, "no"))

    history, rounds = beginning(AT_ONCE, 0.0), 0
    found = Survey((*many, last))
    made, history = plan(found, history, examine, 0.0, AT_ONCE)
    while not made.moves:
        rounds += 1
        assert rounds <= 3
        made, history = plan(found, history, examine, 30.0 * rounds, AT_ONCE)
    assert made.moves[0].found is last
    _, history = plan(Survey(), history, examine, 200.0, AT_ONCE)
    assert not history.stayed, "of pods that stand right nothing is remembered"


def test_a_pod_that_must_wait_is_not_read_at_all() -> None:
    def examine(_one: Misplaced, _busy: Collection[str]) -> Examined:
        raise AssertionError("read for nothing")

    made, history = plan(Survey((misplaced(),)), beginning(ACT, 0.0), examine, 0.0, ACT)
    assert [refusal.reason for refusal in made.refused] == [Reason.NOT_YET]
    assert history.since == {"p": 0.0}


def test_a_long_lived_pods_own_patience_counts_after_it_was_read() -> None:
    config = replace(AT_ONCE, sustain=100.0)
    history = replace(beginning(config, 0.0), since={"p": 0.0})
    made, _ = plan(Survey((misplaced(),)), history, fits, 101.0, config)
    assert [refusal.reason for refusal in made.refused] == [Reason.NOT_YET]
    made, _ = plan(Survey((misplaced(),)), history, fits, 401.0, config)
    assert made.moves


def test_the_plan_says_what_a_move_gains_and_why_without_a_percent_sign() -> None:
    cluster = Measured({"full": [elephant("e"), mouse("m")], "free": []})
    made, _ = plan(cluster.survey(), beginning(AT_ONCE, 0.0), fits, 0.0, replace(AT_ONCE, node_interval=1.0))
    text = made.moves[0].describe()
    assert text.startswith("costs 20.0 on full and would cost 0.8 on free: 1 pod with mice flows lives here")
    assert "%" not in text
    assert made.gain == made.moves[0].gain


def test_in_shadow_mode_nothing_steers_a_moved_pod_so_act_only_advises() -> None:
    assert replace(ACT, policy=Policy(shadow=True)).mode_now is RebalanceMode.ADVISE
    assert ACT.mode_now is RebalanceMode.ACT


# An attack. A node's agent may write any footprint of its own node.


def _hours(cluster: Measured, hours: int) -> list[tuple[float, str, str]]:
    """The moves within some hours in which the same things are said all the time, whatever is moved."""
    history, made, seen = beginning(ACT, 0.0), list[tuple[float, str, str]](), cluster.survey()
    for now in map(float, range(0, 3600 * hours, 60)):
        history = memory.settled(history, {}, now, ACT)
        found, history = plan(seen, history, fits, now, ACT)
        for move in found.moves:
            made.append((now, move.found.node, move.target))
            history = memory.moved(history, move.found, move.target, now)
    return made


def test_a_node_that_lies_of_a_thousand_pods_has_its_own_moved_at_its_own_pace_and_no_others() -> None:
    honest = {f"n{n}": [mouse(f"h{n}-{at}", wl=f"Deployment/h{n}-{at}") for at in range(5)] for n in range(20)}
    names = [pod.uid for pods in honest.values() for pod in pods]
    lies = [elephant("liar"), *(mouse(uid, 1e9) for uid in names), *(mouse(f"x{n}", 1e9) for n in range(1000))]
    truth = Measured(honest)
    cluster = Measured({**honest, "evil": lies}, bound=dict(truth.bound))
    assert _hours(cluster, 4) == [], "no pod that is bound elsewhere is moved for its words"
    own = {uid: replace(pod, node="evil", uid=uid) for uid, pod in Measured({"evil": lies}).bound.items()}
    made = _hours(Measured({**honest, "evil": lies}, bound={**own, **truth.bound}), 4)
    assert made
    assert {source for _, source, _ in made} == {"evil"}
    # Two workloads, each moved at most once a cooldown.
    assert len(made) <= 2 * 4 * 3600 / ACT.cooldown


def test_a_node_that_lies_that_it_is_free_draws_no_more_than_one_pod_an_interval() -> None:
    nodes = {
        f"n{n}": [elephant(f"e{n}", wl=f"Job/{n}"), mouse(f"m{n}", wl=f"Deployment/{n}")] for n in range(50)
    }  # fmt: skip
    learned = {}
    for n in range(50):
        learned[("default", f"Job/{n}")] = Measured({}).snapshot.learned[("default", "Job/bulk")]
        learned[("default", f"Deployment/{n}")] = Measured({}).snapshot.learned[("default", "Deployment/web")]
    made = _hours(Measured({**nodes, "evil": []}, learned=learned), 2)
    assert made
    assert {target for _, _, target in made} == {"evil"}
    times = [now for now, _, _ in made]
    assert all(later - now >= ACT.node_interval for now, later in pairwise(times))
