# SPDX-License-Identifier: Apache-2.0
"""One client's addresses and requests cost no other client its place."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.placement.policy import DEFAULT_MAX_IN_FLIGHT, Policy
from extender.serving.accept import Places
from extender.serving.clients import UnderWay, client_of
from extender.serving.http_protocol import BoundedHttpProtocol
from extender.serving.limits import PortLimits, Refusals
from extender.serving.server import Server, listen
from tests.extender.raw_http import PATIENCE_SECONDS, passed, read, request
from tests.extender.running import served, until
from tests.extender.serving.test_accept import Connection

MANY = DEFAULT_MAX_IN_FLIGHT + 8


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("::FFFF:a00:7", "10.0.0.7"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::/64"),
        ("2001:db8:0:2::1", "2001:db8:0:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("a path", "a path"),
    ],
)
def test_a_client_has_one_name_whatever_its_address(address: str, client: str) -> None:
    assert client_of(address) == client


def decided(port: int, source: str) -> list[str]:
    """The nodes that pass, for a client at ``source``."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS, (source, 0)) as client:
        client.sendall(request())
        with client.makefile("rb") as responses:
            return passed(read(responses)[2])


def test_unfinished_requests_of_one_client_cost_another_nothing() -> None:
    with served(Policy(deadline=PATIENCE_SECONDS)) as (port, server), ExitStack() as stack:
        for _ in range(MANY):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS))
            client.sendall(request()[:-1])
        until(lambda: server.under_way == MANY)
        assert decided(port, "127.0.0.2") == ["free"]
        assert decided(port, "127.0.0.1") == ["busy", "mice", "free"], "its own requests fail open"


def unread(stack: ExitStack, port: int, server: Server) -> None:
    """Hold ``MANY`` requests under way whose responses nobody reads."""
    clients = [stack.enter_context(socket.socket()) for _ in range(MANY)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.setblocking(False)

    def held() -> bool:
        for client in clients:
            try:
                client.send(b"GET /metrics HTTP/1.1\r\n\r\n" * 8)
            except OSError:
                continue
        return server.under_way > MANY

    until(held)


def test_requests_on_the_metrics_port_cost_those_on_the_other_nothing() -> None:
    policy = Policy(deadline=PATIENCE_SECONDS)
    with (
        listen("127.0.0.1", 0) as metrics,
        served(policy, metrics_port=metrics) as (port, server),
        ExitStack() as stack,
    ):
        unread(stack, metrics.getsockname()[1], server)
        assert decided(port, "127.0.0.1") == ["free"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_places_under_way_add_up_and_a_lonely_client_waits_behind_one_of_each_other(
    steps: list[tuple[str, bool]],
) -> None:
    under_way, held = UnderWay(), dict.fromkeys("abc", 0)
    for client, begins in steps:
        if not begins and not held[client]:
            continue
        held[client] += 1 if begins else -1
        under_way.add(client, 1 if begins else -1)
        assert under_way.total == sum(held.values())
        assert +under_way.by_client == under_way.by_client == {name: n for name, n in held.items() if n}
    clients = len(under_way.by_client)
    under_way.add("lonely", 1)
    assert under_way.place("lonely") <= clients + 1


def test_a_client_of_many_ipv6_addresses_takes_no_place_of_another() -> None:
    places = Places(PortLimits(connections=8, per_address=6), Refusals())
    scheduler = [Connection(client_of("2001:db8:0:1::1"), served=1) for _ in range(2)]
    others = [Connection(client_of(f"2001:db8:0:2::{number:x}")) for number in range(40)]
    for connection in (*scheduler, *others):
        assert places.admit(cast(BoundedHttpProtocol, connection))
    assert not any(connection.ended for connection in scheduler)
    assert sum(not connection.ended for connection in others) == 6
