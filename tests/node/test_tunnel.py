# SPDX-License-Identifier: Apache-2.0
"""The agents behind kube-proxy's iptables rules, where pods' packets travel in a tunnel: the same sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.nodes.real.cluster import RealLab
from lab.nodes.real.network import TUNNEL, VXLAN
from tests.cluster.support.workloads import eventually
from tests.node.support import accounting
from tests.node.support.workloads import send

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def kind() -> Mapping[str, Any]:
    return {"proxy_mode": "iptables", "network": VXLAN}


def test_kube_proxy_wrote_its_rules_by_iptables(lab: RealLab, uids: dict[str, str]) -> None:
    assert uids

    def rules(program: str) -> str:
        return lab.node("node1").run([program, "-t", "nat"])

    eventually("the Service is in the rules", lambda: "default/store" in rules("iptables-save"), 30)
    assert "default/store" in rules("ip6tables-save")
    assert "kube-proxy" not in lab.node("node1").run(["nft", "list", "tables"])


def test_pods_packets_do_travel_in_the_tunnel(lab: RealLab, uids: dict[str, str]) -> None:
    assert uids
    before = _tunnelled(lab)
    send(lab, "sender1", accounting.address(lab, "pod address over IPv4"), 1)
    assert _tunnelled(lab) - before > 2**20


def _tunnelled(lab: RealLab) -> int:
    """Bytes that node1 has sent into its end."""
    shown = lab.node("node1").run(["cat", "/proc/net/dev"])
    line = next(line for line in shown.splitlines() if line.strip().startswith(f"{TUNNEL}:"))
    return int(line.split(":")[1].split()[8])


@pytest.mark.parametrize("path", accounting.ACROSS)
def test_bytes_across_nodes_are_counted_to_two_per_cent_at_both_ends(
    lab: RealLab, uids: dict[str, str], path: str
) -> None:
    accounting.across_nodes(lab, uids, path)


@pytest.mark.parametrize("door", accounting.DOORS)
def test_bytes_from_outside_the_cluster_are_counted_for_the_pod_that_takes_them(
    lab: RealLab, uids: dict[str, str], door: str
) -> None:
    accounting.from_outside(lab, uids, door)


def test_bytes_between_pods_of_one_node_are_local(lab: RealLab, uids: dict[str, str]) -> None:
    accounting.local(lab, uids, "sender2")
