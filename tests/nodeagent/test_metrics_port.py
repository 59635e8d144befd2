# SPDX-License-Identifier: Apache-2.0
"""The metrics port against clients that send too much, too slowly, or nothing."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from footprint.models import LinkRates
from footprint.token_bucket import TokenBucket
from nodeagent import metrics_port
from nodeagent.agent import Agent
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.metrics import LoopState, new_registry
from nodeagent.metrics_port import MAX_CONNECTIONS, MAX_HEADER_BYTES, MetricsPort
from nodeagent.node.link import Link
from nodeagent.node.pods import PodStore
from nodeagent.publishing.decide import WritePolicy
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.node_writer import NodeWriter
from tests.nodeagent.steady_source import SteadySource

GET = b"GET /healthz HTTP/1.1\r\n"


@pytest.fixture
def registry() -> CollectorRegistry:
    found = CollectorRegistry()
    Counter("scraped", "Something to show.", registry=found).inc()
    return found


@pytest.fixture
def port(registry: CollectorRegistry) -> Iterator[MetricsPort]:
    found = MetricsPort(registry, "127.0.0.1", 0, alive=lambda: True, ready=lambda: False)
    yield found
    found.close()


def connect(port: MetricsPort) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port.port), timeout=30)


def ask(port: MetricsPort, request: bytes) -> bytes:
    """The whole response, or what came before the connection was reset."""
    with connect(port) as client:
        found = b""
        with suppress(ConnectionError):
            client.sendall(request)
            while data := client.recv(2**16):
                found += data
        return found


def status(response: bytes) -> int:
    return int(response.split(b" ")[1])


def refusals(registry: CollectorRegistry, reason: str) -> float:
    name = "traffic_footprint_agent_metrics_port_refusals_total"
    return registry.get_sample_value(name, {"reason": reason}) or 0.0


def eventually(true: object) -> None:
    """Waits for a callable to be true; pytest's time limit ends it."""
    assert callable(true)
    while not true():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (GET + b"\r\n", 200),
        (b"GET /readyz HTTP/1.0\n\n", 503),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET http://elsewhere/ HTTP/1.1\r\n\r\n", 400),
        (GET + b"a: b\r\n" * 100 + b"\r\n", 200),
        (GET + b"a: b\r\n" * 101 + b"\r\n", 431),
        (GET + b"a: b\r\n" * 300, 431),
        (GET + b"a: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * MAX_HEADER_BYTES, 431),
    ],
    ids=[
        "alive", "not ready", "metrics", "other method", "TLS", "proxy", "100 fields", "101 fields", "no end",
        "long field", "long path",
    ],
)  # fmt: skip
def test_every_request_has_its_status(port: MetricsPort, request_: bytes, expected: int) -> None:
    assert status(ask(port, request_)) == expected


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc", "text/plain; version=x", "text/plain; version=1..0",
        "application/openmetrics-text; version=\xb2; escaping=;=", ";,=", "\xff",
    ],
)  # fmt: skip
def test_a_strange_format_costs_that_request_alone(port: MetricsPort, accept: str) -> None:
    assert status(ask(port, f"GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n".encode("latin-1"))) in (200, 400)
    assert status(ask(port, GET + b"\r\n")) == 200


def test_a_fault_of_ours_costs_one_connection_and_is_counted(registry: CollectorRegistry) -> None:
    def alive() -> bool:
        raise RuntimeError("a fault")

    found = MetricsPort(registry, "127.0.0.1", 0, alive=alive, ready=lambda: True)
    try:
        assert ask(found, GET + b"\r\n") == b""
        assert status(ask(found, b"GET /readyz HTTP/1.1\r\n\r\n")) == 200
        assert refusals(registry, "failed") == 1
    finally:
        found.close()


