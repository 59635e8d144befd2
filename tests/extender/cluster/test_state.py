# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import AT_ONCE, TICK_SECONDS, ClusterState
from extender.cluster.watches import decode_lease, decode_node, lease_sink, node_sink, pod_sink
from extender.cluster.workload_totals import WorkloadTotals
from extender.model.pods import PodInfo, WorkloadKey, decode_pod
from extender.model.snapshot import NodeState
from footprint.classes import TrafficClass
from footprint.cluster.reflector import PagedSink
from footprint.declared import Declared
from footprint.keys import lease_name
from footprint.models import PodFootprint
from tests.extender.builders import M, annotation, elephant, mouse, node_json, pod_info, pod_json
from tests.extender.states import Clock

BULK = ("default", "Job/bulk")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ClusterState:
    return ClusterState(stale_after=180.0, hold=60.0, clock=clock)


def publish(state: ClusterState, name: str, *pods: PodFootprint, marker: str = "1", **values: Any) -> None:
    state.put_nodes([NodeInfo(name, annotation(*pods, **values))])
    state.put_lease(LeaseInfo(name, marker))
    state.apply()


def bind(state: ClusterState, uid: str, node: str, **values: Any) -> PodInfo:
    pod = pod_info(uid, node=node, **values)
    state.put_pod(pod)
    state.apply()
    return pod


def test_a_published_node_becomes_known_and_teaches(state: ClusterState) -> None:
    publish(state, "a", elephant("e", tx=100 * M))
    assert state.snapshot.nodes["a"].utilisation == 0.5
    assert state.snapshot.learned[BULK].tx == 100 * M


def test_without_news_the_snapshot_stays_the_same_object(state: ClusterState) -> None:
    publish(state, "a", elephant("e"))
    before = state.snapshot
    state.put_nodes([NodeInfo("a", annotation(elephant("e")))])  # the kubelet's status changed, not ours
    state.put_lease(LeaseInfo("a", "1"))  # not renewed
    assert not state.apply()
    assert state.snapshot is before


def test_one_nodes_change_leaves_the_other_views_alone(state: ClusterState) -> None:
    publish(state, "a", mouse("m"))
    publish(state, "b", mouse("n"))
    before = state.snapshot.nodes["a"]
    publish(state, "b", elephant("e"))
    assert state.snapshot.nodes["a"] is before


def test_a_malformed_annotation_makes_one_node_unknown_and_is_counted(state: ClusterState) -> None:
    publish(state, "a", elephant("e", tx=100 * M))
    publish(state, "b", elephant("f", tx=50 * M))
    state.put_nodes([NodeInfo("b", "{nonsense"), NodeInfo("c", '{"v":1}')])
    state.apply()
    nodes = state.snapshot.nodes
    assert (nodes["b"].state, nodes["c"].state) == (NodeState.MALFORMED, NodeState.MALFORMED)
    assert nodes["b"].detail.startswith("not-json")
    assert nodes["a"].utilisation == 0.5
    assert state.malformed_footprints == {"not-json": 1, "wrong-shape": 1}
    assert state.snapshot.learned[BULK].tx == 100 * M  # what b taught is withdrawn


def test_time_alone_makes_a_node_stale_and_withdraws_what_its_pods_taught(
    state: ClusterState, clock: Clock
) -> None:
    publish(state, "a", elephant("e"))
    clock.now += 181
    assert state.apply()
    assert state.snapshot.nodes["a"].state is NodeState.STALE
    assert state.snapshot.learned == {}
    state.put_lease(LeaseInfo("a", "2"))
    state.apply()
    assert state.snapshot.nodes["a"].known
    assert BULK in state.snapshot.learned


def test_a_bound_pod_counts_at_once_by_what_its_workload_taught(state: ClusterState) -> None:
    publish(state, "a", elephant("e", tx=100 * M))
    publish(state, "b")
    bind(state, "new", "b")
    assert state.snapshot.nodes["b"].link.tx == 100 * M
    publish(state, "b", elephant("new", tx=90 * M))
    assert state.snapshot.nodes["b"].link.tx == 90 * M


def test_a_pod_bound_before_its_workload_was_known_counts_once_it_is(state: ClusterState) -> None:
    publish(state, "b")
    bind(state, "new", "b")
    assert state.snapshot.nodes["b"].link.tx == 0
    publish(state, "a", elephant("e", tx=100 * M))
    assert state.snapshot.nodes["b"].link.tx == 100 * M


