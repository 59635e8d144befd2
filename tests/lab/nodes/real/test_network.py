# SPDX-License-Identifier: Apache-2.0
"""A node's network before any kubelet, with real packets: routed pods, tunnelled pods, settings."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.network import addresses, commands, netns
from lab.network.fabric import Fabric, NodeSpec
from lab.nodes.real import network

pytestmark = pytest.mark.netns

NODES = (NodeSpec("node1", 1, "1G"), NodeSpec("node2", 2, "1G"))


@contextmanager
def nodes(kind: str) -> Iterator[Fabric]:
    """Two nodes, each with one address of its pods' ranges, as its bridge would have pods."""
    fabric = Fabric(f"n{os.getpid()}", NODES)
    fabric.create()
    try:
        for node in NODES:
            namespace = fabric.node_namespace(node.name)
            network.prepare(namespace, node.index, kind, [3 - node.index])
            v4, v6 = addresses.pod_addresses(node.index, 0)
            commands.ip_batch(
                namespace,
                "link add pod type bridge\nlink set pod up\n"
                f"addr add {v4}/24 dev pod\naddr add {v6}/64 dev pod nodad\n",
            )
        yield fabric
    finally:
        fabric.destroy()


def connect(fabric: Fabric, source: str, target: str) -> str:
    """Connect from node1's ``source`` to node2's ``target``; the address that node2 sees."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with netns.entered(fabric.node_namespace("node2")):
        server = socket.create_server((target, 0), family=family)
    with server, netns.entered(fabric.node_namespace("node1")):
        to = (target, server.getsockname()[1])
        with socket.create_connection(to, timeout=20, source_address=(source, 0)):
            accepted, address = server.accept()
            accepted.close()
            return str(address[0])


@pytest.mark.parametrize("kind", [network.HOST_GW, network.VXLAN])
def test_pods_of_two_nodes_reach_each_other(kind: str) -> None:
    with nodes(kind) as fabric:
        for ours, theirs in zip(addresses.pod_addresses(1, 0), addresses.pod_addresses(2, 0), strict=True):
            assert connect(fabric, ours, theirs) == ours


@pytest.mark.parametrize(("kind", "carried"), [(network.HOST_GW, False), (network.VXLAN, True)])
def test_a_tunnel_carries_what_goes_to_other_nodes_pods(kind: str, carried: bool) -> None:
    with nodes(kind) as fabric:
        target = addresses.pod_addresses(2, 0)[0]
        with netns.entered(fabric.node_namespace("node1")):
            route = subprocess.run(
                ["ip", "route", "get", target], capture_output=True, text=True, check=True
            ).stdout
        assert (f"dev {network.TUNNEL}" in route) is carried


def test_kube_router_begins_with_no_way_to_other_nodes_pods_and_no_rules() -> None:
    with nodes(network.KUBE_ROUTER) as fabric, netns.entered(fabric.node_namespace("node1")):
        shown = [_printed("ip", family, "route", "show") for family in ("-4", "-6")]
        assert not any(cidr in text for text in shown for cidr in _ranges(2))
        assert _printed("nft", "list", "ruleset") == ""


def _printed(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _ranges(index: int) -> tuple[str, str]:
    return addresses.pod_cidr_v4(index), addresses.pod_cidr_v6(index)


def test_accounting_is_off_and_bridged_packets_meet_the_rules() -> None:
    with nodes(network.HOST_GW) as fabric, netns.entered(fabric.node_namespace("node1")):
        for path, value in network.SYSCTLS.items():
            assert (commands.SYSCTLS / path).read_text().strip() == value
