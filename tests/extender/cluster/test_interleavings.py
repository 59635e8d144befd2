# SPDX-License-Identifier: Apache-2.0
"""Whatever threads show the state in whatever order, nothing of what has gone stays."""

from __future__ import annotations

import threading

from hypothesis import given, settings
from hypothesis import strategies as st

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.pods import PodInfo
from footprint.classes import TrafficClass
from footprint.declared import Declared
from tests.extender.builders import annotation, elephant, mouse
from tests.extender.states import Clock, settle

NODES = ("n0", "n1", "n2")
PODS = range(6)
TEXTS = (None, "no footprint", annotation(elephant("u1"), mouse("u2")), annotation())
PHASES = ("Pending", "Running", "Succeeded")
KINDS = ("node", "no node", "lease", "no lease", "pod", "no pod", "assume", "consider", "apply", "wait")

steps = st.lists(
    st.tuples(st.sampled_from(KINDS), st.sampled_from(NODES), st.sampled_from(PODS), st.integers(0, 11)),
    max_size=60,
)
Step = tuple[str, str, int, int]
Steps = list[Step]


def pod(number: int, node: str = "", phase: str = "Pending") -> PodInfo:
    declared = Declared(TrafficClass.ELEPHANT if number % 2 else TrafficClass.MOUSE)
    return PodInfo(f"u{number}", "ns", f"p{number}", f"Deployment/w{number % 3}", declared, node, phase)


def show(state: ClusterState, clock: Clock, step: Step) -> None:
    """Show ``step`` to ``state``."""
    kind, node, number, choice = step
    match kind:
        case "node":
            state.put_nodes([NodeInfo(node, TEXTS[choice % 4])])
        case "no node":
            state.drop_node(node)
        case "lease":
            state.put_lease(LeaseInfo(node, str(choice)))
        case "no lease":
            state.drop_lease(node)
        case "pod":
            state.put_pod(pod(number, node, PHASES[choice % 3]) if choice % 4 else pod(number))
        case "no pod":
            state.drop_pod(f"u{number}")
        case "assume":
            state.assume(pod(number), node, choice)
        case "consider":
            state.considering(f"u{number}")
        case "apply":
            state.apply()
        case _:
            clock.now += choice * 10


def all_gone(state: ClusterState, clock: Clock) -> None:
    for number in PODS:
        state.drop_pod(f"u{number}")
    assert not any(f"u{number}" in state._assumptions for number in PODS), "not even until its time is over"
    for node in NODES:
        state.drop_node(node)
        state.drop_lease(node)
    clock.now += 1000
    settle(state)
    assert not state.snapshot.nodes
    assert not state.snapshot.learned
    assert not state.snapshot.waiting_since
    assert not state.measured()
    assert (state.pod_uids(), state.leased(), state.pods_waiting) == (set(), set(), 0)
    assert not state._views.entries
    assert state.settled


@given(steps)
def test_nothing_of_what_has_gone_stays(shown: Steps) -> None:
    clock = Clock()
    state = ClusterState(stale_after=180.0, hold=60.0, clock=clock)
    for step in shown:
        show(state, clock, step)
        assert all(view.ledger.pods >= 0 and view.mouse_pods >= 0 for view in state.snapshot.nodes.values())
    all_gone(state, clock)


@settings(max_examples=25)
@given(st.lists(steps, min_size=2, max_size=4))
def test_nor_does_it_where_threads_show_it_at_once(shown: list[Steps]) -> None:
    clock, faults = Clock(), list[BaseException]()
    state = ClusterState(stale_after=180.0, hold=60.0, clock=clock)

    def run(mine: Steps) -> None:
        try:
            for step in mine:
                show(state, clock, step)
        except Exception as fault:
            faults.append(fault)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in shown]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    all_gone(state, clock)
