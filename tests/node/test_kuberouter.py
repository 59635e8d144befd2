# SPDX-License-Identifier: Apache-2.0
"""kube-router as the pods' network: routes by BGP, NetworkPolicies enforced, and the same sums for each pod.

The tests are one story and run in the order they are written in: without policies first, then with one for two
pods, last with the chart's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from lab.network.addresses import node_v4, pod_cidr_v4, pod_cidr_v6
from lab.nodes.real import kuberouter
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.network import KUBE_ROUTER
from tests.cluster.support.workloads import get
from tests.node.support import accounting, chart, policies
from tests.node.support.chart import NAME
from tests.node.support.workloads import PORT, carried, pod, running

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

HTTPS: Final = 8890
METRICS: Final = 8891
FAMILIES: Final = {"IPv4": 0, "IPv6": 1}
ALONE: Final = {"replicas": 1, "podDisruptionBudget": {"enabled": False}}
VALUES: Final = {"nodeagent": chart.OFTEN, "extender": ALONE, "scheduler": ALONE}


@pytest.fixture(scope="module")
def kind() -> Mapping[str, Any]:
    return {"network": KUBE_ROUTER}


@pytest.fixture(scope="module")
def agents(lab: RealLab) -> RealLab:
    """The lab with the chart, whose NetworkPolicy is off as it is by default."""
    chart.install(lab, VALUES)
    return lab


def test_routes_to_other_nodes_pods_come_by_bgp_alone(agents: RealLab) -> None:
    node = agents.node("node1")
    for family, cidr in (("-4", pod_cidr_v4(2)), ("-6", pod_cidr_v6(2))):
        learned = [line for line in node.run(kuberouter.shown_routes(family)).splitlines() if cidr in line]
        every = [line for line in node.run(["ip", family, "route", "show"]).splitlines() if cidr in line]
        assert len(learned) == len(every) == 1


@pytest.mark.parametrize("path", ["ClusterIP over IPv4", "pod address over IPv6"])
def test_bytes_across_nodes_are_counted_to_two_per_cent_at_both_ends(
    agents: RealLab, uids: dict[str, str], path: str
) -> None:
    accounting.across_nodes(agents, uids, path)


@pytest.mark.parametrize("door", ["NodePort of another node", "hostPort"])
def test_bytes_from_outside_the_cluster_are_counted_for_the_pod_that_takes_them(
    agents: RealLab, uids: dict[str, str], door: str
) -> None:
    accounting.from_outside(agents, uids, door)


@pytest.mark.parametrize("sender", ["sender2", "store"])
def test_bytes_within_a_node_are_local(agents: RealLab, uids: dict[str, str], sender: str) -> None:
    accounting.local(agents, uids, sender)


# -- a policy for two pods ------------------------------------------------------------------------------------


def store_addresses(lab: RealLab) -> list[str]:
    """The receiver's, IPv4 first."""
    return [each["ip"] for each in get(lab, "pod", "store")["status"]["podIPs"]]


@pytest.fixture(scope="module")
def restricted(agents: RealLab, uids: dict[str, str]) -> Iterator[RealLab]:
    """Within this module's next tests the receiver takes connections from sender1 alone."""
    assert uids
    addresses = store_addresses(agents)
    assert [policies.reaches(agents, "sender2", address, PORT) for address in addresses] == [True, True]
    with policies.only_from(agents, "store", "sender1"):
        for address in addresses:
            policies.eventually_reaches(agents, "sender2", address, PORT, expected=False)
            policies.eventually_reaches(agents, "sender1", address, PORT)
        yield agents


@pytest.mark.parametrize("path", accounting.ACROSS)
def test_what_a_policy_lets_pass_is_counted_as_without_it(
    restricted: RealLab, uids: dict[str, str], path: str
) -> None:
    accounting.across_nodes(restricted, uids, path)


