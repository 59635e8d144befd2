# SPDX-License-Identifier: Apache-2.0
"""What carries an interface."""

from __future__ import annotations

import struct

import pytest

from footprint.models import LinkRates
from nodeagent.node.link import Link
from nodeagent.node.uplinks.finding import describe
from nodeagent.node.uplinks.interfaces import IFINFOMSG, Interface, Interfaces, carriers, parse_interface

ETH0, ETH1 = Interface(1, "eth0"), Interface(2, "eth1")


def member(index: int, *, backup: bool = False, up: bool = True, aggregator: int = 0) -> Interface:
    return Interface(index, f"eth{index}", master=9, backup=backup, up=up, aggregator=aggregator)


@pytest.mark.parametrize(
    ("interfaces", "name", "expected"),
    [
        ([ETH0], "eth0", ("eth0",)),
        ([ETH0], "gone0", ("gone0",)),
        ([ETH0, Interface(3, "eth0.5", "vlan", below=1)], "eth0.5", ("eth0",)),
        ([Interface(3, "eth0.5", "vlan", below=1)], "eth0.5", ("eth0.5",)),  # its parent is in another namespace
        ([member(1), member(2), Interface(9, "bond0", "bond")], "bond0", ("eth1", "eth2")),
        ([member(1), member(2, backup=True), Interface(9, "bond0", "bond")], "bond0", ("eth1",)),
        ([member(1), member(2, up=False), Interface(9, "bond0", "bond")], "bond0", ("eth1",)),
        ([member(1, up=False), Interface(9, "bond0", "bond")], "bond0", ("eth1",)),  # nothing carries: all might
        ([member(1), member(2), Interface(9, "bond0", "bond", one_at_a_time=True)], "bond0", ("eth1",)),
        (
            [member(1, aggregator=1), member(2, aggregator=2), Interface(9, "bond0", "bond", aggregator=2)],
            "bond0",
            ("eth2",),
        ),
        (
            [member(1), member(2), Interface(9, "bond0", "bond"), Interface(10, "bond0.7", "vlan", below=9)],
            "bond0.7",
            ("eth1", "eth2"),
        ),
        (
            [
                Interface(1, "eth0", master=9),
                Interface(2, "vnet0", "tun", master=9),
                Interface(9, "br0", "bridge"),
            ],
            "br0",
            ("eth0",),
        ),
        ([Interface(2, "veth1", "veth", master=9), Interface(9, "cni0", "bridge")], "cni0", ("cni0",)),
        (
            [
                Interface(1, "eth0", master=8),
                Interface(8, "ovs-system", "openvswitch"),
                Interface(9, "br-ex", "openvswitch"),
            ],
            "br-ex",
            ("eth0",),
        ),
        ([Interface(3, "a", "macvlan", below=4), Interface(4, "b", "macvlan", below=3)], "a", ("a",)),  # a loop
    ],
)
def test_what_carries_an_interface(interfaces: list[Interface], name: str, expected: tuple[str, ...]) -> None:
    assert carriers(name, Interfaces(interfaces)) == expected


@pytest.mark.parametrize("kind", ["bridge", "openvswitch"])
def test_of_a_switch_its_ports_to_the_outside_count(kind: str) -> None:
    master = 9 if kind == "bridge" else 8
    interfaces = Interfaces([
        Interface(1, "eth0", master=master),
        Interface(2, "veth1", "veth", master=master),
        Interface(8, "ovs-system", "openvswitch"),
        Interface(9, "br0", kind),
    ])  # fmt: skip
    assert describe(Link("br0", LinkRates()), interfaces).counted_by == ("eth0",)
    assert describe(Link("eth0", LinkRates()), interfaces).counted_by == ()


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def body(*attributes: bytes, index: int = 7, hardware: int = 1, up: bool = True) -> bytes:
    return IFINFOMSG.pack(0, 0, hardware, index, int(up), 0) + b"".join(attributes)


def test_a_vlan_is_on_top_of_its_parent_unless_that_is_elsewhere() -> None:
    kind = attribute(18, attribute(1, b"vlan\0"))
    here = body(attribute(3, b"eth0.5\0"), attribute(5, number(2)), kind)
    assert parse_interface(here) == Interface(7, "eth0.5", "vlan", below=2)
    away = parse_interface(body(attribute(5, number(2)), attribute(37, number(0)), kind))
    assert away is not None
    assert away.below == 0


def test_the_peer_of_a_veth_does_not_carry_it() -> None:
    found = parse_interface(body(attribute(5, number(2)), attribute(18, attribute(1, b"veth\0"))))
    assert found is not None
    assert found.below == 0


@pytest.mark.parametrize(("mode", "alone"), [(0, False), (1, True), (2, False), (3, True), (4, False), (6, False)])
def test_a_bonds_mode_says_whether_its_members_add_up(mode: int, alone: bool) -> None:
    data = attribute(2, attribute(1, bytes([mode])) + attribute(23, attribute(1, struct.pack("=H", 3))))
    found = parse_interface(body(attribute(18, attribute(1, b"bond\0") + data)))
    assert found is not None
    assert (found.one_at_a_time, found.aggregator) == (alone, 3)


@pytest.mark.parametrize(("state", "mii", "backup"), [(0, 0, False), (1, 0, True), (0, 2, True)])
def test_a_member_that_waits_or_has_no_carrier_carries_nothing(state: int, mii: int, backup: bool) -> None:
    slave = attribute(5, attribute(1, bytes([state])) + attribute(2, bytes([mii])) + attribute(6, b"\3\0"))
    found = parse_interface(body(attribute(10, number(9)), attribute(18, attribute(4, b"bond\0") + slave)))
    assert found is not None
    assert (found.master, found.backup, found.aggregator) == (9, backup, 3)


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_a_cut_answer_is_no_crash(cut: int) -> None:
    parse_interface(body(attribute(3, b"eth0\0"), attribute(18, attribute(1, b"bond\0")))[:cut])
