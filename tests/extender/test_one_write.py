"""An answer leaves in one piece, and never stays behind."""

from __future__ import annotations

import asyncio
import socket

import pytest

from extender.connections import _Together
from tests.extender.serving import served

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Writes(asyncio.Transport):
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.pieces.append(b"closed")


def test_head_and_body_are_one_write_and_later_parts_their_own() -> None:
    writes = Writes()
    together = _Together(writes)
    for part in (HEAD, b"ok", b"more", HEAD, b"HTTP/1.1 in a body"):
        together.write(part)
    assert writes.pieces == [HEAD + b"ok", b"more", HEAD + b"HTTP/1.1 in a body"]


def test_an_answer_without_a_body_is_written_when_it_is_complete_or_the_connection_ends() -> None:
    writes = Writes()
    together = _Together(writes)
    together.write(HEAD)
    assert writes.pieces == []
    together.flush()
    together.flush()
    together.write(HEAD)
    together.close()
    assert writes.pieces == [HEAD, HEAD, b"closed"]


def test_the_permission_to_send_a_body_is_not_held_back() -> None:
    writes = Writes()
    _Together(writes).write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert writes.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n"]


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404"),
        (
            b"POST /filter HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
            b"HTTP/1.1 100",
        ),
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2, b"HTTP/1.1 200"),
    ],
)
def test_served_answers_arrive_while_the_connection_stays_open(sent: bytes, answered: bytes) -> None:
    with served() as (port, _), socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        with client.makefile("rb") as answers:
            for _ in range(sent.count(b"\r\n\r\n")):
                assert answers.readline().startswith(answered)
                length = 0
                while (line := answers.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:") and not sent.startswith(b"HEAD"):
                        length = int(line.split(b":")[1])
                answers.read(length)
