# SPDX-License-Identifier: Apache-2.0
"""A program with a tun device that carries a pod's packets in UDP, as OpenVPN does, with real packets."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.measuring.followers import Followers
from nodeagent.node.locality import node_addresses
from nodeagent.node.tunnels import program_counters, read_tunnels
from nodeagent.sources.base import CARRIER, HOST, Locality
from nodeagent.sources.ctnetlink import CtnetlinkSource
from tests.kernel.guest.carrying import THRESHOLDS, datagrams
from tests.kernel.guest.network import run_ip
from tests.kernel.guest.overlay import NODE, PEER, POD, UID, Overlay, overlay
from tests.kernel.guest.traffic import Connection, Stream, again_and_again, packed

pytestmark = pytest.mark.netns

FAR, HEADER = "10.77.99.7", 32
"""What the program puts before each packet, besides UDP's and IP's headers."""
PATIENCE = 180.0


@contextmanager
def program(namespace: str, own: str, other: str) -> Iterator[None]:
    """Between device tun0 of ``namespace`` and the other end's port 1194, until the end."""
    with netns.entered(namespace):
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    wire.bind((own, 1194))
    wire.connect((other, 1194))
    run_ip(namespace, "link set tun0 mtu 1300 up")
    os.set_blocking(device, False)
    wire.setblocking(False)

    def carry() -> None:
        for _ in range(64):
            try:
                wire.send(bytes(HEADER) + os.read(device, 2000))
            except OSError:  # nothing there, or nobody there yet
                break
        for _ in range(64):
            try:
                os.write(device, wire.recv(2000)[HEADER:])
            except OSError:
                break

    try:
        with again_and_again(carry, every=0.001):
            yield
    finally:
        wire.close()
        os.close(device)


@pytest.fixture
def net() -> Iterator[Overlay]:
    if not Path("/dev/net/tun").exists():
        pytest.skip("this machine has no /dev/net/tun")
    with overlay(()) as made, program(made.node, NODE, PEER), program(made.peer, PEER, NODE):
        run_ip(made.node, "route add 10.77.99.0/24 dev tun0")
        run_ip(made.peer, """route add 10.76.1.0/24 dev tun0 table 99
            rule add from 10.77.99.0/24 iif far lookup 99""")  # fmt: skip
        run_ip(made.far, f"addr add {FAR}/16 dev eth0")
        yield made


def test_a_programs_tunnel_is_found_by_its_bytes_and_the_hosts_own_transfer_is_not(net: Overlay) -> None:
    with netns.entered(net.node):
        here, tunnels = node_addresses(), read_tunnels()
        assert tunnels.programs == {"tun0"}
        source, followers = CtnetlinkSource(THRESHOLDS), Followers()
        source.set_locality(Locality({packed(POD): UID}, here, tunnels.carriers))
        source.open()
    seen: set[tuple[str, ...]] = set()

    def read() -> bool:
        """Whether the tunnel is no elephant any more, and the others are."""
        with netns.entered(net.node):
            before = program_counters(tunnels.programs)
            reading = source.read(time.monotonic())
            after = program_counters(tunnels.programs)
        devices = {name: (before[name], after[name]) for name in before}
        if followers.advance(reading.elephants, devices, here):
            source.set_locality(Locality({packed(POD): UID}, here, tunnels.carriers | followers.carriers))
        seen.update(elephant.owners for elephant in reading.elephants)
        owners = sorted(elephant.owners for elephant in reading.elephants)
        return CARRIER in reading.owners and owners == [(HOST,), (UID,)]

    try:
        with (
            Stream(Connection(net.pod, net.far, FAR, listen=FAR, port=8000), 4e5),
            datagrams(net.node, PEER, 9000),
        ):
            deadline = time.monotonic() + PATIENCE
            while not read():
                assert time.monotonic() < deadline, (seen, followers._pairs)
                time.sleep(0.5)
            for _ in range(3):
                time.sleep(0.5)
                assert read()
    finally:
        source.close()
    assert {carrier.port for carrier in followers.carriers} == {1194}
