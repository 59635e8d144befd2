# SPDX-License-Identifier: Apache-2.0
"""Crowds of silent clients keep neither kube-scheduler nor the kubelet's probes out."""

from __future__ import annotations

import http.client
import json
import resource
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from extender.serving.accept import Places
from extender.serving.certificates import Certificates
from extender.serving.http_protocol import BoundedHttpProtocol
from extender.serving.limits import Limits, PortLimits, Refusals
from extender.serving.server import Server, listen
from extender.settings import TlsFiles
from lab.controlplane import pki
from tests.extender.raw_http import BODY, HEALTH, PATIENCE_SECONDS, status_of
from tests.extender.running import served, until

CROWD = 1000


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> pki.Pki:
    return pki.create(tmp_path_factory.mktemp("pki") / "keys", ["IP:127.0.0.1"])


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    """The clients of a crowd live in this process too."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


class Extender:
    """A TLS port that asks for clients' certificates, and the metrics port."""

    def __init__(self, port: int, metrics_port: int, server: Server, keys: pki.Pki) -> None:
        self.port, self.metrics_port, self.server, self._keys = port, metrics_port, server, keys

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self._keys.ca))
        context.load_cert_chain(self._keys.certificate(pki.SCHEDULER), self._keys.key(pki.SCHEDULER))
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=PATIENCE_SECONDS)

    def passes(self, connection: http.client.HTTPSConnection) -> list[str]:
        connection.request("POST", "/filter", BODY)
        names: list[str] = json.loads(connection.getresponse().read())["NodeNames"]
        return names


@contextmanager
def extender(keys: pki.Pki, **options: Any) -> Iterator[Extender]:
    certificates = Certificates(TlsFiles(keys.certificate("apiserver"), keys.key("apiserver"), keys.ca))
    with (
        listen("127.0.0.1", 0) as metrics_port,
        served(certificates=certificates, metrics_port=metrics_port, **options) as (port, server),
    ):
        yield Extender(port, metrics_port.getsockname()[1], server, keys)


def crowd(stack: ExitStack, port: int, sent: bytes = b"") -> None:
    for _ in range(CROWD):
        client = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
        if sent:
            client.sendall(sent)


CROWDS: dict[str, tuple[Callable[[Extender], int], bytes]] = {
    "silent on the metrics port": (lambda extender: extender.metrics_port, b""),
    "with half a request on the metrics port": (lambda extender: extender.metrics_port, b"GET /met"),
    "served once on the metrics port": (lambda extender: extender.metrics_port, HEALTH),
    "without a handshake on the TLS port": (lambda extender: extender.port, b""),
    "with half a handshake on the TLS port": (lambda extender: extender.port, b"\x16\x03\x01"),
}


@pytest.mark.parametrize("kind", CROWDS)
def test_a_crowd_keeps_neither_kube_scheduler_nor_the_kubelet_out(keys: pki.Pki, kind: str) -> None:
    port_of, sent = CROWDS[kind]
    with extender(keys) as served_here, ExitStack() as stack:
        held = served_here.connect()
        stack.callback(held.close)
        assert served_here.passes(held) == ["free"]
        crowd(stack, port_of(served_here), sent)
        assert served_here.passes(held) == ["free"], "over the connection that was there before"
        new = served_here.connect()
        stack.callback(new.close)
        assert served_here.passes(new) == ["free"]
        assert status_of(served_here.metrics_port, HEALTH) == 200
        limits = served_here.server.limits
        most = limits.main_port.connections + limits.metrics_port.connections
        assert len(served_here.server.server_state.connections) <= most
        assert sum(served_here.server.refused.values()) >= CROWD / 2, "every one that went is counted"


def test_places_of_one_port_are_not_those_of_the_other(keys: pki.Pki) -> None:
    few = PortLimits(connections=3, per_address=3, handshakes=3, handshakes_per_address=3)
    with extender(keys, limits=Limits(main_port=few, metrics_port=few)) as served_here, ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS))
            for port in (served_here.metrics_port, served_here.port)
            for _ in range(3)
        ]
        held = [served_here.connect() for _ in range(3)]
        for connection in held:
            stack.callback(connection.close)
            assert served_here.passes(connection) == ["free"]
        until(lambda: len(served_here.server.server_state.connections) == 6)
        assert served_here.server.refused["too-many-of-address"] == 0
        assert len(silent) == 6


class Connection:
    """As much of a connection as places look at."""

    def __init__(self, address: str, *, served: int = 0, since: float = 0.0, waits: bool = True) -> None:
        self.address, self.served, self.since, self.waits_for_client = address, served, since, waits
        self.ended = False
        self.transport = SimpleNamespace(abort=self._end)

    def _end(self) -> None:
        self.ended = True


def filled(limits: PortLimits, *taken: Connection) -> Places:
    places = Places(limits, Refusals())
    for connection in taken:
        assert places.admit(cast(BoundedHttpProtocol, connection))
    return places


def admitted(places: Places, connection: Connection) -> bool:
    return places.admit(cast(BoundedHttpProtocol, connection))


@pytest.mark.parametrize(
    ("taken", "goes"),
    [
        ([Connection("a", served=1), Connection("b", since=9.0)], 1),  # never served, though it came last
        ([Connection("a", since=2.0), Connection("b", since=1.0)], 1),  # waits longest
        ([Connection("a", since=1.0), Connection("b", since=2.0), Connection("b", since=3.0)], 1),  # most places
        ([Connection("a", waits=False), Connection("b", served=5, since=9.0)], 1),  # a request is under way
    ],
)
def test_a_newcomer_takes_the_place_of(taken: list[Connection], goes: int) -> None:
    places = filled(PortLimits(connections=len(taken), per_address=9), *taken)
    assert admitted(places, Connection("new"))
    assert [connection.ended for connection in taken] == [at == goes for at in range(len(taken))]
    assert len(places.taken) == len(taken)


def test_an_address_at_its_limit_costs_only_itself() -> None:
    taken = [Connection("a", since=1.0), Connection("b", since=2.0), Connection("b", since=3.0)]
    places = filled(PortLimits(connections=9, per_address=2), *taken)
    assert admitted(places, Connection("b"))
    assert [connection.ended for connection in taken] == [False, True, False]


def test_a_crowd_of_requests_under_way_does_not_keep_a_lonely_client_out() -> None:
    taken = [Connection(address, waits=False, since=since) for since, address in enumerate("abb")]
    places = filled(PortLimits(connections=3, per_address=9), *taken)
    assert admitted(places, Connection("c"))
    assert [connection.ended for connection in taken] == [False, True, False]


def test_where_every_request_is_under_way_the_newcomer_is_refused() -> None:
    taken = [Connection("a", waits=False)]
    places = filled(PortLimits(connections=1, per_address=9), *taken)
    assert not admitted(places, Connection("b"))
    assert not taken[0].ended


def test_all_places_stay_below_the_file_descriptors_of_a_process() -> None:
    limits = Limits()
    ports = (limits.main_port, limits.metrics_port)
    assert sum(port.connections + port.handshakes for port in ports) <= 1024 - 24
