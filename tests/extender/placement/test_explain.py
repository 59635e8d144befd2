# SPDX-License-Identifier: Apache-2.0
"""A pod that is placed already is explained as if it were not: it must not stand in its own way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.api.explainer import explained
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.demand import Demand
from extender.model.ledger import BoundPod
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeFacts, unplaced, view_node
from extender.placement.policy import Policy
from footprint.classes import TrafficClass
from footprint.codec import encode
from footprint.declared import Declared, PlacementMode
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from footprint.staleness import LastRenewal
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    MIXED,
    STALE_AFTER,
    M,
    elephant,
    footprint,
    mouse,
    other,
    pod_info,
)

UID = "asked"
rates = st.sampled_from([0.0, 10 * M, 20 * M, 30 * M, 50 * M])


def measured(uid: str, workload: str) -> st.SearchStrategy[PodFootprint]:
    """A pod's row; three of them do not fill a link, where what a pod got would not be what it wants."""
    mixed = st.builds(
        lambda tx: other(uid, TrafficClass.MIXED, workload, etx=tx, tx=tx, el=1, nf=3.0, ms=0.5), rates
    )
    return st.one_of(
        st.builds(lambda tx, rx: elephant(uid, tx=tx, rx=rx, wl=workload), rates, rates),
        st.builds(lambda flows: mouse(uid, nf=flows, wl=workload), st.sampled_from([0.0, 9.0])),
        mixed, *(st.just(other(uid, cls, workload)) for cls in (TrafficClass.QUIET, TrafficClass.UNKNOWN)),
    )  # fmt: skip


neighbours = st.lists(st.sampled_from("nop"), unique=True, max_size=2).flatmap(
    lambda uids: st.tuples(*(measured(uid, f"Job/{uid}") for uid in uids))
)
own_row = st.none() | measured(UID, "Job/asked")
demands = st.sampled_from([AN_ELEPHANT, A_MOUSE, MIXED, Demand()])


def without_row(node: NodeFootprint, uid: str) -> NodeFootprint:
    """The footprint as it would be had the pod never sent anything."""
    kept = tuple(pod for pod in node.pods if pod.uid != uid)
    el = LinkRates(sum(pod.etx for pod in kept), sum(pod.erx for pod in kept))
    return replace(node, pods=kept, el=el)


@given(neighbours, own_row, demands, st.sampled_from([None, -100.0, 0.0]), st.booleans())
def test_an_unplaced_pod_leaves_the_node_as_it_would_be_without_it(
    others: tuple[PodFootprint, ...], own: PodFootprint | None, demand: Demand, since: float | None, cut: bool
) -> None:
    node = footprint(*others, *([own] if own else []), cut=int(cut))
    neighbour = BoundPod(pod_info("late"), AN_ELEPHANT)
    placed = NodeFacts("n", node, "", LastRenewal("1", 0.0), (BoundPod(pod_info(UID), demand, since), neighbour))
    never = NodeFacts("n", without_row(node, UID), "", LastRenewal("1", 0.0), (neighbour,))
    assert view_node(unplaced(placed, UID), 0.0, STALE_AFTER) == view_node(never, 0.0, STALE_AFTER)


def cluster_with(nodes: dict[str, NodeFootprint], *pods: PodInfo) -> ClusterState:
    state = ClusterState(stale_after=STALE_AFTER, clock=lambda: 0.0)
    state.put_nodes([NodeInfo(name, encode(found).text) for name, found in nodes.items()])
    for name in nodes:
        state.put_lease(LeaseInfo(name, "1"))
    for pod in pods:
        state.put_pod(pod)
    state.apply()
    return state


declarations = st.builds(
    Declared, st.sampled_from([None, TrafficClass.ELEPHANT, TrafficClass.MOUSE]), st.sampled_from([None, 60 * M]),
    st.sampled_from([None, *PlacementMode]),
)  # fmt: skip


@given(neighbours, own_row, declarations, st.sampled_from(["Pending", "Running", "Succeeded"]), st.booleans())
def test_a_bound_pod_is_explained_like_the_same_pod_had_it_not_been_placed(
    others: tuple[PodFootprint, ...], own: PodFootprint | None, declared: Declared, phase: str, queued: bool
) -> None:
    """What it has taught of its workload stays known: there, as a pod that ended."""
    rows, home = ([own] if own else []), footprint(*others)
    rest = {"mice": footprint(mouse("m")), "idle": footprint()}
    queue = [
        pod_info(f"q{number}", wl="Job/queue", declared=Declared(TrafficClass.ELEPHANT))
        for number in range(queued)
    ]
    asked = pod_info(UID, wl="Job/asked", declared=declared)
    bound = replace(asked, node="home", phase=phase)
    placed = cluster_with({"home": footprint(*others, *rows), **rest}, bound, *queue)
    waiting = replace(asked, phase=phase if phase == "Succeeded" else "Pending")
    never = cluster_with({"home": replace(home, ended=tuple(rows)), **rest}, waiting, *queue)
    told, expected = (explained(pod, None, state, Policy()) for pod, state in ((bound, placed), (waiting, never)))
    assert told["pod"].pop("node") == "home"
    assert expected["pod"].pop("node") is None
    assert told == expected


def home_of(told: dict[str, Any]) -> tuple[bool, str | None]:
    node = told["nodes"]["home"]
    return node["passes"], node["unsuitable"]


@pytest.mark.parametrize("wl", ["Job/bulk", "Job/declared"])
def test_an_elephant_alone_on_its_link_is_told_that_its_node_suits_it(wl: str) -> None:
    pod = pod_info(UID, wl=wl, node="home", phase="Running", declared=Declared(TrafficClass.ELEPHANT, 180 * M))
    state = cluster_with({"home": footprint(elephant(UID, tx=180 * M, wl=wl)), "free": footprint()}, pod)
    assert home_of(explained(pod, None, state, Policy())) == (True, None)
    stranger = pod_info("stranger", wl=wl, declared=pod.declared)
    assert not home_of(explained(stranger, None, state, Policy()))[0]


def test_a_pod_that_was_not_measured_yet_is_not_held_against_itself_either() -> None:
    pod = pod_info(UID, node="home", declared=Declared(TrafficClass.ELEPHANT, 180 * M))
    state = cluster_with({"home": footprint(), "free": footprint()}, pod)
    assert state.snapshot.nodes["home"].ledger.pods == 1
    told = explained(pod, None, state, Policy())
    assert (home_of(told), told["nodes"]["home"]["predicted_pods"]) == ((True, None), 0)


def test_the_snapshot_that_answers_rest_on_stays_as_it_is() -> None:
    pod = pod_info(UID, node="home", declared=Declared(TrafficClass.ELEPHANT, 180 * M))
    state = cluster_with({"home": footprint(elephant(UID)), "free": footprint()}, pod)
    before, home = state.snapshot, state.snapshot.nodes["home"]
    assert state.without(pod).nodes["home"] != home
    assert state.snapshot is before
    assert state.snapshot.nodes["home"] is home
    assert state.without(replace(pod, uid="")) is before