def test_a_running_pod_without_elephants_stops_counting_after_the_hold(state: ClusterState, clock: Clock) -> None:
    publish(state, "a", elephant("e", tx=100 * M))
    publish(state, "b")
    bind(state, "new", "b", phase="Running")
    clock.now += 59
    state.apply()
    assert state.snapshot.nodes["b"].ledger.pods == 1
    clock.now += 1
    assert state.apply()
    assert state.snapshot.nodes["b"].ledger.pods == 0


@pytest.mark.parametrize("deleted", [True, False])
def test_an_ended_pod_frees_its_node_before_the_next_footprint(state: ClusterState, deleted: bool) -> None:
    publish(state, "a", elephant("e", tx=100 * M), mouse("m"))
    bind(state, "e", "a", phase="Running")
    if deleted:
        state.drop_pod("e")
        state.apply()
    else:
        bind(state, "e", "a", phase="Succeeded")
    assert state.snapshot.nodes["a"].link.tx == 0
    assert state.snapshot.nodes["a"].link.mice == 1.0
    publish(state, "a", mouse("m"), ended=[elephant("e", tx=100 * M)])
    assert state.snapshot.nodes["a"].link.tx == 0
    assert state.snapshot.learned[BULK].tx == 100 * M


def test_pods_wait_from_when_they_are_first_seen_until_they_have_a_node(state: ClusterState, clock: Clock) -> None:
    pod = pod_info("p")
    state.put_pod(pod)
    state.apply()
    clock.now += 30
    assert state.snapshot.waited(pod, clock.now) == 30
    bind(state, "p", "a")
    assert state.snapshot.waited(pod, clock.now) == 0
    state.put_pod(pod_info("q"))
    state.drop_pod("q")
    state.apply()
    assert state.snapshot.waiting_since == {}


def test_a_pods_unknown_annotation_values_are_counted_once(state: ClusterState) -> None:
    pod = decode_pod(pod_json(annotations={"traffic-footprint.io/class": "whale"}))
    state.put_pod(pod)
    state.put_pod(decode_pod(pod_json(annotations={"traffic-footprint.io/class": "whale"}, phase="Running")))
    assert state.annotation_problems == {"traffic-footprint.io/class": 1}


def test_a_removed_node_is_forgotten_with_what_it_taught(state: ClusterState) -> None:
    publish(state, "a", elephant("e"))
    state.drop_lease("a")
    state.drop_node("a")
    state.apply()
    assert state.snapshot.nodes == {}
    assert state.snapshot.learned == {}


def test_a_node_recreated_under_its_name_is_judged_afresh(state: ClusterState) -> None:
    publish(state, "a", elephant("e"))
    state.drop_node("a")
    state.put_nodes([NodeInfo("a", None)])
    state.apply()
    assert state.snapshot.nodes["a"].state is NodeState.NO_FOOTPRINT


def test_a_relist_replaces_everything(state: ClusterState) -> None:
    publish(state, "a", elephant("e"))
    publish(state, "b", mouse("m"))
    bind(state, "p", "b")
    node_sink(state).replace([NodeInfo("b", annotation(mouse("m")))])
    lease_sink(state).replace([])
    pod_sink(state).replace([])
    state.apply()
    assert list(state.snapshot.nodes) == ["b"]
    assert state.snapshot.nodes["b"].state is NodeState.NO_LEASE
    assert state.pod_uids() == set()


def test_a_list_that_breaks_off_drops_nothing_and_keeps_what_it_has_shown(state: ClusterState) -> None:
    publish(state, "a", elephant("e"))
    bind(state, "p", "a")

    def pages(page: list[Any]) -> Iterator[list[Any]]:
        yield page
        raise OSError("page 2")

    for sink, page in (
        (node_sink(state), [NodeInfo("b", annotation(mouse("m")))]),
        (lease_sink(state), [LeaseInfo("b", "1")]),
        (pod_sink(state), [pod_info("q", node="b")]),
    ):
        assert isinstance(sink, PagedSink)
        with pytest.raises(OSError, match="page 2"):
            sink.replace_paged(pages(page))
    state.apply()
    assert all(state.snapshot.nodes[name].known for name in "ab")
    assert state.pod_uids() == {"p", "q"}