def test_what_a_policy_refuses_is_no_pods_traffic(restricted: RealLab, uids: dict[str, str]) -> None:
    ends = accounting.counting((2, uids["sender2"]), (2, uids["store"]))
    before = carried(restricted, "store")
    for address in store_addresses(restricted):
        assert not policies.reaches(restricted, "sender2", address, PORT)
    outside = restricted.exec_in("outside", ["busybox", "nc", "-w", "2", node_v4(2), str(accounting.HOST_PORT)])
    assert outside.returncode, "a host outside is not sender1"
    accounting.settle(*ends)
    moved = carried(restricted, "store").since(before)
    for end in ends:
        for direction in accounting.DIRECTIONS:
            end.is_at_most(direction, accounting.STRAY)
    assert max(moved) <= accounting.STRAY


# -- the chart's own ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def askers(agents: RealLab) -> Iterator[str]:
    """Pods on both nodes in the release's namespace, one on each labelled as its kube-scheduler. The namespace."""
    selector = {"app.kubernetes.io/instance": NAME, "app.kubernetes.io/component": "scheduler"}
    labels = {**selector, "app.kubernetes.io/name": NAME}
    made = []
    for i in (1, 2):
        made += [
            pod(f"stranger{i}", ["sleep", "100000"], node=f"node{i}"),
            pod(f"scheduler{i}", ["sleep", "100000"], node=f"node{i}", labels=labels),
        ]
    for each in made:
        each["metadata"]["namespace"] = NAME
    with running(agents, *made):
        yield NAME


def extender(lab: RealLab) -> list[str]:
    """The extender's addresses, IPv4 first."""
    (found,) = chart.pods(lab, "extender")
    return [each["ip"] for each in found["status"]["podIPs"]]


def test_before_the_charts_policy_everybody_reaches_the_extender(agents: RealLab, askers: str) -> None:
    for address in extender(agents):
        for asker in ("stranger1", "stranger2", "scheduler1", "scheduler2"):
            assert policies.reaches(agents, asker, address, HTTPS, askers)
            assert policies.reaches(agents, asker, address, METRICS, askers)


@pytest.fixture(scope="module")
def guarded(agents: RealLab, askers: str) -> RealLab:
    """The lab with the chart's NetworkPolicy, once the plugin has written its rules."""
    chart.upgrade(agents, {**VALUES, "networkPolicy": {"enabled": True}})
    for address in extender(agents):
        for asker in ("stranger1", "stranger2"):
            policies.eventually_reaches(agents, asker, address, HTTPS, namespace=askers, expected=False)
    return agents


@pytest.mark.parametrize("family", FAMILIES)
def test_the_charts_policy_lets_kube_scheduler_reach_the_extender_and_nobody_else(
    guarded: RealLab, askers: str, family: str
) -> None:
    address = extender(guarded)[FAMILIES[family]]
    for i in (1, 2):
        policies.eventually_reaches(guarded, f"scheduler{i}", address, HTTPS, namespace=askers)
        policies.eventually_reaches(guarded, f"stranger{i}", address, METRICS, namespace=askers)
        assert not policies.reaches(guarded, f"stranger{i}", address, HTTPS, askers)


def test_pods_are_placed_through_the_charts_policy(guarded: RealLab) -> None:
    before = chart.filtered(guarded)
    with running(guarded, pod("placed", ["sleep", "100000"], schedulerName=NAME)):
        assert get(guarded, "pod", "placed")["spec"]["nodeName"]
    assert chart.filtered(guarded) > before


def test_without_policies_everybody_reaches_everything_again(guarded: RealLab, askers: str) -> None:
    chart.upgrade(guarded, VALUES)
    guarded.kubectl("delete", "networkpolicies", "--all")
    for address in extender(guarded):
        policies.eventually_reaches(guarded, "stranger1", address, HTTPS, namespace=askers)
    for address in store_addresses(guarded):
        policies.eventually_reaches(guarded, "sender2", address, PORT)
