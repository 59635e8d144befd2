# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress

import pytest

from lab.network import addresses


def test_everything_follows_from_a_nodes_index() -> None:
    assert addresses.node_v4(1) == "10.10.0.11"
    assert addresses.node_v6(12) == "fd00:10::22"
    assert addresses.pod_cidr_v4(3) == "10.244.3.0/24"
    assert addresses.pod_cidr_v6(3) == "fd00:244:3::/64"


def test_the_first_and_the_last_pod_lie_in_their_nodes_range() -> None:
    for host in (0, 244):
        v4, v6 = addresses.pod_addresses(200, host)
        assert ipaddress.IPv4Address(v4) in ipaddress.IPv4Network(addresses.pod_cidr_v4(200))
        assert ipaddress.IPv6Address(v6) in ipaddress.IPv6Network(addresses.pod_cidr_v6(200))
        assert ipaddress.IPv4Address(v4) in ipaddress.IPv4Network(addresses.CLUSTER_CIDR_V4)
        assert ipaddress.IPv6Address(v6) in ipaddress.IPv6Network(addresses.CLUSTER_CIDR_V6)


def test_no_two_pods_of_a_node_share_an_address() -> None:
    assert len({addresses.pod_addresses(1, host) for host in range(245)}) == 245


@pytest.mark.parametrize("host", [-1, 245, 10_000])
def test_a_pod_number_outside_the_range_is_refused(host: int) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        addresses.pod_addresses(1, host)


@pytest.mark.parametrize("index", [0, -1, 201])
def test_a_node_index_outside_the_plan_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        addresses.node_v4(index)


def test_hardware_addresses_are_local_unicast_and_differ() -> None:
    made = {addresses.mac(addresses.node_v4(i)) for i in range(1, 201)}
    assert len(made) == 200
    assert all(int(address[:2], 16) & 3 == 2 for address in made)