def test_a_relist_keeps_the_pods_it_had_and_no_others(state: ClusterState) -> None:
    kept, *_ = [bind(state, uid, "a") for uid in ("p", "q", "gone")]
    pod_sink(state).replace_paged([pod_info(uid, node="a")] for uid in ("p", "q", "new"))
    assert state.pod_uids() == {"p", "q", "new"}
    assert state.find_pod("default", "p") is kept, "not a second one beside it"


def test_events_of_the_api_reach_the_snapshot(state: ClusterState) -> None:
    lease = {"metadata": {"name": lease_name("a"), "resourceVersion": "3"}, "spec": {"renewTime": "t1"}}
    heartbeat, pod = decode_lease(lease), decode_pod(pod_json(uid="p", node="a"))
    assert heartbeat == LeaseInfo("a", "t1")
    node_sink(state).upsert(decode_node(node_json("a", annotation(elephant("e", tx=100 * M)))))
    lease_sink(state).upsert(heartbeat)
    pod_sink(state).upsert(pod)
    state.apply()
    assert state.snapshot.nodes["a"].link.elephants == 2
    pod_sink(state).delete(pod)
    lease_sink(state).delete(heartbeat)
    state.apply()
    assert state.snapshot.nodes["a"].state is NodeState.NO_LEASE
    node_sink(state).delete(decode_node(node_json("a")))
    state.apply()
    assert state.snapshot.nodes == {}


def test_leases_of_others_are_not_heartbeats() -> None:
    assert decode_lease({"metadata": {"name": "kube-scheduler", "resourceVersion": "3"}, "spec": {}}) is None


def test_the_builder_thread_follows_events_and_stops(state: ClusterState) -> None:
    stop = threading.Event()
    builder = threading.Thread(target=state.run, args=(stop,))
    builder.start()
    try:
        state.put_nodes([NodeInfo("a", None)])
        for _ in range(500):
            if "a" in state.snapshot.nodes:
                break
            stop.wait(0.01)
        assert "a" in state.snapshot.nodes
    finally:
        stop.set()
        state.wake()
        builder.join(5)
    assert not builder.is_alive()


def test_mice_free_links_are_scarce_once_elephants_need_them(state: ClusterState) -> None:
    for name in "abcd":
        publish(state, name)
    assert not state.snapshot.scarce
    bind(state, "e", "a", declared=Declared(cls=TrafficClass.ELEPHANT, bandwidth=180 * M))
    assert not state.snapshot.scarce  # two of four to keep, four are free of mice
    publish(state, "c", mouse("m"))
    publish(state, "d", mouse("n"))
    assert state.snapshot.scarce
    state.drop_pod("e")
    state.apply()
    assert not state.snapshot.scarce


def declared_elephant(uid: str, node: str = "") -> PodInfo:
    return pod_info(uid, node=node, declared=Declared(TrafficClass.ELEPHANT, 150 * M))


def expected(state: ClusterState, name: str) -> float:
    return state.snapshot.nodes[name].link.tx


def test_a_pod_counts_where_it_was_sent_before_its_bind_is_seen(state: ClusterState) -> None:
    publish(state, "a")
    publish(state, "b")
    state.apply()
    state.assume(declared_elephant("u1"), "a")
    assert expected(state, "a") == 150 * M
    state.put_pod(declared_elephant("u1"))  # the watch shows it, still without a node
    state.apply()
    assert expected(state, "a") == 150 * M
    state.put_pod(declared_elephant("u1", "b"))  # another plugin decided otherwise
    state.apply()
    assert (expected(state, "a"), expected(state, "b")) == (0, 150 * M)


def test_an_assumption_that_nothing_confirms_ends(state: ClusterState, clock: Clock) -> None:
    publish(state, "a")
    state.apply()
    state.assume(declared_elephant("u1"), "a", seconds=2.0)
    clock.now += 1.9
    state.apply()
    assert expected(state, "a") == 150 * M
    clock.now += 0.2
    state.apply()
    assert expected(state, "a") == 0


def test_a_pod_that_is_bound_or_deleted_is_assumed_nowhere(state: ClusterState) -> None:
    publish(state, "a")
    publish(state, "b")
    state.put_pod(declared_elephant("bound", "b"))
    state.assume(declared_elephant("bound"), "a")
    state.assume(declared_elephant("deleted"), "a")
    state.put_pod(declared_elephant("deleted"))
    state.drop_pod("deleted")
    state.apply()
    assert (expected(state, "a"), expected(state, "b")) == (0, 150 * M)


