# SPDX-License-Identifier: Apache-2.0
"""What somebody without rights to scheduling can make of it: lies in annotations, owners, names and numbers.

What these tests show to be possible is written down in docs/explanation/threats.md as remaining.
"""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from extender.api.answers import Verbs
from extender.api.metrics import Metrics
from extender.cluster.node_entry import NodeInfo
from extender.cluster.state import ClusterState
from extender.model.pods import decode_pod
from extender.model.snapshot import REMEMBERED_CHANGES
from extender.placement.policy import Policy
from footprint.classes import TrafficClass
from footprint.codec import MAX_BYTES, encode
from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH, POD_PLACEMENT, POD_WORKLOAD
from footprint.models import LinkRates, NodeFootprint
from nodeagent.node import pods as agents_pods
from tests.extender.builders import M, decode_request, elephant, mouse, other, pod_info, pod_json
from tests.extender.states import Clock, measured, settle

NODES = [f"node{n}" for n in range(6)]


def cluster(clock: Clock, **pods: list[Any]) -> ClusterState:
    """Six measured nodes; ``pods`` are what their agents say runs there."""
    return measured(clock, NODES, pods)


def passing(state: ClusterState, clock: Clock, policy: Policy | None = None, **pod: Any) -> list[str]:
    verbs = Verbs(state, policy or Policy(deadline=1e9), Metrics(state, {}), clock=clock)
    request = decode_request(json.dumps({"Pod": pod_json(**pod), "NodeNames": NODES}).encode())
    names: list[str] = json.loads(verbs.filter(request, clock()))["NodeNames"]
    return names


def liar(number: int, node: str, phase: str = "Pending") -> Any:
    """A pod that never starts (its image does not exist), and declares a link's worth of elephants."""
    lies = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "1000000G"}
    return decode_pod(
        pod_json(f"liar-{number}", uid=f"l{number}", ns="evil", annotations=lies, node=node, phase=phase)
    )  # fmt: skip


# A hostile tenant.


@pytest.mark.parametrize(
    "wished", [{POD_WORKLOAD: "web"}, {POD_WORKLOAD: "Deployment/web"}, {POD_WORKLOAD: "../shop/web"}]
)
def test_a_tenant_cannot_teach_about_another_namespaces_workload(wished: dict[str, str]) -> None:
    evil = decode_pod(pod_json("x", uid="e", ns="evil", annotations=wished, owner=("Deployment", "web")))
    assert evil.key[0] == "evil"
    honest = mouse("m", ns="shop")
    lie = other("e", TrafficClass.ELEPHANT, wl=evil.workload, tx=190 * M, etx=190 * M, el=9)
    clock = Clock()
    alone = cluster(clock, node0=[honest])
    state = cluster(clock, node0=[honest], node1=[lie] * 50)
    asked = pod_info("new", wl="Deployment/web", ns="shop")
    assert state.snapshot.demand(asked) == alone.snapshot.demand(asked)
    assert state.snapshot.demand(asked).cls is TrafficClass.MOUSE


def test_pods_that_lie_about_their_bandwidth_make_no_pod_of_others_unschedulable() -> None:
    clock = Clock()
    state = cluster(clock)
    for number, node in enumerate(NODES):
        state.put_pod(liar(number, node))
    settle(state)
    assert passing(state, clock, annotations={POD_CLASS: "mouse"}) == NODES
    assert passing(state, clock, annotations={POD_CLASS: "elephant"}) == NODES


def test_what_lies_cost_a_strict_pod_ends_with_its_patience() -> None:
    clock = Clock()
    state = cluster(clock)
    for number, node in enumerate(NODES):
        state.put_pod(liar(number, node))
    strict = {POD_CLASS: "mouse", POD_PLACEMENT: "strict"}
    state.put_pod(decode_pod(pod_json(uid="s", annotations=strict)))
    settle(state)
    assert passing(state, clock, uid="s", annotations=strict) == []
    clock.now += 121.0
    assert passing(state, clock, uid="s", annotations=strict) == NODES