def test_a_head_request_gets_no_body(port: MetricsPort) -> None:
    head, _, body = ask(port, b"HEAD /metrics HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Length: " in head
    assert body == b""


def test_a_request_in_single_bytes_is_served(port: MetricsPort) -> None:
    with connect(port) as client:
        for byte in GET + b"Host: x\r\n\r\n":
            client.send(bytes([byte]))
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_format_and_compression_are_the_clients_choice(port: MetricsPort) -> None:
    url = f"http://127.0.0.1:{port.port}/metrics"
    choice = {"Accept-Encoding": "gzip", "Accept": "application/openmetrics-text"}
    asked = urllib.request.Request(url, headers=choice)
    with urllib.request.urlopen(asked, timeout=30) as response:  # noqa: S310 - http alone
        assert "openmetrics" in response.headers["Content-Type"]
        assert b"scraped_total 1.0" in gzip.decompress(response.read())


def test_silent_clients_keep_nobody_out_and_cost_little(port: MetricsPort, registry: CollectorRegistry) -> None:
    """59 connections with 99 lines of 64 KiB each killed an agent at its limit of 384 MiB."""
    before, line = resident(), b"a: " + b"x" * 65500 + b"\r\n"
    threads = threading.active_count()
    with ExitStack() as stack:
        for _ in range(3 * MAX_CONNECTIONS):
            silent = stack.enter_context(connect(port))
            silent.settimeout(5)
            with suppress(OSError):
                silent.sendall(GET + line * 99)
        for _ in range(3 * MAX_CONNECTIONS):
            stack.enter_context(connect(port)).sendall(GET + b"a: " + b"x" * 60_000)
        assert status(ask(port, GET + b"\r\n")) == 200
        assert len(port._connections) <= MAX_CONNECTIONS
        assert threading.active_count() <= threads  # those of other tests may end meanwhile
        assert resident() - before < 32 * 2**20
        assert refusals(registry, "header-too-large") > 0
        assert refusals(registry, "evicted") > 0


def resident() -> int:
    """Bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_measuring_goes_on_under_a_flood() -> None:
    registry, durations = new_registry()
    figures, synced, stop = LoopState(), threading.Event(), threading.Event()
    api: Any = None
    agent = Agent(
        source=SteadySource(), store=PodStore(), synced=synced, writer=NodeWriter(api, "n"),
        reporter=EventReporter(api, "n"), aggregator=Aggregator("steady"), policy=WritePolicy(),
        find_link=lambda: Link(None, LinkRates(1e9, 1e9)), figures=figures, durations=durations,
        poll_interval=0.05,
    )  # fmt: skip
    agent._writer.start()
    found = MetricsPort(registry, "127.0.0.1", 0, alive=lambda: True, ready=lambda: figures.measuring(1.0))

    def flood() -> None:
        while not stop.is_set():
            with suppress(OSError), connect(found) as silent:
                silent.sendall(GET + b"a: " + b"x" * 60_000)
                ask(found, b"GET /metrics HTTP/1.1\r\n\r\n")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    threads.append(threading.Thread(target=agent.run, args=(stop,)))
    try:
        for thread in threads:
            thread.start()
        eventually(lambda: figures.readings > 0)
        for _ in range(3):
            before = figures.readings
            eventually(lambda before=before: figures.readings >= before + 10)
            assert status(ask(found, b"GET /readyz HTTP/1.1\r\n\r\n")) == 200
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        found.close()


def test_who_never_ends_the_headers_is_cut_in_time(
    port: MetricsPort, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_port, "REQUEST_SECONDS", 0.2)
    with connect(port) as slow:
        slow.sendall(GET)
        assert slow.recv(1) == b""
    assert refusals(registry, "timeout") == 1


def test_who_never_takes_the_response_is_cut_in_time(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_port, "RESPONSE_SECONDS", 0.2)
    many = Counter("many", "More than socket buffers hold.", ["name"], registry=registry)
    for number in range(20_000):
        many.labels(f"{number:0500}").inc()
    port = MetricsPort(registry, "127.0.0.1", 0, alive=lambda: True, ready=lambda: True)
    try:
        with connect(port) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            eventually(lambda: refusals(registry, "timeout") == 1)
        assert port._connections == {}
    finally:
        port.close()


def test_a_flood_of_requests_shares_one_rendering(port: MetricsPort, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[float] = []

    def generate(found: CollectorRegistry) -> bytes:
        rendered.append(time.monotonic())
        return generate_latest(found)

    monkeypatch.setattr(metrics_port, "generate_latest", generate)
    monkeypatch.setattr(metrics_port, "_SHARED_SECONDS", 3600.0)
    port._budget = TokenBucket(burst=2, interval=3600.0)
    answers = [ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") for _ in range(300)]
    assert all(status(answer) == 200 and b"scraped_total 1.0" in answer for answer in answers)
    assert len(rendered) == 1


def test_counters_never_fall_between_renderings_of_its_own_and_shared_ones(
    port: MetricsPort, registry: CollectorRegistry
) -> None:
    growing = Counter("growing", "Grows between any two requests.", registry=registry)
    port._budget = TokenBucket(burst=1, interval=0.02)  # both kinds of rendering follow each other
    seen = []
    for _ in range(200):
        growing.inc()
        text = ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")
        seen.append(float(text.partition(b"\ngrowing_total ")[2].partition(b"\n")[0]))
    assert seen == sorted(seen)


def test_a_client_that_resets_is_forgotten(port: MetricsPort) -> None:
    for _ in range(2 * MAX_CONNECTIONS):
        client = connect(port)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        client.sendall(GET)
        client.close()
    assert status(ask(port, GET + b"\r\n")) == 200
    eventually(lambda: not port._connections)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([GET, b"a: b\r\n", b"\r\n"])), max_size=8))
def test_any_bytes_are_parsed_or_refused(parts: list[bytes]) -> None:
    """Whole or in pieces, with the same outcome."""

    def outcome(pieces: list[bytes]) -> object:
        connection = metrics_port._Client(None, 0.0)  # type: ignore[arg-type]  # nothing is sent
        for piece in pieces:
            connection.received += piece
            try:
                if (head := connection.head()) is not None:
                    return metrics_port.parse(head)
            except metrics_port._BadRequestError as refused:
                return refused.reason
        return None

    data = b"".join(parts)
    assert outcome([data]) == outcome([bytes([byte]) for byte in data])
