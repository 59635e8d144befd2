# SPDX-License-Identifier: Apache-2.0
"""ctnetlink messages that ask for connections and change one bit of their mark. Pure.

Enters: flows and received bytes. Leaves: requests, and entries with their mark. Guarantees: any bytes whatsoever
decode without an exception; what cannot be read is left out.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from nodeagent.sources.ctnetlink.wire import (
    CT_GET,
    CT_NEW,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    parse_key,
)
from nodeagent.sources.tuples import FlowTuples
from nodeagent.tuning.flows import End, Flow

_NLM_F_ACK: Final = 0x4
_NESTED: Final = 0x8000
_TYPE: Final = 0x3FFF
_TUPLE_ORIG, _TUPLE_REPLY, _MARK, _ID, _MASTER, _ZONE, _MARK_MASK, _FILTER = 1, 2, 8, 12, 14, 18, 21, 25
_PROTO_NUM, _SRC_PORT = 1 << 3, 1 << 4
"""Of the kernel's filter. Those of addresses are left out: for IPv6, kernels take them the wrong way round."""
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_BODY: Final = 20


class Entry(NamedTuple):
    """One conntrack entry."""

    key: bytes
    """Its tuples and its zone, as the kernel sent them: they find it again ..."""
    ident: int
    """... and this tells it from a later one with the same tuples."""
    mark: int = 0
    master: bool = False
    """Its mark may come from the connection that announced it, as with FTP."""


class Part(NamedTuple):
    """One received part of an answer."""

    entries: list[Entry]
    done: bool = False
    errno: int = 0


def entry_request(flow: Flow, sequence: int, *, answers: bool) -> bytes:
    """Ask for the entry that ``flow`` would have where its source is not translated (``answers``: by the tuple of
    the answers, which finds it behind a service), or not its destination."""
    ends = (flow.responder, flow.initiator) if answers else (flow.initiator, flow.responder)
    kind = _TUPLE_REPLY if answers else _TUPLE_ORIG
    return _message(CT_GET, NLM_F_REQUEST, sequence, flow.family, _tuple(kind, flow.protocol, *ends))


def similar_request(flow: Flow, sequence: int) -> bytes:
    """Ask for all entries with the protocol of ``flow``, and its ends' ports where it has any. Kernels before 5.8
    send everything."""
    flags = _PROTO_NUM | (_SRC_PORT if flow.initiator.port or flow.responder.port else 0)
    nowhere = End(bytes(len(flow.initiator.address)), 0)
    body = (
        _tuple(_TUPLE_ORIG, flow.protocol, flow.initiator, nowhere)
        + _tuple(_TUPLE_REPLY, flow.protocol, flow.responder, nowhere)
        + _attribute(
            _FILTER | _NESTED, _attribute(1, struct.pack("=I", flags)) + _attribute(2, struct.pack("=I", flags))
        )
    )
    return _message(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, flow.family, body)


def marked_request(bit: int, sequence: int) -> bytes:
    """Ask for all entries whose mark has ``bit``."""
    number = struct.pack(">I", bit)
    body = _attribute(_MARK, number) + _attribute(_MARK_MASK, number)
    return _message(CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, socket.AF_UNSPEC, body)


def exact_request(key: bytes, sequence: int) -> bytes:
    """Ask for the entry with exactly this key."""
    return _message(CT_GET, NLM_F_REQUEST, sequence, family_of(key), _finding(key))


def change_request(key: bytes, bit: int, value: bool, sequence: int) -> bytes:
    """Set or clear ``bit`` of the mark of the entry with this key. The kernel keeps all other bits."""
    number = struct.pack(">I", bit)
    body = _finding(key) + _attribute(_MARK, number if value else bytes(4)) + _attribute(_MARK_MASK, number)
    return _message(CT_NEW, NLM_F_REQUEST | _NLM_F_ACK, sequence, family_of(key), body)


def part(data: bytes | bytearray, size: int, sequence: int) -> Part:
    """What one received part says about the request ``sequence``."""
    found: list[Entry] = []
    at, done, errno = 0, False, 0
    while at + 16 <= size:
        length, kind, _, number, _ = _HEADER.unpack_from(data, at)
        if length < 16 or at + length > size:
            break
        if number == sequence:
            if kind == CT_NEW:
                entry = _entry(bytes(data[at + _BODY : at + length]))
                if entry is not None:
                    found.append(entry)
            elif kind in (NLMSG_DONE, NLMSG_ERROR):
                done = True
                errno = -_ERROR.unpack_from(data, at + 16)[0] if length >= 20 else 0
        at += (length + 3) & ~3
    return Part(found, done, errno)


def is_of(flow: Flow, tuples: FlowTuples | None) -> bool:
    """Whether an entry is this flow's: its true ends, or its ends as the initiator's socket sees them."""
    if tuples is None or tuples.protocol != flow.protocol:
        return False
    began = End(tuples.orig_src, tuples.orig_src_port)
    behind = End(tuples.reply_src, tuples.reply_src_port)
    asked = End(tuples.orig_dst, tuples.orig_dst_port)
    return began == flow.initiator and flow.responder in (behind, asked)


def family_of(key: bytes) -> int:
    tuples = parse_key(key)
    return socket.AF_INET6 if tuples is not None and len(tuples.orig_src) == 16 else socket.AF_INET


def _finding(key: bytes) -> bytes:
    """Of a key the parts by which the kernel finds its entry: the first tuple, and the zone."""
    return b"".join(
        _attribute(raw, payload) for raw, payload in _attributes(key) if raw & _TYPE in (_TUPLE_ORIG, _ZONE)
    )


def _entry(body: bytes) -> Entry | None:
    key, ident, mark, master = b"", -1, 0, False
    for raw, payload in _attributes(body):
        kind = raw & _TYPE
        if kind in (_TUPLE_ORIG, _TUPLE_REPLY, _ZONE):
            key += _attribute(raw, payload)
        elif kind == _ID and len(payload) == 4:
            ident = int.from_bytes(payload, "big")
        elif kind == _MARK and len(payload) == 4:
            mark = int.from_bytes(payload, "big")
        elif kind == _MASTER:
            master = True
    return Entry(key, ident, mark, master) if ident >= 0 and parse_key(key) is not None else None


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type with its flags, payload) of each; stops at the first that does not fit."""
    at = 0
    while at + 4 <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < 4 or at + size > len(data):
            return
        yield kind, data[at + 4 : at + size]
        at += (size + 3) & ~3


def _tuple(kind: int, protocol: int, source: End, destination: End) -> bytes:
    first = 1 if len(source.address) == 4 else 3
    addresses = _attribute(first, source.address) + _attribute(first + 1, destination.address)
    ports = (
        _attribute(2, struct.pack(">H", source.port)) + _attribute(3, struct.pack(">H", destination.port))
        if source.port or destination.port
        else b""
    )
    proto = _attribute(1, bytes([protocol])) + ports
    return _attribute(kind | _NESTED, _attribute(1 | _NESTED, addresses) + _attribute(2 | _NESTED, proto))


def _attribute(kind: int, payload: bytes) -> bytes:
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def _message(kind: int, flags: int, sequence: int, family: int, body: bytes) -> bytes:
    return _HEADER.pack(_BODY + len(body), kind, flags, sequence, 0) + bytes([family, 0, 0, 0]) + body