def test_a_lie_of_a_pod_that_runs_is_found_out_when_it_was_measured_long_enough() -> None:
    clock = Clock()
    quiet = other("l0", TrafficClass.QUIET, wl="Job/bulk")
    state = cluster(clock, node0=[quiet])
    state.put_pod(liar(0, "node0", "Running"))
    settle(state)
    assert "node0" not in passing(state, clock, annotations={POD_CLASS: "mouse"})
    clock.now += 61.0
    settle(state)
    assert passing(state, clock, annotations={POD_CLASS: "mouse"}) == NODES


@pytest.mark.parametrize("owner", [("K" * 60_000, "x"), ("Job", "x" * 60_000), ("\x1b[2J", "x"), ("Job", "a\nb")])
def test_a_made_up_owner_leaves_the_nodes_footprint_readable(owner: tuple[str, str]) -> None:
    raw = pod_json("x", uid="e", ns="evil", owner=owner)
    pod = agents_pods.decode_pod(raw)
    lie = other("e", TrafficClass.ELEPHANT, wl=pod.workload, tx=190 * M, etx=190 * M, el=1)
    state = cluster(Clock(), node0=[lie, mouse("m")])
    assert state.snapshot.nodes["node0"].known
    assert state.snapshot.nodes["node0"].mouse_pods == 1
    assert pod.workload == decode_pod(raw).workload, "agent and extender agree on who it is"


def growth(first: int, then: int, act: Callable[[int], None]) -> tuple[int, int]:
    """Bytes that live after ``first`` rounds of ``act``, and after ``then`` more."""
    tracemalloc.start()
    try:
        for number in range(first):
            act(number)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(first, first + then):
            act(number)
        gc.collect()
        return before, tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_pods_on_nodes_that_do_not_exist_leave_nothing_behind() -> None:
    state = cluster(Clock())

    def once(number: int) -> None:
        uids = [f"{number}-{n}" for n in range(20)]
        for uid in uids:
            state.put_pod(pod_info(uid, node=f"nowhere-{uid}", wl=f"Pod/{uid}", ns="evil"))
        settle(state)
        for uid in uids:
            state.drop_pod(uid)
        settle(state)

    # At first what is bounded fills: the changes that readers may still ask for.
    filled, later = growth(REMEMBERED_CHANGES, REMEMBERED_CHANGES, once)
    assert later < 1.2 * filled
    assert set(state.snapshot.nodes) == set(NODES)


# A hostile node.


def full_annotation(salt: int) -> str:
    """As many made-up workloads as an annotation holds."""
    pods = tuple(
        other(f"{salt}-{n}", TrafficClass.MOUSE, wl=f"Deployment/{salt}-{n}", tx=1e9 - n) for n in range(1200)
    )
    text = encode(NodeFootprint(src="x", cap=LinkRates(1e15, 1e15), pods=pods)).text
    assert MAX_BYTES * 0.9 < len(text) <= MAX_BYTES
    return text


def test_what_a_node_claims_takes_bounded_memory_and_is_forgotten_with_the_next_claim() -> None:
    clock = Clock()
    state = cluster(clock)

    def claim(salt: int) -> None:
        state.put_nodes([NodeInfo("node0", full_annotation(salt))])
        clock.now += 1.0
        settle(state)

    first, later = growth(2, 4, claim)
    assert first < 40 * MAX_BYTES
    assert later < 1.5 * first, "claims replace one another"


def test_absurd_numbers_of_one_node_leave_the_others_as_they_are() -> None:
    clock = Clock()
    absurd = elephant("e", tx=1e15, rx=1e15, wl="Job/own")
    honest = {"node1": [elephant("h")], "node2": [mouse("m")]}
    alone, attacked = cluster(clock, **honest), cluster(clock, node0=[absurd], **honest)
    for name in NODES[1:]:
        assert attacked.snapshot.nodes[name] == alone.snapshot.nodes[name]
    with_it, without = (passing(state, clock, annotations={POD_CLASS: "mouse"}) for state in (attacked, alone))
    assert set(without) - set(with_it) == {"node0"}
