# SPDX-License-Identifier: Apache-2.0
"""A virtual machine during live migrations: it counts once, where it runs, and is expected where it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.cluster import guests
from extender.cluster.guests import Guests, counting, waiting_for_guest
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.demand import Tally
from extender.model.pods import PodInfo
from footprint.classes import TrafficClass
from footprint.kubevirt import Guest
from footprint.models import PodFootprint
from tests.extender.builders import M, annotation, elephant, mouse, other, pod_info
from tests.extender.states import Clock, settle

DB = "VirtualMachineInstance/db"
KEY = ("default", DB)
RATE = 100 * M


def pod(uid: str, node: str = "", *, of: str = "i", turn: int = 0, came: bool = True, **values: Any) -> PodInfo:
    """The pod of the machine's ``turn``-th migration; 0: its first pod. ``came``: its guest is there."""
    guest = Guest(of, target=turn > 0, arrived=came or turn == 0)
    created = f"2026-03-01T10:0{turn}:00Z"
    return pod_info(uid, wl=DB, node=node, guest=guest, created=created, **{"phase": "Running", **values})


SOURCE, TARGET = pod("source", "a"), pod("target", "b", turn=1, came=False)
ARRIVED = pod("target", "b", turn=1)
GONE = pod("source", "a", phase="Succeeded")
E, Q, U = TrafficClass.ELEPHANT, TrafficClass.QUIET, TrafficClass.UNKNOWN


@pytest.mark.parametrize(
    ("pods", "measured", "counts"),
    [
        ([SOURCE, TARGET], {"source": E, "target": Q}, "source"),
        ([SOURCE, TARGET], {"source": Q, "target": E}, "source"),  # the target's is not the guest's
        ([SOURCE, TARGET], {"target": Q}, ""),  # the source's node is stale
        ([SOURCE, ARRIVED], {"source": E, "target": Q}, "source"),
        ([SOURCE, ARRIVED], {"source": E, "target": U}, "source"),
        ([SOURCE, ARRIVED], {"source": E, "target": E}, "target"),
        ([GONE, ARRIVED], {"source": E, "target": Q}, "source"),
        ([GONE, ARRIVED], {"source": E, "target": E}, "target"),
        ([GONE, ARRIVED], {"source": Q, "target": Q}, "target"),
        # A KubeVirt that does not say that the guest has come: it can be nowhere else.
        ([GONE, TARGET], {"source": E, "target": E}, "target"),
        # A third pod, and one more migration.
        ([GONE, ARRIVED, pod("c", "a", turn=2, came=False)], {"source": E, "target": E, "c": Q}, "target"),
        ([GONE, ARRIVED, pod("c", "a", turn=2)], {"source": E, "target": E, "c": E}, "c"),
        # A migration that failed.
        ([SOURCE, pod("target", "b", turn=1, came=False, phase="Failed")], {"source": E, "target": Q}, "source"),
    ],
)
def test_a_machine_counts_by_the_pod_that_its_guest_runs_in(
    pods: list[PodInfo], measured: Mapping[str, TrafficClass], counts: str
) -> None:
    assert counting(pods, lambda one: measured.get(one.uid)) == counts
    assert counting(reversed(pods), lambda one: measured.get(one.uid)) == counts


def test_a_target_waits_until_it_is_told_or_nothing_else_is_left() -> None:
    assert waiting_for_guest([SOURCE, TARGET]) == {"target"}
    assert waiting_for_guest([SOURCE, ARRIVED]) == set()
    assert waiting_for_guest([GONE, TARGET]) == set()
    assert waiting_for_guest([TARGET]) == set(), "its source is in another cluster"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ClusterState:
    made = ClusterState(stale_after=1e6, hold=60.0, clock=clock)
    for node in "abc":
        publish(made, node)
    return made


def publish(state: ClusterState, node: str, *pods: PodFootprint, **values: Any) -> None:
    state.put_nodes([NodeInfo(node, annotation(*pods, **values))])
    state.put_lease(LeaseInfo(node, "1"))
    settle(state)


def show(state: ClusterState, *pods: PodInfo) -> None:
    for one in pods:
        state.put_pod(one)
    settle(state)


def busy(uid: str, rate: float = RATE) -> PodFootprint:
    return elephant(uid, tx=rate, wl=DB)


