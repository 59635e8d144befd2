# SPDX-License-Identifier: Apache-2.0
"""What rtnetlink lists of routes and rules, and which reports of changes matter."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.node.uplinks.interfaces import parse_interface
from nodeagent.node.uplinks.lookup import parse_answer
from nodeagent.node.uplinks.routes import RTMSG, VRF, Route, default_interface, parse_route, parse_rule
from nodeagent.node.uplinks.watch import matters
from tests.nodeagent.node.uplinks.test_interfaces import attribute, body, number

IPV4, IPV6 = int(socket.AF_INET), int(socket.AF_INET6)
ROUTER = b"\x0a\0\0\1"


def route(*attributes: bytes, family: int = IPV4, length: int = 24, kind: int = 1, flags: int = 0) -> bytes:
    return RTMSG.pack(family, length, 0, 0, 254, 0, 0, kind, flags) + b"".join(attributes)


def to(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return attribute(1, socket.inet_pton(family, address))


OUT = attribute(4, number(2))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (route(to("10.0.0.0"), OUT), [Route(IPV4, 24, 2)]),
        (route(OUT, attribute(5, ROUTER), attribute(6, number(100)), length=0), [Route(IPV4, 0, 2, ROUTER, 100)]),
        (route(OUT, attribute(18, struct.pack("=H", 10) + bytes(16)), length=0), [Route(IPV4, 0, 2, bytes(16))]),
        (route(to("10.0.0.0"), OUT, kind=2), []),  # local
        (route(to("10.0.0.0"), OUT, kind=6), []),  # blackhole
        (route(to("10.0.0.0"), OUT, flags=0x10), []),  # no carrier
        (route(to("169.254.169.254"), OUT, length=32), []),
        (route(to("224.0.0.0"), OUT, length=4), []),
        (route(to("fe80::"), OUT, family=IPV6, length=64), []),
        (route(to("ff00::"), OUT, family=IPV6, length=8), []),
        (route(to("fd00::"), OUT, family=IPV6, length=64), [Route(IPV6, 64, 2)]),
        (route(OUT, family=7), []),
        (b"", []),
    ],
)
def test_a_route_to_other_machines(message: bytes, expected: list[Route]) -> None:
    assert list(parse_route(message)) == expected


def hop(index: int, gateway: bytes = b"", flags: int = 0) -> bytes:
    inner = attribute(5, gateway) if gateway else b""
    return struct.pack("=HBBi", 8 + len(inner), flags, 0, index) + inner


def test_each_next_hop_of_several_is_a_way_unless_it_is_dead() -> None:
    message = route(attribute(9, hop(2, ROUTER) + hop(3) + hop(4, flags=1)), length=0)
    assert list(parse_route(message)) == [Route(IPV4, 0, 2, ROUTER), Route(IPV4, 0, 3)]
    assert list(parse_route(route(attribute(9, b"\1\0\0\0\0\0\0\0")))) == []


@pytest.mark.parametrize(
    ("message", "table"),
    [
        (RTMSG.pack(IPV4, 0, 32, 0, 22, 0, 0, 1, 0), 22),
        (RTMSG.pack(IPV4, 0, 32, 0, 0, 0, 0, 1, 0) + attribute(15, number(1001)), 1001),
        (RTMSG.pack(IPV4, 0, 0, 0, 0, 0, 0, 1, 0) + attribute(19, b"\1"), VRF),
        (RTMSG.pack(IPV4, 0, 0, 0, 22, 0, 0, 8, 0), None),  # prohibit
        (b"short", None),
    ],
)
def test_the_table_of_a_rule(message: bytes, table: int | None) -> None:
    assert parse_rule(message) == table


def test_the_default_route_is_of_an_interface_that_may_be_used() -> None:
    routes = [Route(IPV4, 0, 1, ROUTER, 1), Route(IPV4, 0, 2, ROUTER, 9), Route(IPV4, 24, 3)]
    assert default_interface(routes, frozenset({2, 3})) == 2
    assert default_interface(routes, frozenset({3})) is None


def report(kind: int, message: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(message), kind, 0, 0, 0) + message + bytes(-len(message) % 4)


@pytest.mark.parametrize(
    ("datagram", "expected"),
    [
        (report(24, route(to("10.0.0.0"), OUT)), True),
        (report(25, route(OUT, length=0)), True),
        (report(24, route(to("10.244.1.7"), OUT, length=32)), False),  # a pod's
        (report(24, route(to("fe80::"), OUT, family=IPV6, length=64)), False),  # any new interface's
        (report(16, body(index=2)), True),
        (report(17, body(index=3)), False),  # a pod's
        (report(16, body(index=3)) + report(32, RTMSG.pack(IPV4, 0, 0, 0, 0, 0, 0, 1, 0)), True),
        (report(16, b""), False),
        (b"\0" * 40, False),
        (b"", False),
    ],
)
def test_what_is_more_than_a_pods_coming_and_going(datagram: bytes, expected: bool) -> None:
    assert matters(datagram, {2}) is expected


@given(st.binary(max_size=200))
def test_no_bytes_of_the_kernel_crash_a_reader(raw: bytes) -> None:
    parse_interface(raw)
    list(parse_route(raw))
    parse_rule(raw)
    matters(raw, {1})
    if len(raw) >= 16:
        parse_answer(raw)


@given(st.binary(max_size=120))
def test_no_attributes_of_a_route_or_an_interface_crash_a_reader(raw: bytes) -> None:
    list(parse_route(route(raw)))
    list(parse_route(route(attribute(9, raw))))
    parse_interface(body(raw, attribute(18, raw)))
    parse_answer(report(24, route(raw)))
