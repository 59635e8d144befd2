# SPDX-License-Identifier: Apache-2.0
"""Nodes with several uplinks, VLANs and bonds: elephants are booked where the node's own rules counted them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import pytest

from footprint.models import NodeFootprint
from lab.network import netns
from nodeagent.node.uplinks.finding import find_uplinks
from nodeagent.sources.base import Locality
from tests.kernel.guest.measuring import PATIENCE
from tests.kernel.guest.sources import CTNETLINK, EBPF, make
from tests.kernel.guest.traffic import Connection
from tests.nodeagent.node.uplinks.measuring import (
    THRESHOLDS,
    Measuring,
    by_name,
    is_quiet,
    is_true,
    measuring,
)
from tests.nodeagent.node.uplinks.network import POD1, SERVER, Network, network

STEPS: Final = 9
LENIENT: Final = replace(THRESHOLDS, elephant_rate=1e6, exit_hold=120.0)
"""What a step carries takes a busy machine's guest seconds, and as long passes before the next one."""


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


class EachSecond:
    """The clock, which is looked at once a second at most: elephants need time."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self) -> float:
        time.sleep(max(self._due - time.monotonic(), 0.0))
        self._due = time.monotonic() + 1.0
        return time.monotonic()


@contextmanager
def watched(net: Network, source: str) -> Iterator[tuple[Measuring, Connection]]:
    """Measured by ``source``, with a connection of pod 1."""
    made = make(source, LENIENT, Locality())
    with (
        measuring(net, source=made, clock=EachSecond()) as found,
        Connection(net.pod1, net.world, SERVER, listen=SERVER, port=8000) as connection,
    ):
        yield found, connection


def routed_by_address(net: Network, gateway: str, back: str) -> None:
    """Pod 1 leaves by ``gateway``, and answers to it come ``back`` the same way."""
    net.ip(net.node, f"rule add from {POD1} lookup 22\nroute add default via {gateway} table 22")
    net.ip(net.world, f"route add {POD1}/32 via {back}")


def booked_on(found: Measuring, name: str, told: NodeFootprint) -> None:
    links = by_name(told)
    is_true(links[name].el, found.carried(name))
    is_quiet(links["eth0"])
    assert told.up == name
    assert told.bad == ()


def carriers(net: Network, name: str) -> tuple[str, ...]:
    with netns.entered(net.node):
        return next(link.carriers for link in find_uplinks(None, None).all if link.interface == name)


@pytest.mark.parametrize("source", [CTNETLINK, EBPF[0]])
def test_policy_routing_by_a_pods_address(net: Network, source: str) -> None:
    routed_by_address(net, "172.31.78.2", "172.31.78.1")
    with watched(net, source) as (found, connection):
        booked_on(found, "eth1", found.run(STEPS, connection))


@pytest.mark.one_kernel
def test_a_vlan_is_the_uplink_and_its_parent_carries_it(net: Network) -> None:
    for namespace, end in ((net.node, 1), (net.world, 2)):
        net.ip(
            namespace,
            f"""link add link eth1 name vlan5 type vlan id 5
            addr add 172.31.80.{end}/24 dev vlan5
            link set vlan5 up""",
        )
    routed_by_address(net, "172.31.80.2", "172.31.80.1")
    assert carriers(net, "vlan5") == ("eth1",)
    with watched(net, EBPF[0]) as (found, connection):
        booked_on(found, "vlan5", found.run(STEPS, connection))


def members(net: Network) -> None:
    for name in ("m0", "m1"):
        net.ip(net.node, f"link add {name} type veth peer name {name} netns {net.world}")


def bonded(net: Network, namespace: str, mode: str, address: str) -> None:
    net.ip(
        namespace,
        f"""link add bond0 type bond mode {mode} miimon 100
        link set m0 master bond0
        link set m1 master bond0
        addr add {address}/24 dev bond0
        link set bond0 up""",
    )


def test_of_a_bond_one_member_carries_and_another_takes_over(net: Network) -> None:
    members(net)
    bonded(net, net.node, "active-backup", "172.31.81.1")
    net.ip(
        net.world,
        """link add bond0 type bridge
        link set m0 master bond0
        link set m1 master bond0
        link set m0 up
        link set m1 up
        addr add 172.31.81.2/24 dev bond0
        link set bond0 up""",
    )
    routed_by_address(net, "172.31.81.2", "172.31.81.1")
    [active] = until(net, 1)
    with watched(net, EBPF[0]) as (found, connection):
        booked_on(found, "bond0", found.run(STEPS, connection))
        net.ip(net.node, f"link set {active} down")
        [other] = until(net, 1, {"m0", "m1"} - {active})
        assert other != active
        booked_on(found, "bond0", found.run(STEPS, connection))


@pytest.mark.one_kernel
def test_members_that_aggregate_carry_together(net: Network) -> None:
    members(net)
    for namespace, address in ((net.node, "172.31.81.1"), (net.world, "172.31.81.2")):
        bonded(net, namespace, "802.3ad lacp_rate fast", address)
    routed_by_address(net, "172.31.81.2", "172.31.81.1")
    assert until(net, 2) == ("m0", "m1")
    with watched(net, EBPF[0]) as (found, connection):
        booked_on(found, "bond0", found.run(STEPS, connection))


def until(net: Network, count: int, among: set[str] | None = None) -> tuple[str, ...]:
    """The bond's carriers, once there are so many, of those wanted; the last ones when there never are."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = carriers(net, "bond0")
        wanted = len(found) == count and "bond0" not in found and (among is None or set(found) <= among)
        if wanted or time.monotonic() >= deadline:
            return found
        time.sleep(0.2)
