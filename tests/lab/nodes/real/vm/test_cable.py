# SPDX-License-Identifier: Apache-2.0
"""The cable between fabric and guest, with real packets: a tap device that this test holds in QEMU's place."""

from __future__ import annotations

import fcntl
import io
import os
import select
import socket
import struct

import pytest

from lab.network import addresses, netns
from lab.network.fabric import Fabric, NodeSpec
from lab.nodes.real.vm import cable
from lab.nodes.real.vm.machine import TAP

pytestmark = pytest.mark.netns

_TUNSETIFF = 0x400454CA
_TAP_WITHOUT_HEADER = 0x1002


def test_frames_for_the_nodes_address_reach_the_guest_and_no_rules_on_their_way() -> None:
    fabric = Fabric(f"c{os.getpid()}", [NodeSpec("node1", 1, "1G"), NodeSpec("node2", 2, "1G")])
    fabric.create()
    try:
        namespace = fabric.node_namespace("node2")
        cable.lay(namespace)
        with netns.entered(namespace):
            tap = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", TAP.encode(), _TAP_WITHOUT_HEADER))
        with os.fdopen(tap, "rb", buffering=0) as guest:
            for host in ("node1", "cp"):
                assert _arrived(guest, fabric.prefix + host, host.encode())[:6].hex(":") == cable.mac(2)
    finally:
        fabric.destroy()


def _arrived(guest: io.FileIO, namespace: str, payload: bytes) -> bytes:
    """The frame of a datagram from ``namespace`` to the node, sent until it is there: a port takes its time."""
    with netns.entered(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(300):
            sender.sendto(payload, (addresses.node_v4(2), 7))
            while select.select([guest], [], [], 0.2)[0]:
                if (frame := guest.read(2048)) and frame.endswith(payload):  # not IPv6's own chatter
                    return frame
    raise AssertionError(f"nothing from {namespace} arrived")
