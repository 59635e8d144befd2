# SPDX-License-Identifier: Apache-2.0
"""kube-scheduler's two verbs over HTTP: in order, whatever way their bodies come, one packet for a response."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import pytest

from extender.api.answers import Verbs
from extender.api.fast_path import FastPath
from extender.serving.http_protocol import Arrival
from tests.extender.raw_http import BODY, HEALTH, PATIENCE_SECONDS, connected, passed, read, request
from tests.extender.running import served, until


@pytest.mark.parametrize("path", ["/filter", "/prioritize", "/filter?x=1"])
def test_fastapi_sees_nothing_of_the_two_verbs(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    seen: list[str] = []
    real = FastPath.__call__

    async def spy(front: FastPath, scope: Any, receive: Any, send: Any) -> None:
        async def inner(inner_scope: Any, *_: Any) -> None:
            seen.append(inner_scope["path"])

        if scope["type"] == "http":
            monkeypatch.setattr(front, "_app", inner)
        await real(front, scope, receive, send)

    monkeypatch.setattr(FastPath, "__call__", spy)
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(request(path=path))
        status, headers, body = read(responses)
    assert (status, headers[b"content-type"], seen) == (200, b"application/json", [])
    assert b"date" in headers
    assert json.loads(body)


def test_a_body_in_pieces_is_waited_for() -> None:
    with served() as (port, _), connected(port) as (client, responses):
        whole = request()
        for size in (1, len(whole) - len(BODY), len(whole) - 10):
            client.sendall(whole[:size])
            time.sleep(0.05)
            client.sendall(whole[size:])
            assert passed(read(responses)[2]) == ["free"]


@pytest.mark.parametrize("sizes", [[len(BODY)], [1] * len(BODY), [100, len(BODY) - 100]], ids=len)
def test_a_chunked_body_is_answered_too(sizes: list[int]) -> None:
    chunks, start = b"", 0
    for size in sizes:
        chunks += b"%x\r\n%b\r\n" % (size, BODY[start : start + size])
        start += size
    with served() as (port, _), connected(port) as (client, responses):
        head = request(b"", Content_Length="", Transfer_Encoding="chunked")
        client.sendall(head + chunks + b"0\r\nTrailer: x\r\n\r\n" + HEALTH)
        assert passed(read(responses)[2]) == ["free"]
        assert read(responses)[2] == b"ok"


def test_permission_to_send_a_body_is_given() -> None:
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(request(Expect="100-continue")[: -len(BODY)])
        assert responses.readline().startswith(b"HTTP/1.1 100")
        assert responses.readline() == b"\r\n"
        client.sendall(BODY)
        assert passed(read(responses)[2]) == ["free"]


def test_responses_leave_in_the_order_of_their_requests() -> None:
    sent = [request(), HEALTH, request(), request(path="/prioritize"), request(), HEALTH]
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(b"".join(sent))
        bodies = [read(responses)[2] for _ in sent]
    assert [bodies[1], bodies[5]] == [b"ok", b"ok"]
    assert [passed(bodies[at]) for at in (0, 2, 4)] == [["free"]] * 3
    assert isinstance(json.loads(bodies[3]), list)


def test_requests_under_way_are_counted_and_no_longer_when_they_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[int] = []
    real = Arrival.of

    def counting(scope: Any) -> Arrival:
        arrival = real(scope)
        seen.append(arrival.under_way)
        return arrival

    monkeypatch.setattr(Arrival, "of", counting)
    with served() as (port, server), connected(port) as (client, responses):
        client.sendall(request() * 3)
        for _ in range(3):
            read(responses)
        client.sendall(request())
        read(responses)
        until(lambda: server.under_way == 0)
    assert seen == [1, 2, 3, 1]


def test_a_request_whose_client_has_gone_is_counted_no_longer() -> None:
    with served() as (port, server):
        with connected(port) as (client, _):
            client.sendall(request()[:-1])
            until(lambda: server.under_way == 1)
        until(lambda: server.under_way == 0)


def test_a_response_that_cannot_be_made_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Verbs, "read", broken)
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(request() * 2)
        status, headers, _ = read(responses)
        assert (status, headers[b"connection"]) == (500, b"close")
        assert responses.read() == b""


def test_while_draining_every_response_is_the_last() -> None:
    with served(drain=PATIENCE_SECONDS) as (port, server), connected(port) as (client, responses):
        server.begin_drain()
        client.sendall(request())
        _, headers, body = read(responses)
        assert (headers[b"connection"], passed(body)) == (b"close", ["free"])
        assert responses.read() == b""


def test_a_response_is_one_packet() -> None:
    with served() as (port, _), connected(port) as (client, _responses):
        client.settimeout(PATIENCE_SECONDS)
        for _ in range(20):
            client.sendall(request())
            first = client.recv(65536, socket.MSG_PEEK)
            head, _, body = first.partition(b"\r\n\r\n")
            assert passed(body) == ["free"], "head and body were written together"
            client.recv(len(head) + 4 + len(body))


def test_the_end_waits_for_requests_that_are_under_way() -> None:
    with served() as (port, server), connected(port) as (client, responses):
        client.sendall(request() + request()[:-1])
        assert passed(read(responses)[2]) == ["free"]
        until(lambda: server.under_way == 1)
        server.should_exit = True
        time.sleep(0.3)
        client.sendall(request()[-1:])
        _, headers, body = read(responses)
        assert (headers[b"connection"], passed(body)) == (b"close", ["free"])


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_other_methods_get_a_response_of_the_application(method: str) -> None:
    with served() as (port, _), connected(port) as (client, responses):
        client.sendall(request(b"", method=method) + HEALTH)
        assert responses.readline().startswith(b"HTTP/1.1 405")
