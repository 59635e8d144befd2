# SPDX-License-Identifier: Apache-2.0
"""Requests and responses as bytes on a socket, for tests of what an HTTP client would not send."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from tests.extender.builders import pod_json

PATIENCE_SECONDS = 30.0
NAMES = ["busy", "mice", "free"]
BODY = json.dumps({"Pod": pod_json(), "NodeNames": NAMES}).encode()
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


def request(body: bytes = BODY, *, path: str = "/filter", method: str = "POST", **headers: str) -> bytes:
    """``headers``: an underscore stands for a hyphen; an empty value leaves a field out."""
    told = {"Host": "x", "Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def read(responses: BinaryIO) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the next response."""
    status = int(responses.readline().split()[1])
    headers = {}
    while (line := responses.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        headers[name.lower()] = value.strip()
    return status, headers, responses.read(int(headers.get(b"content-length", 0)))


def passed(body: bytes) -> list[str]:
    """The nodes that pass, by the body of a filter's response."""
    names: list[str] = json.loads(body)["NodeNames"]
    return names


@contextmanager
def connected(port: int) -> Iterator[tuple[socket.socket, BinaryIO]]:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as client,
        client.makefile("rb") as responses,
    ):
        yield client, responses


def status_of(port: int, sent: bytes) -> int:
    """Of the first response to ``sent``; 0 where the server only closes the connection."""
    with connected(port) as (client, responses):
        client.sendall(sent)
        line = responses.readline()
        return int(line.split()[1]) if line else 0