def idle(uid: str) -> PodFootprint:
    return other(uid, TrafficClass.QUIET, DB)


ONCE = Tally(active=1, hurting=1, tx=RATE, peak_tx=RATE, running=1)


def test_a_migration_from_its_beginning_to_its_end(state: ClusterState, clock: Clock) -> None:
    def on(node: str) -> float:
        return state.snapshot.nodes[node].link.tx

    show(state, SOURCE)
    publish(state, "a", busy("source"))
    assert (state.measured()[KEY], on("a"), on("b")) == (ONCE, RATE, 0)

    show(state, pod("target", "b", turn=1, came=False, phase="Pending"))
    assert (on("a"), on("b")) == (RATE, RATE), "measured here, expected there"
    show(state, TARGET)
    publish(state, "b", idle("target"))
    clock.now += 3600  # a large machine takes long
    settle(state)
    assert (state.measured()[KEY], on("a"), on("b")) == (ONCE, RATE, RATE)
    assert state.snapshot.nodes["b"].ledger.elephants == 1

    show(state, ARRIVED)
    assert (state.measured()[KEY], on("b")) == (ONCE, RATE), "the target is not measured to be busy yet"
    clock.now += 30
    publish(state, "b", busy("target"))
    assert (state.measured()[KEY], on("b")) == (ONCE, RATE)
    assert state.snapshot.nodes["b"].ledger.pods == 0

    show(state, GONE)
    publish(state, "a", ended=[busy("source")])
    assert (state.measured()[KEY], on("a"), on("b")) == (ONCE, 0, RATE)
    state.drop_pod("source")
    settle(state)
    assert state.measured()[KEY] == ONCE
    assert state.snapshot.learned[KEY].pods == 1


def test_what_is_expected_of_an_arrived_guest_ends_like_any_pods(state: ClusterState, clock: Clock) -> None:
    show(state, SOURCE)
    publish(state, "a", busy("source"))
    show(state, TARGET)
    publish(state, "b", idle("target"))
    clock.now += 3600
    show(state, ARRIVED)
    clock.now += 59
    settle(state)
    assert state.snapshot.nodes["b"].link.tx == RATE
    clock.now += 2
    settle(state)
    assert state.snapshot.nodes["b"].link.tx == 0, "it sends no elephants any more"


def test_a_target_seen_before_its_source_waits_as_well(state: ClusterState, clock: Clock) -> None:
    show(state, TARGET)
    clock.now += 3600
    show(state, SOURCE)
    publish(state, "a", busy("source"))
    publish(state, "b", idle("target"))
    assert state.snapshot.nodes["b"].link.tx == RATE


def test_without_a_word_of_the_guests_arrival_the_end_of_the_source_is_one(
    state: ClusterState, clock: Clock
) -> None:
    show(state, SOURCE, TARGET)
    publish(state, "a", busy("source"))
    publish(state, "b", idle("target"))
    show(state, GONE)
    assert state.snapshot.nodes["b"].link.tx == RATE
    clock.now += 61
    settle(state)
    assert state.snapshot.nodes["b"].link.tx == 0


def test_a_machine_of_mice_is_expected_at_its_target_too(state: ClusterState) -> None:
    show(state, SOURCE)
    publish(state, "a", mouse("source", nf=9.0, wl=DB))
    show(state, TARGET)
    publish(state, "b", idle("target"))
    assert state.snapshot.nodes["b"].link.mice == state.snapshot.nodes["a"].link.mice > 0
    show(state, ARRIVED)
    assert state.snapshot.nodes["b"].link.mice > 0, "it was idle before its guest came"


def test_a_stale_source_leaves_nothing_rather_than_the_idle_target(state: ClusterState) -> None:
    show(state, SOURCE, TARGET)
    publish(state, "a", busy("source"))
    publish(state, "b", idle("target"))
    state.drop_lease("a")
    settle(state)
    assert KEY not in state.measured()


def test_a_machine_that_starts_anew_is_another_one_of_the_same_workload(state: ClusterState) -> None:
    show(state, pod("source", "a", phase="Succeeded"), pod("new", "b", of="j"))
    publish(state, "a", ended=[busy("source")])
    publish(state, "b", busy("new"))
    assert state.measured()[KEY] == Tally(active=2, hurting=2, tx=2 * RATE, peak_tx=RATE, running=1)


