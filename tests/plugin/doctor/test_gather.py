# SPDX-License-Identifier: Apache-2.0
"""What is read of a cluster, and what becomes of what cannot be."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footprint.cluster.client import ApiError
from plugin.doctor.diagnose import diagnose
from plugin.doctor.facts import Listing, Missing
from plugin.doctor.gather import Bounds, gather, metrics_port
from tests.plugin.doctor.authority import encoded
from tests.plugin.doctor.cluster import (
    LEASES,
    NODES,
    OURS,
    PODS,
    SECRET,
    SPACE,
    VERSION,
    Fake,
    facts,
    footprint,
    healthy,
    lease,
    node,
    pod,
)


def test_no_private_key_is_kept() -> None:
    found = facts(healthy())
    assert set(found.secrets) == {f"{SPACE}/traffic-footprint-{one}-tls" for one in ("extender", "scheduler")}
    for one in found.secrets.values():
        assert not isinstance(one, Missing)
        assert set(one["data"]) == {"tls.crt", "ca.crt"}
    assert encoded("secret key") not in repr(found)


def test_collections_are_read_page_by_page_and_no_further_than_the_bound() -> None:
    state = healthy()
    state[NODES] = [node(f"n{i}") for i in range(2300)]
    server = Fake(state)
    found = gather(server, SPACE, plugin_version=VERSION, bounds=Bounds(nodes=1200))
    assert isinstance(found.nodes, Listing)
    assert (len(found.nodes.items), found.nodes.whole) == (1200, False)
    assert server.asked.count(NODES) == 3
    assert "not-all-looked-at" in {one.id for one in diagnose(found).findings}


def test_a_collection_as_long_as_the_bound_is_whole() -> None:
    state = healthy()
    state[LEASES] = [lease(f"n{i}") for i in range(20)]
    found = gather(Fake(state), SPACE, plugin_version=VERSION, bounds=Bounds(nodes=20))
    assert isinstance(found.leases, Listing)
    assert (len(found.leases.items), found.leases.whole) == (20, True)


def test_pods_are_asked_for_on_suspicious_nodes_alone() -> None:
    server = Fake(healthy())
    gather(server, SPACE, plugin_version=VERSION)
    assert server.asked.count(PODS) == 1, "those of the kube-scheduler that asks"
    state = healthy()
    state[NODES] = [node(f"n{i}", footprint(pods=(), host=footprint().cap)) for i in range(30)]
    server = Fake(state)
    found = gather(server, SPACE, plugin_version=VERSION)
    assert len(found.suspects) == Bounds().suspects
    assert server.asked.count(PODS) == 1 + Bounds().suspects


def test_no_more_replicas_are_asked_than_the_bound() -> None:
    state = healthy()
    state[f"{OURS}/pods"] += [pod("extender", f"x{i}", "n1") for i in range(40)]
    assert len(facts(state).metrics) == Bounds().replicas


def test_a_replica_that_does_not_run_is_not_asked() -> None:
    state = healthy()
    state[f"{OURS}/pods"] = [pod("extender", "a", "n1"), pod("extender", "b", "n1", phase="Pending")]
    assert list(facts(state).metrics) == ["traffic-footprint-extender-a"]


@pytest.mark.parametrize(
    ("container", "port"),
    [
        ({"args": ["run", "--metrics-port=9000"]}, 9000),
        ({"args": ["run", "--metrics-port", "9000"]}, 9000),
        ({"ports": [{"name": "https", "containerPort": 1}, {"name": "metrics", "containerPort": 7}]}, 7),
        ({"args": ["--metrics-port=x"]}, 8891),
        ({}, 8891),
    ],
)  # fmt: skip
def test_the_metrics_port_is_the_replicas_own(container: dict[str, Any], port: int) -> None:
    assert metrics_port({"spec": {"containers": [container]}}) == port


@pytest.mark.parametrize("status", [0, 401])
def test_nothing_is_told_of_a_cluster_that_does_not_answer(status: int) -> None:
    with pytest.raises(ApiError):
        gather(Fake({"clock": status}), SPACE, plugin_version=VERSION)


def test_without_the_servers_time_this_machines_counts() -> None:
    found = gather(Fake({**healthy(), "clock": 403}), SPACE, plugin_version=VERSION)
    assert abs((found.now - found.here).total_seconds()) < 5


def test_credentials_that_end_meanwhile_are_no_finding() -> None:
    with pytest.raises(ApiError):
        facts({**healthy(), NODES: 401})


@pytest.mark.parametrize("status", [403, 404, 500, 0])
def test_a_cluster_of_which_nothing_may_be_read_is_a_list_of_what_is_missing(status: int) -> None:
    made = diagnose(gather(Fake(dict.fromkeys(healthy(), status)), SPACE, plugin_version=VERSION))
    unread = [one for one in made.findings if one.id == "not-looked-at"]
    assert len(unread) > 5
    assert made.exit_status == 1
    assert {one.id for one in made.findings if one.severity.weight} <= {"not-looked-at", "definition-absent"}
    if status == 403:
        assert all("the right to" in one.what and one.mend[0].startswith("kubectl create") for one in unread)
        assert all("jane" not in one.what + "".join(one.mend) for one in unread), "others' words stand in said"


def places(value: object, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    found = [here]
    if isinstance(value, dict):
        found += [path for key, inner in value.items() for path in places(inner, (*here, key))]
    if isinstance(value, list):
        found += [path for i, inner in enumerate(value) for path in places(inner, (*here, i))]
    return found


STATE = {
    **healthy(),
    PODS: [
        {
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running"},
        }
    ],
}
PLACES = [place for place in places(STATE) if len(place) > 1]
JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, -1, 2**70, 1.5, "", "x", "9" * 40, [], [None], ["x"], [[]], {}, {"x": None}]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=3))
def test_objects_of_any_shape_break_no_check(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    state = copy.deepcopy(STATE)
    for place, junk in changes:
        at: Any = state
        try:
            for key in place[:-1]:
                at = at[key]
            at[place[-1]] = junk
        except (KeyError, IndexError, TypeError):  # an earlier change took it away
            continue
    made = diagnose(facts(state))
    assert "check-failed" not in {one.id for one in made.findings}
    assert encoded("secret key") not in str(made.as_json())


def test_the_places_that_are_changed_reach_into_every_object() -> None:
    empty = {path for path, value in STATE.items() if value == []}
    assert {place[0] for place in PLACES} == {path for path in STATE if not isinstance(STATE[path], str)} - empty
    assert any(place[:1] == (f"{SECRET}extender-tls",) and len(place) == 3 for place in PLACES)
