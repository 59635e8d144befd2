# SPDX-License-Identifier: Apache-2.0
"""Tables follow a cluster as it changes, and look again only at nodes that placement judges differently."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.placement.tables import Tables
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, MIXED, M, annotation, elephant, mouse, pod_info
from tests.extender.placement.test_tables import assert_alike
from tests.extender.states import Clock, measured, settle

NODES = ["a", "b", "c"]
UIDS = ["p", "q", "r"]
LOADS = {
    "idle": [],
    "mice": [mouse("m", nf=2)],
    "full": [elephant("e")],
    "both": [elephant("h", 60 * M), mouse("n")],
}
DEMANDS: list[Demand] = [A_MOUSE, AN_ELEPHANT, MIXED]


def bulk(uid: str, node: str = "", *, phase: str = "Pending") -> PodInfo:
    return pod_info(uid, node=node, phase=phase, declared=Declared(TrafficClass.ELEPHANT, 120 * M))


Step = Callable[[ClusterState, Clock], object]
nodes, uids = st.sampled_from(NODES), st.sampled_from(UIDS)


def passing(clock: Clock, seconds: float) -> None:
    clock.now += seconds


steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda n, load: lambda s, _: s.put_nodes([NodeInfo(n, annotation(*LOADS[load]))]), nodes,
              st.sampled_from(sorted(LOADS))),
    st.builds(lambda n: lambda s, _: s.put_nodes([NodeInfo(n, "nonsense")]), nodes),
    st.builds(lambda n: lambda s, _: s.drop_node(n), nodes),
    st.builds(lambda n, marker: lambda s, _: s.put_lease(LeaseInfo(n, str(marker))), nodes, st.integers(2, 9)),
    st.builds(lambda u, n: lambda s, _: s.assume(bulk(u), n), uids, nodes),
    st.builds(lambda u, n, phase: lambda s, _: s.put_pod(bulk(u, n, phase=phase)), uids, nodes,
              st.sampled_from(["Pending", "Running", "Succeeded"])),
    st.builds(lambda u: lambda s, _: s.drop_pod(u), uids),
    st.builds(lambda u: lambda s, _: s.considering(u), uids),
    st.builds(lambda seconds: lambda _, clock: passing(clock, seconds), st.sampled_from([1.0, 3.0, 61.0, 200.0])),
)  # fmt: skip


@given(st.lists(st.tuples(steps, st.booleans()), max_size=12))
def test_answers_are_those_of_the_plain_functions_whatever_happens_to_the_cluster(
    course: list[tuple[Step, bool]],
) -> None:
    clock = Clock()
    state, tables = measured(clock, NODES), Tables()
    for step, asked in course:
        step(state, clock)
        if asked:
            settle(state)
            for demand in DEMANDS:
                assert_alike(tables, (NODES, demand, PlacementMode.PREFER), state.snapshot)
    settle(state)
    for demand in DEMANDS:
        assert_alike(tables, (NODES, demand, PlacementMode.STRICT), state.snapshot)


def test_a_pod_seen_where_it_was_sent_changes_no_verdict() -> None:
    state = measured(Clock(), NODES)
    state.assume(bulk("p"), "a")
    before = state.snapshot
    state.put_pod(bulk("p", "a"))
    settle(state)
    assert state.snapshot.nodes["a"].link.tx == 120 * M
    assert state.snapshot.changed_since(before.version) == frozenset()


def test_a_pod_that_comes_to_a_node_or_leaves_it_changes_that_nodes_verdict() -> None:
    state = measured(Clock(), NODES)
    acts: list[Callable[[], None]] = [lambda: state.put_pod(bulk("p", "a")), lambda: state.drop_pod("p")]
    for act in acts:
        before = state.snapshot
        act()
        settle(state)
        assert state.snapshot.changed_since(before.version) == frozenset({"a"})


def test_nodes_that_come_and_go_are_named() -> None:
    state = measured(Clock(), NODES)
    acts: list[Callable[[], None]] = [
        lambda: state.put_nodes([NodeInfo("new", None)]), lambda: state.drop_node("new"),
    ]  # fmt: skip
    for act in acts:
        before = state.snapshot
        act()
        settle(state)
        assert state.snapshot.changed_since(before.version) == frozenset({"new"})
