# SPDX-License-Identifier: Apache-2.0
"""What one connection may take: bytes, fields, requests, time; and what is left of it afterwards."""

from __future__ import annotations

import gc
import re
import socket
import struct
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn.protocols.http.httptools_impl as uvicorn_protocol

from extender.serving.limits import Limits
from extender.serving.server import Server, listen
from tests.extender.raw_http import BODY, HEALTH, PATIENCE_SECONDS, connected, passed, read, request, status_of
from tests.extender.running import served, until

LIMITS = Limits()
CHUNKED = request(b"", Content_Length="", Transfer_Encoding="chunked")


@contextmanager
def both_ports(**options: Any) -> Iterator[tuple[dict[str, int], Server]]:
    with (
        listen("127.0.0.1", 0) as metrics_port,
        served(metrics_port=metrics_port, **options) as (port, server),
    ):
        yield {"main": port, "metrics": metrics_port.getsockname()[1]}, server


FLOODS = {
    "many": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"a:b\r\n" * 1000, "header-fields"),
    "long": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"a: %b\r\n" % (b"x" * 8000), "header-bytes"),
    "one": (b"GET /healthz HTTP/1.1\r\nHost: x\r\na: ", b"x" * 65000, "header-bytes"),
    "name": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"x" * 65000, "header-bytes"),
    "url": (b"GET /", b"x" * 65000, "header-bytes"),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\n", b"a:b\r\n" * 1000, "header-fields"),
    "one trailer": (CHUNKED + b"5\r\nhello\r\n0\r\na: ", b"x" * 65000, "header-bytes"),
    "chunk extension": (CHUNKED + b"5;a=", b"x" * 65000, "header-bytes"),
}


@pytest.mark.parametrize(
    ("kind", "port"),
    [
        (kind, port)
        for kind, (start, _, _) in FLOODS.items()
        for port in ("main", "metrics")
        if port == "main" or start.startswith(b"GET")  # the metrics port answers others before their body
    ],
)
def test_headers_without_end_are_refused_and_counted(kind: str, port: str) -> None:
    start, block, reason = FLOODS[kind]
    with both_ports() as (ports, server), connected(ports[port]) as (client, responses):
        sent = len(start)
        client.sendall(start)
        try:
            while sent < 64 * 2**20:
                client.sendall(block)
                sent += len(block)
        except OSError:
            pass
        assert sent < 48 * 2**20, "nobody read it to the end"
        try:
            line = responses.readline()
        except ConnectionResetError:
            line = b""
        assert line == b"" or line.split()[1] == b"431"
        until(lambda: not server.server_state.connections)
        assert server.refused[reason] == 1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 100 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\na: %b\r\n\r\n" % (b"x" * 65536),
        b"GET /healthz?%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"x" * 65536),
        CHUNKED + b"0\r\n" + b"a:b\r\n" * 100 + b"\r\n",
    ],
    ids=["fields", "bytes", "url", "trailers"],
)
def test_one_more_than_the_limit_is_told_so(sent: bytes) -> None:
    with served() as (port, _):
        assert status_of(port, sent) == 431


def test_as_much_as_the_limit_is_served() -> None:
    fields = b"".join(b"x-%d: %b\r\n" % (number, b"x" * 600) for number in range(LIMITS.fields - 2))
    sent = b"POST /filter?%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % (b"y" * 1000, len(BODY))
    with served() as (port, server):
        for cut in (10, 1100, 30_000, 60_000):
            with connected(port) as (client, responses):
                whole = sent + fields + b"\r\n" + BODY
                client.sendall(whole[:cut])
                time.sleep(0.02)
                client.sendall(whole[cut:])
                assert passed(read(responses)[2]) == ["free"]
        assert not server.refused


