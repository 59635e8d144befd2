# SPDX-License-Identifier: Apache-2.0
"""Which interfaces are uplinks."""

from __future__ import annotations

import socket

import pytest

from nodeagent.node.uplinks.discovery import MOST_UPLINKS, leads_in, uplinks
from nodeagent.node.uplinks.interfaces import Interface, Interfaces
from nodeagent.node.uplinks.kernel import Routes
from nodeagent.node.uplinks.routes import Route

IPV4, IPV6 = int(socket.AF_INET), int(socket.AF_INET6)
ROUTER, OWN = b"\x0a\0\0\1", b"\x0a\0\0\x09"
ETH0, ETH1 = Interface(1, "eth0"), Interface(2, "eth1")
DEFAULT = Route(IPV4, 0, 1, ROUTER)


def found(interfaces: list[Interface], *main: Route, others: tuple[Route, ...] = ()) -> tuple[str, ...]:
    return uplinks(Interfaces(interfaces), Routes(main, others), frozenset({OWN}))


def test_the_default_routes_comes_first_and_other_tables_count() -> None:
    assert found([ETH0, ETH1], DEFAULT) == ("eth0",)
    assert found([ETH1, ETH0], DEFAULT, others=(Route(IPV4, 0, 2, ROUTER),)) == ("eth0", "eth1")
    assert found([Interface(1, "z"), Interface(2, "a")], DEFAULT, Route(IPV4, 16, 2)) == ("z", "a")


def test_the_default_route_of_lowest_metric_leads_and_ipv4_before_ipv6() -> None:
    several = (Route(IPV4, 0, 1, ROUTER, 600), Route(IPV4, 0, 2, ROUTER, 100))
    assert found([ETH0, ETH1], *several) == ("eth1", "eth0")
    assert found([ETH0, ETH1], Route(IPV6, 0, 1, bytes(16), 1), Route(IPV4, 0, 2, ROUTER, 900)) == ("eth1", "eth0")


def test_a_node_whose_only_default_route_is_in_a_policy_table_has_an_uplink() -> None:
    assert found([ETH0, ETH1], Route(IPV4, 24, 1), others=(Route(IPV4, 0, 2, ROUTER),)) == ("eth1", "eth0")


@pytest.mark.parametrize(
    ("kind", "route", "leads_out"),
    [
        ("", Route(IPV4, 24, 2), True),  # a storage network behind a card
        ("vlan", Route(IPV4, 24, 2), True),
        ("bond", Route(IPV4, 24, 2), True),
        ("veth", Route(IPV4, 24, 2), False),  # a pod's
        ("veth", Route(IPV4, 32, 2), False),
        ("veth", Route(IPV4, 0, 2), True),
        ("veth", Route(IPV4, 16, 2, ROUTER), True),  # a node that is a container
        ("veth", Route(IPV4, 16, 2, OWN), False),  # Cilium's cilium_host
        ("bridge", Route(IPV4, 24, 2), False),
        ("openvswitch", Route(IPV4, 14, 2, ROUTER), False),  # OVN-Kubernetes' and Antrea's ways to pods
        ("openvswitch", Route(IPV4, 0, 2, ROUTER), True),  # br-ex
        *((kind, Route(IPV4, 0, 2, ROUTER), False) for kind in ("vxlan", "geneve", "ipip", "gre", "wireguard")),
        *((kind, Route(IPV4, 0, 2, ROUTER), False) for kind in ("loopback", "dummy", "ifb", "vrf")),
    ],
)
def test_what_kind_of_interface_leads_out(kind: str, route: Route, leads_out: bool) -> None:
    interfaces = [ETH0, Interface(2, "other", kind)]
    assert found(interfaces, DEFAULT, route) == (("eth0", "other") if leads_out else ("eth0",))


def test_a_tunnel_of_a_program_is_none_and_a_tap_may_be() -> None:
    route = Route(IPV4, 0, 2, ROUTER)
    assert found([ETH0, Interface(2, "tun0", "tun", ethernet=False)], DEFAULT, route) == ("eth0",)
    assert found([ETH0, Interface(2, "tap0", "tun")], DEFAULT, route) == ("eth0", "tap0")


def test_a_bridge_with_hardware_leads_out_and_others_lead_in() -> None:
    bridge, guest = Interface(9, "br0", "bridge"), Interface(3, "vnet0", "tun", master=9)
    card = Interface(1, "eth0", master=9)
    assert found([bridge, guest, card], Route(IPV4, 24, 9)) == ("br0",)
    assert not leads_in(bridge, Interfaces([bridge, guest, card]))
    assert leads_in(bridge, Interfaces([bridge, guest]))


def test_a_route_through_an_interface_that_is_gone_is_passed_over() -> None:
    assert found([], DEFAULT) == ()


def test_of_a_thousand_interfaces_those_with_default_routes_are_kept() -> None:
    cards = [Interface(n, f"eth{n:04}") for n in range(1, 1001)]
    routes = [Route(IPV4, 24, n) for n in range(1, 1001)]
    chosen = found(cards, *routes, Route(IPV4, 0, 900, ROUTER), others=(Route(IPV4, 0, 950, ROUTER),))
    assert len(chosen) == MOST_UPLINKS
    assert chosen[:3] == ("eth0900", "eth0950", "eth0001")
