# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress
import struct

import pytest

from nodeagent.node.locality import node_addresses, parse_addresses


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body + b"\0" * (-len(body) % 4)


def address(*attributes: bytes) -> bytes:
    return message(20, bytes(8) + b"".join(attributes))


V4, PEER, V6 = b"\xc0\0\x02\x01", b"\xc0\0\x02\x02", ipaddress.ip_address("fd00::1").packed


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (address(attribute(1, V4), attribute(2, V4), attribute(3, b"eth0\0")), ([V4], False)),
        (address(attribute(1, PEER), attribute(2, V4)), ([V4], False)),  # point to point: ADDRESS is the peer's
        (address(attribute(1, V6)) + message(3, bytes(4)), ([V6], True)),
        (message(3, bytes(4)), ([], True)),
        (address(attribute(1, b"\x01\x02")), ([], False)),
        (address(struct.pack("=HH", 0, 1)), ([], False)),  # an attribute of no length ends the walk
        (struct.pack("=IHHII", 4, 20, 0, 1, 0), ([], True)),  # so does a message of no length
    ],
)
def test_addresses_of_a_datagram(datagram: bytes, expected: tuple[list[bytes], bool]) -> None:
    assert parse_addresses(datagram) == expected


def test_the_kernels_refusal_is_an_error() -> None:
    with pytest.raises(OSError, match="not permitted"):
        parse_addresses(message(2, struct.pack("=i", -1)))


def test_loopback_is_among_the_addresses_of_this_machine() -> None:
    assert ipaddress.ip_address("127.0.0.1").packed in node_addresses()