@pytest.mark.parametrize("path", [b"/filter", b"/nowhere"])
def test_a_request_refused_in_its_body_gets_one_response(path: bytes, caplog: pytest.LogCaptureFixture) -> None:
    sent = CHUNKED.replace(b"/filter", path) + b"not a chunk\r\n"
    with served() as (port, server):
        with connected(port) as (client, responses):
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            received = responses.read()
        until(lambda: not server.server_state.connections)
        until(lambda: not server.server_state.tasks)
    gc.collect()  # a task whose exception nobody takes is reported when it is collected
    assert re.findall(rb"HTTP/1\.1 (\d+)", received) == [b"400"]
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_long_body_in_small_chunks_is_no_header() -> None:
    body = BODY + b" " * 2**20
    chunks = b"".join(b"200\r\n%b\r\n" % body[at : at + 512] for at in range(0, len(body) // 512 * 512, 512))
    rest = body[len(body) // 512 * 512 :]
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(CHUNKED + chunks + b"%x\r\n%b\r\n0\r\n\r\n" % (len(rest), rest))
        assert passed(read(responses)[2]) == ["free"]


def test_requests_in_the_pipeline_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    made = _cycles(monkeypatch)
    with both_ports() as (ports, server), connected(ports["metrics"]) as (client, responses):
        client.sendall(HEALTH * 5000)
        assert [read(responses)[2] for _ in range(LIMITS.pipelined)] == [b"ok"] * LIMITS.pipelined
        assert len(made) <= LIMITS.pipelined + 1
        until(lambda: server.refused["pipelined"] == 1)
        until(lambda: not server.server_state.connections)


def _cycles(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[Any]:
    """Requests in memory."""
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    real = uvicorn_protocol.RequestResponseCycle.__init__

    def init(self: Any, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        alive.add(self)

    monkeypatch.setattr(uvicorn_protocol.RequestResponseCycle, "__init__", init)
    return alive


def test_nothing_of_unread_pipelined_requests_stays_not_even_until_a_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive = _cycles(monkeypatch)
    monkeypatch.setattr("extender.serving.server.collect_in_quiet", lambda *_: None)
    with both_ports() as (ports, server):
        gc.disable()
        try:
            clients = []
            for _ in range(10):
                client = socket.socket()
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.connect(("127.0.0.1", ports["metrics"]))
                client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
                clients.append(client)
            until(lambda: server.refused["pipelined"] == 10)
            connections = weakref.WeakSet(server.server_state.connections)
            for client in clients:
                client.close()
            until(lambda: not server.server_state.connections)
            until(lambda: not alive)
            until(lambda: not connections)
        finally:
            gc.enable()


def test_nothing_of_a_body_that_was_never_joined_stays_not_even_until_a_collection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alive = _cycles(monkeypatch)
    monkeypatch.setattr("extender.serving.server.collect_in_quiet", lambda *_: None)
    with served(limits=Limits(join_seconds=PATIENCE_SECONDS)) as (port, server):
        gc.disable()
        try:
            client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
            client.sendall(request()[:-1])
            until(lambda: server.context.joining > 0)
            client.close()
            until(lambda: not server.server_state.connections)
            until(lambda: not alive)
            assert server.context.joining == 0
        finally:
            gc.enable()


def test_a_reset_connection_is_freed_at_once() -> None:
    """At the usual keep-alive time of two minutes."""
    with served() as (port, server):
        gc.disable()
        try:
            clients = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) for _ in range(20)]
            for client in clients:
                client.sendall(HEALTH)
                assert client.recv(4096).endswith(b"ok")
            connections = weakref.WeakSet(server.server_state.connections)
            assert len(connections) == len(clients)
            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            until(lambda: not server.server_state.connections)
            until(lambda: not connections)
        finally:
            gc.enable()


@pytest.mark.parametrize("first", [HEALTH, request()], ids=["health", "filter"])
@pytest.mark.parametrize("after", [b"", b"\r\n", b"\r\n\r\n"])
def test_an_idle_connection_ends_whatever_blank_lines_follow_a_response(first: bytes, after: bytes) -> None:
    with served(limits=Limits(keep_alive_seconds=0.3)) as (port, _), connected(port) as (client, responses):
        client.sendall(first)
        read(responses)
        client.sendall(after)
        assert responses.read() == b"", "closed, with no further request"


def test_blank_lines_do_not_prolong_the_wait() -> None:
    with served(limits=Limits(keep_alive_seconds=0.5)) as (port, _), connected(port) as (client, responses):
        client.sendall(HEALTH)
        read(responses)
        client.settimeout(0.05)
        with pytest.raises((OSError, EOFError)):  # noqa: PT012 - one of them, whenever it is
            deadline = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < deadline:
                client.sendall(b"\r\n")
                time.sleep(0.02)
            pytest.fail("it was prolonged for ever")


def test_a_half_request_behind_a_response_is_given_up() -> None:
    limits = Limits(head_seconds=0.3)
    with served(limits=limits) as (port, _), connected(port) as (client, responses):
        client.sendall(HEALTH + b"GET /heal")
        assert read(responses)[2] == b"ok"
        assert responses.read() == b""


def test_a_closed_connection_whose_client_does_not_read_is_gone_in_the_end() -> None:
    """The response is too short to wait in our hands, and too long for the client's window."""
    limits = Limits(unread_seconds=PATIENCE_SECONDS, closing_seconds=0.3, request_seconds=PATIENCE_SECONDS)
    with served(limits=limits) as (port, server), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        until(lambda: server.server_state.total_requests == 1)
        until(lambda: not server.server_state.connections)


UPGRADES = [
    {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"},
    {"Connection": "keep-alive, Upgrade", "Upgrade": "websocket"},
    {"Connection": "upgrade", "Upgrade": "anything/1.0"},
]


@pytest.mark.parametrize("asked", UPGRADES, ids=[asked["Upgrade"] for asked in UPGRADES])
def test_a_request_to_upgrade_is_served_as_if_it_had_not_asked(asked: dict[str, str]) -> None:
    headers: dict[str, Any] = {name.replace("-", "_"): value for name, value in asked.items()}
    with served() as (port, server), connected(port) as (client, responses):
        whole = request(**headers)
        for cut in (len(whole), 30, whole.index(b"pgrade"), len(whole) - len(BODY), len(whole) - 3):
            client.sendall(whole[:cut])
            time.sleep(0.02)
            client.sendall(whole[cut:] + request(path="/prioritize", **headers))
            status, sent, body = read(responses)
            assert (status, passed(body)) == (200, ["free"])
            assert b"upgrade" not in sent
            assert b"Score" in read(responses)[2]
        assert not server.refused


def test_a_tunnel_is_refused() -> None:
    with served() as (port, server):
        assert status_of(port, b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n") == 400
        assert server.refused["invalid-http"] == 1


def test_what_is_no_http_is_told_so_and_counted() -> None:
    with served() as (port, server):
        for nonsense in (b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x00"):
            assert status_of(port, nonsense) == 400
        assert server.refused["invalid-http"] == 3


def test_a_refusal_reaches_a_client_that_still_sends() -> None:
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(b"GET / HTTP/1.1\r\na: ")
        for _ in range(8):
            client.sendall(b"x" * 65536)
        assert responses.readline().startswith(b"HTTP/1.1 431")


def test_unread_responses_are_bounded_together() -> None:
    limits = Limits(unread_seconds=PATIENCE_SECONDS, unsent=2**20)
    names = [f"node-{number:0240d}" for number in range(15_000)]
    body = BODY.replace(b'["busy", "mice", "free"]', b'["' + '","'.join(names).encode() + b'"]')
    with served(limits=limits) as (port, server), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(request(body, path="/prioritize"))
        until(lambda: server.refused["unread"] == 1)
        until(lambda: not server.server_state.connections)