def test_counting_a_pod_where_it_was_sent_does_not_wait_for_what_else_changed(state: ClusterState) -> None:
    publish(state, "a")
    publish(state, "b")
    state.put_nodes([NodeInfo("b", annotation(elephant("e", tx=100 * M)))])
    state.assume(declared_elephant("u1"), "a")
    assert (expected(state, "a"), expected(state, "b")) == (150 * M, 0)
    assert state.apply()
    assert (expected(state, "a"), expected(state, "b")) == (150 * M, 100 * M)


def test_a_request_neither_learns_nor_waits_for_what_is_being_learned(
    state: ClusterState, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(state, "a")
    publish(state, "b")
    learning, go_on, update = threading.Event(), threading.Event(), WorkloadTotals.update

    def slowly(totals: WorkloadTotals, changed: set[WorkloadKey]) -> set[WorkloadKey]:
        learning.set()
        go_on.wait(60)
        return update(totals, changed)

    monkeypatch.setattr(WorkloadTotals, "update", slowly)
    state.put_nodes([NodeInfo("b", annotation(elephant("e", tx=100 * M)))])
    builder = threading.Thread(target=state.apply)
    request = threading.Thread(target=state.assume, args=(declared_elephant("u1"), "a"))
    builder.start()
    try:
        assert learning.wait(60)
        request.start()
        request.join(30)
        assert not request.is_alive()
        assert (expected(state, "a"), state.snapshot.learned) == (150 * M, {})
    finally:
        go_on.set()
        builder.join(60)
    assert state.snapshot.learned[BULK].tx == 100 * M


def test_what_a_node_taught_is_withdrawn_also_when_a_request_finds_it_stale_first(
    state: ClusterState, clock: Clock
) -> None:
    publish(state, "a", elephant("e"))
    clock.now += 181
    state.assume(pod_info("u1"), "a")
    assert state.snapshot.nodes["a"].state is NodeState.STALE
    state.apply()
    assert state.snapshot.learned == {}


def test_one_call_takes_in_more_changes_than_are_worked_out_at_once(state: ClusterState) -> None:
    names = [f"n{number}" for number in range(2 * AT_ONCE + 1)]
    state.put_nodes([NodeInfo(name, annotation(elephant("e", tx=100 * M))) for name in names])
    for name in names:
        state.put_lease(LeaseInfo(name, "1"))
    assert state.apply()
    assert all(expected(state, name) == 100 * M for name in names)
    assert state.snapshot.learned[BULK].pods == len(names)
    assert not state.apply()


def test_renewed_leases_put_staleness_off_and_the_last_one_counts(state: ClusterState, clock: Clock) -> None:
    publish(state, "a")
    for renewal in range(5):
        clock.now += 100
        state.put_lease(LeaseInfo("a", f"renewed {renewal}"))
        state.apply()
    clock.now += 180
    state.apply()
    assert state.snapshot.nodes["a"].known
    clock.now += 1
    assert state.apply()
    assert state.snapshot.nodes["a"].state is NodeState.STALE
    assert not state.apply(), "nothing more changes through time alone"


def test_a_shorter_wait_noted_later_is_kept_too(state: ClusterState, clock: Clock) -> None:
    publish(state, "a", elephant("e", tx=100 * M))
    publish(state, "b")
    clock.now += 30
    bind(state, "new", "b", phase="Running")  # counts for 60 s; the Lease is believed for 150 s more
    clock.now += 60
    assert state.apply()
    assert state.snapshot.nodes["b"].ledger.pods == 0
    clock.now += 91
    assert state.apply()
    assert state.snapshot.nodes["b"].state is NodeState.STALE


def test_who_waits_is_shown_once_a_tick_however_many_come_and_go(state: ClusterState, clock: Clock) -> None:
    publish(state, "a")
    state.put_pod(pod_info("first"))
    state.apply()
    shown = state.snapshot.waiting_since
    assert shown == {"first": clock.now}
    for number in range(50):
        state.put_pod(pod_info(f"u{number}"))
        assert state.pods_waiting == 2
        bind(state, f"u{number}", "a")
        assert state.snapshot.waiting_since is shown
        assert state.pods_waiting == 1
    state.put_pod(pod_info("late"))
    clock.now += TICK_SECONDS
    state.apply()
    assert state.snapshot.waiting_since == {"first": clock.now - TICK_SECONDS, "late": clock.now - TICK_SECONDS}
    assert state.snapshot.waited(pod_info("late"), clock.now) == TICK_SECONDS
    assert not state.apply()