def test_one_link_is_kept_for_a_machine_and_not_one_for_each_of_its_pods(state: ClusterState) -> None:
    show(state, SOURCE)
    publish(state, "a", busy("source"))
    before = state._pods.expected.links_to_keep(RATE, 100)
    show(state, TARGET)
    assert state._pods.expected.links_to_keep(RATE, 100) == before > 0
    show(state, ARRIVED)
    assert state._pods.expected.links_to_keep(RATE, 100) == before


def test_as_many_machines_and_pods_are_remembered_as_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "MOST", 3)
    kept = Guests()
    for number in range(10):
        kept.put(pod(f"s{number}", "a", of=f"i{number}"))
        kept.put(pod(f"t{number}", f"b{number}", of=f"i{number}", turn=1, came=False))
        if number != 1:  # it still migrates, unlike the others
            kept.drop(pod(f"s{number}", "a", of=f"i{number}"))
    assert kept.incoming == {"t1"}, "one that migrates is kept"
    assert len(kept.partners(["a"])) == 4
    for turn in range(1, 10):
        kept.put(pod(f"u{turn}", "c", of="i9", turn=turn, phase="Succeeded"))
    assert len(kept.twice("c", lambda _: None)) < 10


@pytest.mark.parametrize("drained", [False, True])
def test_a_migration_that_is_over_is_forgotten_when_nothing_shows_its_source_any_more(
    state: ClusterState, drained: bool
) -> None:
    show(state, SOURCE, ARRIVED)
    publish(state, "b", busy("target"))
    publish(state, "a", ended=[busy("source")])
    state.drop_pod("source")
    settle(state)
    kept = state._pods.guests
    assert kept.partners(["a"]) == {"a", "b"}, "its data is shown for a while"
    if drained:
        state.drop_node("a")
        settle(state)
    else:
        publish(state, "a")
    assert not kept.partners(["a", "b"])
    assert [pod.uid for pod in kept._alone.values()] == ["target"]
    assert state.measured()[KEY].running == 1
    state.drop_pod("target")
    assert not kept._alone


@pytest.mark.parametrize("several", [False, True])
def test_a_pod_whose_label_names_another_machine_leaves_the_one_before(state: ClusterState, several: bool) -> None:
    if several:
        show(state, pod("other", "b", turn=1, came=False))
    kept = state._pods.guests
    for number in range(20):
        show(state, pod("source", "a", of=f"i{number}" if number else "i"))
    assert len(kept._alone) == 1
    assert [list(pods) for pods in kept._several.values()] == [["other"]] * several
    show(state, replace(pod("source", "a"), guest=None))
    assert not kept._alone
    assert not kept.incoming


_TURNS = st.integers(0, 3)
_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pod"), _TURNS, st.sampled_from("ij"), st.booleans(), st.booleans()),
        st.tuples(st.just("drop"), _TURNS, st.sampled_from("ij")),
        st.tuples(st.just("node"), st.sampled_from("abc"), st.lists(_TURNS, unique=True), st.booleans()),
    ),
    max_size=25,
)
_NODE_OF: Final = "abca"
"""The node of each turn's pod."""


@given(_EVENTS)
def test_whatever_comes_in_whatever_order_a_machine_counts_once(events: list[tuple[Any, ...]]) -> None:
    state = ClusterState(stale_after=1e6, hold=60.0, clock=Clock())
    known: set[str] = set()
    for kind, *event in events:
        if kind == "pod":
            turn, of, came, ended = event
            phase = "Succeeded" if ended else "Running"
            show(state, pod(f"{of}{turn}", _NODE_OF[turn], of=of, turn=turn, came=came, phase=phase))
            known.add(f"{of}{turn}")
        elif kind == "drop" and sum(uid.startswith(event[1]) for uid in known) > 1:
            state.drop_pod(f"{event[1]}{event[0]}")
            settle(state)
        elif kind == "node":
            node, turns, lately = event
            listed = [busy(f"i{turn}") for turn in turns if _NODE_OF[turn] == node and f"i{turn}" in known]
            publish(state, node, *([] if lately else listed), ended=listed if lately else [])
    assert state.measured().get(KEY, Tally()).active <= 1
    assert state._pods.guests.incoming <= known
    assert all(view.known for view in state.snapshot.nodes.values())
