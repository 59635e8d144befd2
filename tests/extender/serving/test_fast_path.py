# SPDX-License-Identifier: Apache-2.0
"""Questions that are there whole, answered by the server itself: as the application would, in order, no others."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import pytest

from extender.serving import fast_path as express
from extender.serving.connections import Arrival, Reply, ShortWay
from extender.serving.fast_path import MAX_HELD, ExpressProtocol, protocol_maker
from extender.serving.server import Server
from tests.extender.builders import pod_json
from tests.extender.running import served

NAMES = ["busy", "mice", "free"]
BODY = json.dumps({"Pod": pod_json(), "NodeNames": NAMES}).encode()
EXPRESS = b'"by the server itself"'
PATIENCE_SECONDS = 30.0


def question(
    body: bytes = BODY, *, path: str = "/filter", method: str = "POST", version: str = "1.1", **headers: str
) -> bytes:
    told = {"Host": "x", "Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"{method} {path} HTTP/{version}\r\n{lines}\r\n".encode() + body


def read(answers: BinaryIO) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the next answer."""
    status = int(answers.readline().split()[1])
    headers = {}
    while (line := answers.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return status, headers, answers.read(int(headers.get(b"content-length", 0)))


def install(server: Server, path: bytes, answer: Callable[[bytes, Arrival], Reply]) -> None:
    """Let ``answer`` make the answers to whole questions."""
    server.config.app.state.short_ways[path] = ShortWay(answer, lambda: None)  # type: ignore[union-attr]


@contextmanager
def told_apart(**options: Any) -> Iterator[tuple[socket.socket, BinaryIO, Server]]:
    """A connection to an extender whose server answers every whole question with ``EXPRESS``."""
    with served(**options) as (port, server):
        for held in (b"/filter", b"/prioritize"):
            install(server, held, lambda _body, _arrival: Reply(200, EXPRESS))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client,
            client.makefile("rb") as answers,
        ):
            yield client, answers, server


@pytest.mark.parametrize("path", ["/filter", "/prioritize"])
def test_a_whole_question_is_answered_by_the_server_itself(path: str) -> None:
    with told_apart() as (client, answers, _):
        for _ in range(2):
            client.sendall(question(path=path))
            status, headers, body = read(answers)
            assert (status, body, headers[b"content-type"]) == (200, EXPRESS, b"application/json")
            assert b"date" in headers


@pytest.mark.parametrize(
    "asked",
    [
        question(path="/explain"),
        question(path="/filter?x=1"),
        question(version="1.0"),
        question(Connection="close"),
        question(b'{"NodeNames":["' + b"x" * MAX_HELD + b'"]}'),
        question(method="PUT"),
        question(b"", Upgrade="websocket", Connection="Upgrade"),
    ],
)
def test_everything_else_is_the_applications(asked: bytes) -> None:
    with told_apart() as (client, answers, _):
        client.sendall(asked)
        _, _, body = read(answers)
        assert body
        assert body != EXPRESS


@pytest.mark.parametrize("path", ["/filter", "/prioritize"])
@pytest.mark.parametrize("body", [BODY, b"{}", b"", b"nonsense", b'{"Pod":{},"NodeNames":[1]}'])
def test_both_ways_say_the_same(path: str, body: bytes) -> None:
    with (
        served() as (port, _),
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client,
        client.makefile("rb") as answers,
    ):
        client.sendall(question(body, path=path))
        status, headers, short = read(answers)
        client.sendall(question(body, path=path + "?long=1"))
        again, others, long = read(answers)
    assert (again, others.keys(), long) == (status, headers.keys(), short)


