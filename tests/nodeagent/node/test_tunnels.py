# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import socket
import struct
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.network import netns
from nodeagent.node.netlink import attribute
from nodeagent.node.tunnels import PROTOCOLS, Device, carriers, parse_device, parse_forwarding, read_tunnels
from nodeagent.node.wireguard import parse_port
from nodeagent.sources.base import Carrier

A, B, B6 = (
    socket.inet_aton("192.0.2.1"),
    socket.inet_aton("192.0.2.2"),
    socket.inet_pton(socket.AF_INET6, "fd00::2"),
)


def link(kind: str, *data: tuple[int, bytes], name: str = "tun0", index: int = 7) -> bytes:
    inner = attribute(1, kind.encode() + b"\0") + attribute(2, b"".join(attribute(*pair) for pair in data))
    return struct.pack("=BxHiII", 0, 1, index, 0, 0) + attribute(3, name.encode() + b"\0") + attribute(18, inner)


def port(number: int) -> bytes:
    return struct.pack(">H", number)


@pytest.mark.parametrize(
    ("body", "device"),
    [
        (link("vxlan", (15, port(8472)), (4, A), (25, b"\0")), Device(7, "tun0", "vxlan", 8472)),
        (link("vxlan", (15, port(4789)), (2, B), (25, b"\0")),
         Device(7, "tun0", "vxlan", 4789, frozenset({B}))),
        (link("vxlan", (15, port(4789)), (25, b"\1")), Device(7, "tun0", "vxlan", 4789, external=True)),
        (link("geneve", (5, port(6081)), (6, b"")), Device(7, "tun0", "geneve", 6081, external=True)),
        (link("geneve", (5, port(6081)), (7, B6)), Device(7, "tun0", "geneve", 6081, frozenset({B6}))),
        (link("ipip", (3, B), (15, bytes(2)), (18, bytes(2))), Device(7, "tun0", "ipip", 0, frozenset({B}))),
        (link("ipip", (3, B), (15, b"\1\0"), (18, port(5555))), Device(7, "tun0", "ipip", 5555, frozenset({B}))),
        (link("gre", (7, B), (14, b"\2\0"), (17, port(5555))), Device(7, "tun0", "gre", 5555, frozenset({B}))),
        (link("wireguard"), Device(7, "tun0", "wireguard")),
        (link("tun"), Device(7, "tun0", "tun")),
        (link("veth"), None),
        (link("bridge"), None),
        (b"", None),
    ],
)  # fmt: skip
def test_what_a_link_says_of_its_tunnel(body: bytes, device: Device | None) -> None:
    assert parse_device(body) == device


def both(number: int, remote: bytes, received_at: int = 0) -> set[Carrier]:
    return {Carrier(17, number, False, remote), Carrier(17, received_at or number, True, remote)}


def test_the_other_ends_are_the_devices_and_its_forwarding_entries() -> None:
    devices = [
        Device(1, "vx", "vxlan", 8472, frozenset({A})),
        Device(2, "ovs", "vxlan", 4789, external=True),
        Device(3, "ipip", "ipip", 0, frozenset({A})),
    ]
    forwarding = [(1, B, 0), (1, B6, 8473), (2, B, 0), (9, B, 0)]
    assert set(carriers(devices, forwarding)) == (
        both(8472, A) | both(8472, B) | both(8473, B6, received_at=8472) | both(4789, b"")
    )


def test_a_forwarding_entry_without_another_end_says_nothing() -> None:
    head = struct.pack("=BxHiHBB", 7, 0, 3, 0, 0, 0)
    assert parse_forwarding(head + attribute(1, B) + attribute(6, port(99))) == (3, B, 99)
    assert parse_forwarding(head + attribute(2, bytes(6))) is None
    assert parse_forwarding(head[:5]) is None


def test_wireguards_port_is_read_from_the_first_bytes_of_the_answer() -> None:
    assert parse_port(bytes(4) + attribute(6, struct.pack("=H", 51820))) == 51820
    assert parse_port(bytes(4) + attribute(6, bytes(2))) is None
    assert parse_port(bytes(4) + attribute(3, bytes(32))[:8]) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_exception(data: bytes) -> None:
    parse_device(data)
    parse_forwarding(data)
    parse_port(data)
    parse_device(
        struct.pack("=BxHiII", 0, 1, 7, 0, 0) + attribute(18, attribute(1, b"vxlan\0") + attribute(2, data))
    )


@pytest.mark.netns
def test_the_kernels_own_devices_are_found() -> None:
    name = f"tft-{os.getpid()}-tunnels"
    netns.create(name)
    try:
        with netns.entered(name):
            assert read_tunnels().carriers == PROTOCOLS
            for command in (
                "ip link add vx0 type vxlan id 1 dstport 8472 local 127.0.0.1 dev lo nolearning",
                "bridge fdb append 02:00:00:00:00:0b dev vx0 dst 192.0.2.2",
                "ip link add vx1 type vxlan external dstport 4789",
                "ip link add vx2 type vxlan id 5 dstport 4790 remote fd00::2 local fd00::1",
            ):
                subprocess.run(command.split(), check=True)
            assert read_tunnels().carriers == PROTOCOLS | both(8472, B) | both(4789, b"") | both(4790, B6)
    finally:
        netns.delete(name)
