# SPDX-License-Identifier: Apache-2.0
"""kube-router as the pods' network: routes by BGP, and the same sums for each pod as with the lab's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.network.addresses import pod_cidr_v4, pod_cidr_v6
from lab.nodes.real import kuberouter
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.network import KUBE_ROUTER
from tests.node.support import accounting

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def kind() -> Mapping[str, Any]:
    return {"network": KUBE_ROUTER}


def test_routes_to_other_nodes_pods_come_by_bgp_alone(agents: RealLab) -> None:
    node = agents.node("node1")
    for family, cidr in (("-4", pod_cidr_v4(2)), ("-6", pod_cidr_v6(2))):
        learned = [line for line in node.run(kuberouter.shown_routes(family)).splitlines() if cidr in line]
        every = [line for line in node.run(["ip", family, "route", "show"]).splitlines() if cidr in line]
        assert len(learned) == len(every) == 1


@pytest.mark.parametrize("path", accounting.ACROSS)
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
