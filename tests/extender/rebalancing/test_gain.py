# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.cost import waiting
from extender.model.pods import PodInfo
from extender.placement.node_verdict import judge
from extender.placement.policy import Policy
from extender.rebalancing.gain import MAX_NODES, MAX_PODS, Reason, severity
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode, Rebalance
from footprint.models import NodeFootprint, PodFootprint
from tests.extender.builders import M, elephant, footprint, mouse, other, pod_info
from tests.extender.rebalancing.builders import ACT, Measured

PRICE = ACT.restart_cost


def reasons(cluster: Measured, **options: Any) -> dict[str, Reason]:
    return {refusal.pod.uid: refusal.reason for refusal in cluster.survey(**options).refused}


def test_mice_beside_an_elephant_are_found_with_what_placement_says_they_would_gain() -> None:
    cluster = Measured({"full": [elephant("e"), mouse("m1")], "free": []})
    found = {one.pod.uid: one for one in cluster.survey().misplaced}
    assert set(found) == {"e", "m1"}
    assert found["m1"].cost == pytest.approx(waiting(0.95)) == 19
    assert found["m1"].targets == (("free", 0.0),)
    assert found["m1"].gain == pytest.approx(19)
    assert "elephants use 95 percent" in found["m1"].reason


def test_the_elephant_that_makes_two_mice_wait_gains_more_than_either_of_them() -> None:
    cluster = Measured({"full": [elephant("e"), mouse("m1"), mouse("m2")], "free": []})
    first, *others = cluster.survey().misplaced
    assert first.pod.uid == "e"
    assert first.gain > max(one.gain for one in others)


def test_where_every_node_is_as_bad_nobody_is_misplaced() -> None:
    nodes = {name: [elephant(f"e-{name}"), mouse(f"m-{name}")] for name in ("a", "b", "c")}
    assert not Measured(nodes).survey().misplaced


def test_a_node_on_which_nobody_waits_is_not_looked_at() -> None:
    assert not Measured({"quiet": [mouse("m"), elephant("e", 20 * M)], "free": []}).survey().troubled


def test_a_gain_below_the_price_of_a_restart_is_no_reason() -> None:
    cluster = Measured({"full": [elephant("e", 110 * M), mouse("m")], "free": []})
    assert cluster.survey(price=1.0).misplaced
    assert reasons(cluster, price=2.0)["m"] is Reason.GAINS_LITTLE


def test_a_pod_counts_only_where_the_api_says_it_is_bound() -> None:
    """A node's footprint may name any pod; the pods of others are not moved for its words."""
    elsewhere = pod_info("m", wl="Deployment/web", node="free", phase="Running", controller="ReplicaSet")
    cluster = Measured({"full": [elephant("e"), mouse("m")], "free": []}, bound={"m": elsewhere})
    assert not cluster.survey().misplaced


def _declares(**values: Any) -> Callable[[PodInfo], PodInfo]:
    return lambda pod: replace(pod, declared=Declared(**values))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pod: replace(pod, controller="DaemonSet"), Reason.EXEMPT),
        (lambda pod: replace(pod, priority_class="system-node-critical"), Reason.EXEMPT),
        (_declares(rebalance=Rebalance.NEVER), Reason.OPTED_OUT),
        (lambda pod: replace(pod, controller=""), Reason.BOUND_TO_PLACE),
        (lambda pod: replace(pod, host_network=True), Reason.IN_DOUBT),
        (_declares(placement=PlacementMode.IGNORE), Reason.NOT_STEERED),
        (lambda pod: replace(pod, phase="Pending"), Reason.IN_DOUBT),
        (lambda pod: replace(pod, deleting=True), Reason.IN_DOUBT),
    ],
)
def test_these_pods_are_not_weighed(change: Callable[[PodInfo], PodInfo], reason: Reason) -> None:
    cluster = Measured({"full": [elephant("e"), mouse("m")], "free": []}, change=change)
    assert reasons(cluster) == {"e": reason, "m": reason}


def test_where_placement_ignores_pods_by_default_none_is_moved() -> None:
    cluster = Measured({"full": [elephant("e"), mouse("m")], "free": []})
    found = reasons(cluster, policy=Policy(PlacementMode.IGNORE))
    assert found == {"e": Reason.NOT_STEERED, "m": Reason.NOT_STEERED}


def test_a_pod_unlike_its_workload_stays_because_a_new_one_would_be_placed_by_the_workload() -> None:
    quiet = other("q", TrafficClass.QUIET)
    lying = elephant("m", 10 * M, wl="Deployment/web")
    found = reasons(Measured({"full": [elephant("e"), mouse("w"), quiet, lying], "free": []}))
    assert found["q"] is found["m"] is Reason.NOT_LIKE_ITS_WORKLOAD


def test_guessed_capacities_move_nobody() -> None:
    guessed = replace(footprint(elephant("e"), mouse("m")), by="assumed")
    assert not Measured({"full": guessed, "free": []}).survey().misplaced


def test_nobody_is_moved_to_a_node_of_which_nothing_is_known() -> None:
    unknown = NodeFootprint(src="ctnetlink", cap=footprint().cap.__class__())
    assert not Measured({"full": [elephant("e"), mouse("m")], "dark": unknown}).survey().misplaced


def test_a_node_that_says_the_link_is_full_a_thousand_times_is_looked_at_within_bounds() -> None:
    many = [mouse(f"m{number}") for number in range(1000)]
    found = Measured({"full": [elephant("e"), *many], "free": []}).survey()
    assert len(found.misplaced) + len(found.refused) == MAX_PODS
    nodes = {f"n{number}": [elephant(f"e{number}"), mouse(f"m{number}")] for number in range(MAX_NODES + 20)}
    found = Measured({**nodes, "free": []}).survey()
    assert found.troubled == MAX_NODES + 20
    assert len({one.node for one in found.misplaced}) == MAX_NODES


pods = st.one_of(
    st.builds(lambda n, mbit: elephant(f"e{n}", mbit * M), st.integers(0, 30), st.integers(10, 400)),
    st.builds(lambda n, rate: mouse(f"m{n}", rate), st.integers(0, 30), st.floats(0, 1e9)),
)


def _distinct(found: list[list[PodFootprint]]) -> dict[str, list[PodFootprint]]:
    return {
        f"n{number}": [replace(pod, uid=f"{pod.uid}-{number}-{at}") for at, pod in enumerate(there)]
        for number, there in enumerate(found)
    }


@given(st.lists(st.lists(pods, max_size=5), min_size=1, max_size=5), st.floats(0.1, 50))
def test_every_proposed_move_gains_its_price_by_placements_own_verdicts(
    found: list[list[PodFootprint]], price: float
) -> None:
    cluster = Measured(_distinct(found))
    for one in cluster.survey(price=price).misplaced:
        assert one.node not in dict(one.targets)
        for name, cost in one.targets:
            assert judge(one.demand, cluster.snapshot.nodes[name]).cost == cost
            assert one.cost - cost >= price
        resident = next(r for r in cluster.residents(one.node) if r.pod is one.pod)
        here = judge(one.demand, cluster.without(resident, one.node))
        assert here.cost == one.cost
        assert here.reason is not None


def test_severity_counts_mice_that_wait_and_transfers_that_share_a_full_link() -> None:
    views = Measured({
        "mice": [elephant("e"), mouse("m")], "transfers": [elephant("a"), elephant("b")], "one": [elephant("c")],
    }).snapshot.nodes  # fmt: skip
    assert severity(views["mice"].link) == pytest.approx(waiting(0.95))
    assert severity(views["transfers"].link) == 2
    assert severity(views["one"].link) == 0
