# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from kubernetes.client import ApiClient

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.cluster.watches import COMPUTED, Watches
from tests.extender.builders import annotation, elephant, pod_info


@pytest.fixture
def state() -> ClusterState:
    return ClusterState(stale_after=180.0, clock=lambda: 0.0)


@pytest.fixture
def watches(state: ClusterState) -> Watches:
    return Watches(ApiClient(), state, namespace="traffic-footprint")


def listed(watches: Watches, *names: str) -> None:
    for name in names or watches.by_resource:
        watches.by_resource[name].synced.set()


def publish(state: ClusterState, name: str) -> None:
    state.put_nodes([NodeInfo(name, annotation(elephant("e")))])
    state.put_lease(LeaseInfo(name, "1"))


def test_collections_that_were_not_listed_are_waited_for(watches: Watches) -> None:
    listed(watches, "nodes", "leases")
    assert watches.waiting_for == ["pods"]


def test_ready_means_that_a_snapshot_shows_all_that_was_listed(state: ClusterState, watches: Watches) -> None:
    publish(state, "a")
    listed(watches)
    assert watches.waiting_for == [COMPUTED]
    assert watches.waiting_for == [COMPUTED], "asking is not working"
    state.apply()
    assert state.snapshot.nodes["a"].known
    assert watches.waiting_for == []


def test_an_earlier_snapshot_does_not_count(state: ClusterState, watches: Watches) -> None:
    state.apply()
    publish(state, "a")
    listed(watches)
    assert watches.waiting_for == [COMPUTED]


def test_an_empty_cluster_is_ready_when_it_was_listed(watches: Watches) -> None:
    listed(watches)
    assert watches.waiting_for == []


def test_a_cluster_in_which_something_always_happens_becomes_ready_and_stays_so(
    state: ClusterState, watches: Watches
) -> None:
    publish(state, "a")
    listed(watches)
    assert watches.waiting_for == [COMPUTED]
    state.apply()
    state.put_pod(pod_info("p", node="a"))  # before anybody has asked again
    assert watches.waiting_for == []
    publish(state, "b")
    assert watches.waiting_for == []
