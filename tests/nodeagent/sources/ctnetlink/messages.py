# SPDX-License-Identifier: Apache-2.0
"""ctnetlink messages built by hand, for tests without a kernel."""

from __future__ import annotations

import socket
import struct

CT_NEW, CT_DELETE, DONE, ERROR = 0x100, 0x102, 3, 2


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def attribute(kind: int, payload: bytes, *, nested: bool = False) -> bytes:
    head = struct.pack("=HH", 4 + len(payload), kind | (0x8000 if nested else 0))
    return head + payload + bytes(-len(payload) % 4)


def tuple_attribute(kind: int, src: str, dst: str, ports: tuple[int, int], protocol: int = 6) -> bytes:
    first = 3 if ":" in src else 1
    address = attribute(first, packed(src)) + attribute(first + 1, packed(dst))
    proto = attribute(1, bytes([protocol]))
    if ports != (0, 0):
        proto += attribute(2, struct.pack(">H", ports[0])) + attribute(3, struct.pack(">H", ports[1]))
    return attribute(kind, attribute(1, address, nested=True) + attribute(2, proto, nested=True), nested=True)


def pair(kind: int, first: int, second: int) -> bytes:
    inner = attribute(1, struct.pack(">Q", first)) + attribute(2, struct.pack(">Q", second))
    return attribute(kind, inner, nested=True)


def key(
    src: str = "10.0.0.1", dst: str = "10.0.0.2", ports: tuple[int, int] = (40000, 80), *, protocol: int = 6,
    responder: str | None = None, replies_to: str | None = None, zone: int | None = None,
) -> bytes:  # fmt: skip
    """The raw attributes that are a connection's key; ``responder`` and ``replies_to`` differ under NAT."""
    reply = tuple_attribute(2, responder or dst, replies_to or src, (ports[1], ports[0]), protocol)
    zone_attribute = b"" if zone is None else attribute(18, struct.pack(">H", zone))
    return tuple_attribute(1, src, dst, ports, protocol) + reply + zone_attribute


def message(kind: int, body: bytes, *, sequence: int = 1, flags: int = 2) -> bytes:
    raw = struct.pack("=IHHII", 20 + len(body), kind, flags, sequence, 0) + bytes([2, 0, 0, 0]) + body
    return raw + bytes(-len(raw) % 4)


def entry(
    flow: bytes, ident: int, orig: tuple[int, int] | None, reply: tuple[int, int] | None, *, sequence: int = 1,
    extra: bytes = b"", flags: int = 2,
) -> bytes:  # fmt: skip
    """A dump's entry as the kernel orders it: key, status, mark, id, use, timeout, then counters."""
    body = flow + attribute(3, bytes(4)) + attribute(8, bytes(4)) + attribute(12, struct.pack(">I", ident))
    body += attribute(11, bytes(4)) + attribute(7, bytes(4)) + extra
    if orig and reply:
        body += pair(9, *orig) + pair(10, *reply)
    return message(CT_NEW, body, sequence=sequence, flags=flags)


def removal(
    flow: bytes,
    ident: int,
    orig: tuple[int, int],
    reply: tuple[int, int],
    *,
    stamps: tuple[int, int] | None = None,
) -> bytes:
    """A notification that a connection was removed."""
    body = flow + attribute(12, struct.pack(">I", ident)) + attribute(3, bytes(4))
    body += pair(9, *orig) + pair(10, *reply) + (pair(20, *stamps) if stamps else b"")
    return message(CT_DELETE, body, sequence=0, flags=0)


def done(sequence: int = 1, errno: int = 0) -> bytes:
    return struct.pack("=IHHIIi", 20, DONE, 2, sequence, 0, -errno)


def error(errno: int, sequence: int = 1) -> bytes:
    return struct.pack("=IHHIIi", 36, ERROR, 0, sequence, 0, -errno) + bytes(16)
