# SPDX-License-Identifier: Apache-2.0
"""Two replicas that saw the same things, in another order and rhythm, answer alike; and nothing flaps."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.snapshot import NodeState, Snapshot
from extender.placement.tables import Tables
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, M, annotation, elephant, mouse, pod_info
from tests.extender.states import Clock

Event = Callable[[ClusterState], object]
NODES = [f"n{number}" for number in range(6)]


def streams() -> list[list[Event]]:
    """Each watch in its own order; between watches the API promises none."""
    nodes: list[Event] = [
        lambda s, n=n: s.put_nodes([NodeInfo(n, annotation(elephant(f"e-{n}", tx=60 * M), mouse(f"m-{n}")))])  # type: ignore[misc]
        for n in NODES[:4]
    ]
    nodes += [lambda s: s.put_nodes([NodeInfo("n4", "{"), NodeInfo("n5", None)])]
    nodes += [lambda s: s.put_nodes([NodeInfo("n1", annotation(mouse("m-n1")))])]
    leases: list[Event] = [lambda s, n=n: s.put_lease(LeaseInfo(n, "1")) for n in NODES]  # type: ignore[misc]
    declared = Declared(cls=TrafficClass.ELEPHANT, bandwidth=80 * M)
    pods: list[Event] = [lambda s, i=i: s.put_pod(pod_info(f"p{i}", declared=declared)) for i in range(8)]  # type: ignore[misc]
    pods += [
        lambda s, i=i: s.put_pod(pod_info(f"p{i}", declared=declared, node=NODES[i % 4]))  # type: ignore[misc]
        for i in range(6)
    ]
    pods += [lambda s: s.drop_pod("p0"), lambda s: s.put_pod(pod_info("p1", node="n1", phase="Succeeded"))]
    return [nodes, leases, pods]


def replica(seed: int) -> Snapshot:
    draw, clock = random.Random(seed), Clock()
    state = ClusterState(stale_after=180.0, hold=60.0, clock=clock)
    waiting = streams()
    while waiting:
        stream = draw.choice(waiting)
        stream.pop(0)(state)
        waiting = [rest for rest in waiting if rest]
        if draw.random() < 0.3:
            state.apply()
    state.apply()
    return state.snapshot


@pytest.mark.parametrize("seed", range(1, 12))
def test_replicas_answer_alike_whatever_came_first(seed: int) -> None:
    one, other = replica(0), replica(seed)
    for demand in (A_MOUSE, AN_ELEPHANT):
        for placement in PlacementMode:
            asked = (NODES, demand, placement)
            assert Tables().filter(*asked, one, 1e9) == Tables().filter(*asked, other, 1e9)
        assert Tables().prioritize(NODES, demand, one, 1e9) == Tables().prioritize(NODES, demand, other, 1e9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ClusterState:
    state = ClusterState(stale_after=180.0, hold=60.0, clock=clock)
    state.put_nodes([NodeInfo("a", annotation(elephant("e")))])
    state.put_lease(LeaseInfo("a", "1"))
    state.apply()
    return state


def test_an_agents_upgrade_changes_nothing_as_long_as_it_takes_less_than_three_renewals(
    state: ClusterState, clock: Clock
) -> None:
    for second in range(170):
        clock.now += 1
        state.apply()
        assert state.snapshot.nodes["a"].known, second
    state.put_lease(LeaseInfo("a", "2"))
    state.apply()
    assert state.snapshot.nodes["a"].known


def test_a_reboot_is_one_change_to_unknown_and_one_back(state: ClusterState, clock: Clock) -> None:
    seen = [state.snapshot.nodes["a"].state]

    def look() -> None:
        state.apply()
        if (now := state.snapshot.nodes["a"].state) is not seen[-1]:
            seen.append(now)

    for _ in range(400):  # down, longer than believed
        clock.now += 1
        look()
    for marker in range(2, 6):  # back: the agent renews, and writes what it measures afresh
        state.put_lease(LeaseInfo("a", str(marker)))
        look()
        state.put_nodes([NodeInfo("a", annotation(mouse(f"m{marker}")))])
        clock.now += 60
        look()
    assert seen == [NodeState.KNOWN, NodeState.STALE, NodeState.KNOWN]


def test_a_relist_with_the_same_leases_is_no_sign_of_life(state: ClusterState, clock: Clock) -> None:
    clock.now += 170
    state.put_lease(LeaseInfo("a", "1"))
    clock.now += 11
    state.apply()
    assert state.snapshot.nodes["a"].state is NodeState.STALE


def test_a_stepped_clock_of_another_machine_changes_nothing(state: ClusterState, clock: Clock) -> None:
    for marker in ("2030-01-01T00:00:00Z", "1999-01-01T00:00:00Z"):
        clock.now += 100
        state.put_lease(LeaseInfo("a", marker))
        state.apply()
        assert state.snapshot.nodes["a"].known
