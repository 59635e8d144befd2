# SPDX-License-Identifier: Apache-2.0
"""The agents where pods' packets travel in a tunnel: the same sums for each pod as without one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lab.nodes.real.cluster import RealLab
from lab.nodes.real.network import TUNNEL, VXLAN
from tests.node.support import accounting
from tests.node.support.workloads import send

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def kind() -> Mapping[str, Any]:
    return {"network": VXLAN}


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


def test_bytes_between_pods_of_one_node_are_local(lab: RealLab, uids: dict[str, str]) -> None:
    accounting.local(lab, uids, "sender2")