def test_a_body_in_pieces_is_awaited_for_a_moment_and_then_by_the_application(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with told_apart() as (client, answers, server):
        monkeypatch.setattr(express, "GRACE_SECONDS", PATIENCE_SECONDS)
        client.sendall(question()[:-10])
        time.sleep(0.05)
        client.sendall(question()[-10:])
        assert read(answers)[2] == EXPRESS
        monkeypatch.setattr(express, "GRACE_SECONDS", 0.01)
        client.sendall(question()[:-10])
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(held.cycle for held in server.server_state.connections):  # type: ignore[union-attr]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        client.sendall(question()[-10:])
        assert json.loads(read(answers)[2])["NodeNames"] == ["free"]
        client.sendall(question())
        assert read(answers)[2] == EXPRESS, "the next one is whole again"


def test_a_chunked_question_is_answered_too() -> None:
    with told_apart() as (client, answers, _):
        chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
        client.sendall(question(b"", Content_Length="", Transfer_Encoding="chunked") + chunks)
        assert read(answers)[2] == EXPRESS


def test_permission_to_send_a_body_is_given() -> None:
    with served() as (port, _), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client:
        client.sendall(question(Expect="100-continue")[: -len(BODY)])
        with client.makefile("rb") as answers:
            assert answers.readline().startswith(b"HTTP/1.1 100")
            assert answers.readline() == b"\r\n"
            client.sendall(BODY)
            assert json.loads(read(answers)[2])["NodeNames"] == ["free"]


def test_answers_leave_in_the_order_of_their_questions() -> None:
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    asked = [question(), health, question(), question(path="/filter?x=1"), question(), question(), health]
    with told_apart() as (client, answers, _):
        client.sendall(b"".join(asked))
        said = [read(answers)[2] for _ in asked]
    kinds = [b"free" if b"free" in body else body for body in said]
    assert kinds[0] == EXPRESS
    assert (kinds[1], kinds[-1]) == (b"ok", b"ok")
    assert kinds[3] == b"free"
    assert all(kind in (EXPRESS, b"free") for kind in (kinds[2], *kinds[4:-1]))


def test_requests_under_way_are_counted_and_no_longer_when_they_are_answered() -> None:
    seen: list[int] = []
    with told_apart() as (client, answers, server):

        def counting(_body: bytes, arrival: Arrival) -> Reply:
            seen.append(arrival.under_way)
            return Reply(200, EXPRESS)

        install(server, b"/filter", counting)
        client.sendall(question() * 3)
        for _ in range(3):
            read(answers)
        client.sendall(question())
        read(answers)
        [held] = server.server_state.connections
        assert isinstance(held, ExpressProtocol)
        assert held.under_way.requests == 0
    assert seen == [1, 2, 3, 1]


def test_an_answer_that_cannot_be_made_ends_the_connection_in_words() -> None:
    def broken(_body: bytes, _arrival: Arrival) -> Reply:
        raise RuntimeError

    with told_apart() as (client, answers, server):
        install(server, b"/filter", broken)
        client.sendall(question() * 2)
        status, headers, _ = read(answers)
        assert (status, headers[b"connection"]) == (500, b"close")
        assert answers.read() == b""


def test_while_draining_every_answer_is_the_last() -> None:
    with told_apart(drain=PATIENCE_SECONDS) as (client, answers, server):
        server.begin_drain()
        client.sendall(question())
        _, headers, body = read(answers)
        assert (headers[b"connection"], body) == (b"close", EXPRESS)
        assert answers.read() == b""


def test_a_connection_that_rests_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "KEEP_ALIVE_SECONDS", 0.2)
    with told_apart() as (client, answers, _):
        client.sendall(question())
        assert read(answers)[2] == EXPRESS
        assert answers.read() == b"", "closed, with nobody asking"


class Writes(asyncio.Transport):
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def connected(server: Server) -> tuple[ExpressProtocol, Writes]:
    """A connection that has just been made."""
    held, writes = protocol_maker(server)(), Writes()
    assert isinstance(held, ExpressProtocol)
    held.connection_made(writes)
    held.server_state.default_headers = [(b"date", b"now")]
    return held, writes


@contextmanager
def server_of_constants(**options: Any) -> Iterator[Server]:
    with served(**options) as (_, server):
        install(server, b"/filter", lambda _body, _arrival: Reply(200, b"{}"))
        yield server


def test_an_answer_is_one_write() -> None:
    async def ask(server: Server) -> list[bytes]:
        held, writes = connected(server)
        held.data_received(question())
        await asyncio.sleep(0)
        held.connection_lost(None)
        return writes.pieces

    with server_of_constants() as server:
        [piece] = asyncio.run(ask(server))
    assert piece.startswith(b"HTTP/1.1 200 OK\r\ndate: now\r\n")
    assert piece.endswith(b"\r\n\r\n{}")


def test_the_end_waits_for_questions_that_are_there() -> None:
    async def end(server: Server) -> tuple[list[bytes], bool]:
        held, writes = connected(server)
        held.data_received(question() * 2)
        held.shutdown()
        early = writes.closed
        await asyncio.sleep(0)
        held.connection_lost(None)
        return writes.pieces, early

    with server_of_constants() as server:
        pieces, early = asyncio.run(end(server))
    assert [b"connection: close" in piece for piece in pieces] == [False, True]
    assert not early


def test_bodies_held_back_have_so_much_room_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "MAX_HELD_TOGETHER", len(BODY))

    async def begin(server: Server) -> tuple[list[bool], int, int]:
        make = protocol_maker(server)
        connections = [make() for _ in range(3)]
        long = []
        for held in connections:
            assert isinstance(held, ExpressProtocol)
            held.connection_made(Writes())
            held.data_received(question()[:-1])
            long.append(held.cycle is not None)
        [first, *_] = connections
        assert isinstance(first, ExpressProtocol)
        between = first.under_way.held
        for held in connections:
            held.connection_lost(None)
        return long, between, first.under_way.held

    with server_of_constants() as server:
        assert asyncio.run(begin(server)) == ([False, True, True], len(BODY) - 1, 0)


def test_the_end_waits_for_an_unfinished_question_too() -> None:
    async def end(server: Server) -> tuple[bool, bool]:
        held, writes = connected(server)
        held.data_received(question() + question()[:-1])
        held.shutdown()
        await asyncio.sleep(0)
        closed, waits = writes.closed, held.cycle is not None and not held.cycle.keep_alive
        held.connection_lost(None)
        return closed, waits

    with server_of_constants() as server:
        assert asyncio.run(end(server)) == (False, True)


def test_a_client_that_has_gone_is_not_answered() -> None:
    async def leave(server: Server) -> tuple[list[bytes], int]:
        held, writes = connected(server)
        held.data_received(question())
        writes.close()
        held.connection_lost(None)
        await asyncio.sleep(0)
        return writes.pieces, held.under_way.requests

    with server_of_constants() as server:
        assert asyncio.run(leave(server)) == ([], 0)
