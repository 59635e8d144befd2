# SPDX-License-Identifier: Apache-2.0
"""ctnetlink messages: bytes in, samples and endings out.

Pure, and fast for what a dump repeats: messages of one shape (protocol, address family, extensions) have the same
length and offsets. The attribute walk reads the first one; its shape reads the others with two ``unpack`` calls. A
shape compares the header of every attribute that the walk reads. A message that differs in any of them takes
the walk, so both ways read the same. The tuples stay raw bytes: they are the flow's key, and are parsed once per
new flow.

Guarantees: any bytes whatsoever decode without an exception; what cannot be read is counted in ``malformed``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from nodeagent.sources.ctnetlink.samples import NO_COUNTERS, Ending, Sample
from nodeagent.sources.tuples import FlowTuples

Buffer = bytes | bytearray

NLM_F_REQUEST: Final = 0x1
NLM_F_MULTI: Final = 0x2
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_DUMP: Final = 0x300
NLMSG_NOOP: Final = 1
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLMSG_OVERRUN: Final = 4

_SUBSYSTEM: Final = 1 << 8  # NFNL_SUBSYS_CTNETLINK
CT_NEW: Final = _SUBSYSTEM | 0  # also what a dump's entries are
CT_GET: Final = _SUBSYSTEM | 1
CT_DELETE: Final = _SUBSYSTEM | 2

_TUPLE_ORIG, _TUPLE_REPLY = 1, 2
_TUPLE_ZONE = 3
"""Inside a tuple."""
_COUNTERS_ORIG, _COUNTERS_REPLY, _ID, _ZONE, _TIMESTAMP = 9, 10, 12, 18, 20
_TYPE_MASK: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

_HEADER: Final = struct.Struct("=IHHII")
_LENGTH: Final = struct.Struct("=I")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERROR: Final = struct.Struct("=i")
_U16, _U32, _U64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">Q")
_ATTRIBUTES_AT: Final = 20  # after nlmsghdr (16) and nfgenmsg (4)


class DumpPart(NamedTuple):
    """What one received part of a dump holds."""

    samples: list[Sample]
    done: bool = False
    interrupted: bool = False
    """The table changed under the dump: it goes on, but may miss entries."""
    errno: int = 0
    """The kernel refused or gave up the dump."""


def dump_request(sequence: int) -> bytes:
    """Request every entry of every address family in this network namespace."""
    return _HEADER.pack(20, CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0) + bytes(4)


class _Shape(NamedTuple):
    """How to read one shape of dump entry, from its start."""

    heads: struct.Struct
    """Message type and flags, and every attribute's header ..."""
    expected: tuple[int, ...]
    """... as they must be."""
    sample: struct.Struct
    """Reads a Sample."""


@lru_cache(maxsize=256)
def _compiled(layout: str) -> struct.Struct:
    return struct.Struct(layout)


_KIND_AND_FLAGS: Final = struct.unpack("=I", _ATTRIBUTE.pack(CT_NEW, NLM_F_MULTI))[0]
"""Of an entry in a dump that nothing has interrupted."""
_COUNTERS_SIZE: Final = 28
"""Bytes of a nest with two counters, its header included."""


@dataclass(slots=True)
class _Entry:
    """One message by the attribute walk; offsets are from its ``start``."""

    start: int
    key: bytes = b""
    ident: int = -1
    ident_at: int = 0
    orig: tuple[int, int] = (NO_COUNTERS, NO_COUNTERS)
    reply: tuple[int, int] = (NO_COUNTERS, NO_COUNTERS)
    orig_at: int = 0
    reply_at: int = 0
    heads: list[int] = field(default_factory=list)
    """Where the headers of the attributes are, in order."""
    repeated: bool = False
    """An attribute that is read came twice."""
    lifetime: float | None = None

    @property
    def sample(self) -> Sample:
        return (self.key, self.ident, *self.orig, *self.reply)


class Decoder:
    """Remembers the shapes of messages seen, and how many could not be read."""

    def __init__(self) -> None:
        self.malformed = 0
        self._shapes: dict[int, _Shape] = {}
        """By length; the shape of the last message of that length that took the walk."""

    def samples(self, data: Buffer, size: int, sequence: int) -> DumpPart:
        """The entries in one received part (the first ``size`` bytes of ``data``) of the dump ``sequence``."""
        found: list[Sample] = []
        if size >= 16 and _HEADER.unpack_from(data)[3] != sequence:
            return DumpPart(found)  # left over from a dump that was given up
        shapes, append, length_of = self._shapes, found.append, _LENGTH.unpack_from
        done, interrupted, errno, at = False, False, 0, 0
        while at + 16 <= size:
            (length,) = length_of(data, at)
            shape = shapes.get(length)
            if shape is not None and at + length <= size:
                heads, expected, sample = shape
                if heads.unpack_from(data, at) == expected:
                    append(sample.unpack_from(data, at))
                    at += (length + 3) & ~3
                    continue
            if length < 16 or at + length > size:
                self.malformed += 1
                break
            _, kind, flags, _, _ = _HEADER.unpack_from(data, at)
            interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
            if kind == CT_NEW:
                self._learn(data, at, length, found)
            elif kind in (NLMSG_DONE, NLMSG_ERROR):
                done, errno = True, self._errno(data, at, length)
            elif kind not in (NLMSG_NOOP, NLMSG_OVERRUN):
                self.malformed += 1
            at += (length + 3) & ~3
        return DumpPart(found, done, interrupted, errno)

    def endings(self, data: Buffer, size: int) -> list[Ending]:
        """The removed connections among the notifications in ``data``; births and updates are left out."""
        found: list[Ending] = []
        at = 0
        while at + 16 <= size:
            length, kind, _, _, _ = _HEADER.unpack_from(data, at)
            if length < 16 or at + length > size:
                self.malformed += 1
                break
            if kind == CT_DELETE:
                entry = _walk(data, at, length)
                if entry is None:
                    self.malformed += 1
                else:
                    found.append(Ending(entry.sample, entry.lifetime))
            at += (length + 3) & ~3
        return found

    def _learn(self, data: Buffer, at: int, length: int, found: list[Sample]) -> None:
        entry = _walk(data, at, length)
        if entry is None:
            self.malformed += 1
            return
        found.append(entry.sample)
        shape = _shape_of(entry, data, length)
        if shape is not None:
            if len(self._shapes) > 1024:  # shapes are a handful; anything else is not conntrack
                self._shapes.clear()
            self._shapes[length] = shape

    @staticmethod
    def _errno(data: Buffer, at: int, length: int) -> int:
        return -int(_ERROR.unpack_from(data, at + 16)[0]) if length >= 20 else 0


def _shape_of(entry: _Entry, data: Buffer, length: int) -> _Shape | None:
    """The shape of ``entry``, which the walk has read; None where a shape could not read all that the walk does.

    That is so when the order is not the kernel's usual one, an attribute comes twice, or counters are missing.
    """
    at, key = entry.start, len(entry.key)
    offsets = [_ATTRIBUTES_AT + key, entry.ident_at, entry.orig_at, entry.reply_at]
    usual = offsets == sorted(offsets) and entry.orig_at and entry.ident_at
    if not usual or entry.reply_at < entry.orig_at + _COUNTERS_SIZE or entry.repeated:
        return None
    heads = [4, *entry.heads]
    for nest in (entry.orig_at, entry.reply_at):
        if (
            _ATTRIBUTE.unpack_from(data, at + nest)[0] != _COUNTERS_SIZE
            or _ATTRIBUTE.unpack_from(data, at + nest + 4) != (12, 1)
            or _ATTRIBUTE.unpack_from(data, at + nest + 16) != (12, 2)
        ):
            return None
        heads += [nest + 4, nest + 16]
    heads.sort()
    compared = _compiled(_heads_form(heads))
    sample = _compiled(
        f">{_ATTRIBUTES_AT}x{key}s{entry.ident_at + 4 - _ATTRIBUTES_AT - key}xI"
        f"{entry.orig_at - entry.ident_at}xQ4xQ{entry.reply_at - entry.orig_at - _COUNTERS_SIZE + 8}xQ4xQ"
    )
    expected = (_KIND_AND_FLAGS, *compared.unpack_from(data, at)[1:])
    return _Shape(compared, expected, sample) if compared.size <= length and sample.size <= length else None


def _heads_form(offsets: list[int]) -> str:
    """Reads the headers at these offsets, in order; two that are adjacent as one number."""
    form, end = "=", 0
    for offset in offsets:
        if offset == end and form.endswith("I"):
            form = form[:-1] + "Q"
        else:
            form += f"{offset - end}xI"
        end = offset + 4
    return form


def _walk(data: Buffer, start: int, length: int) -> _Entry | None:
    """Every attribute of one message; None when it is cut, overlaps, or lacks its tuples or id."""
    entry, end, at = _Entry(start), start + length, start + _ATTRIBUTES_AT
    in_key, seen = True, 0
    while at + 4 <= end:
        size, raw_kind = _ATTRIBUTE.unpack_from(data, at)
        kind = raw_kind & _TYPE_MASK
        following = at + ((size + 3) & ~3)
        if size < 4 or at + size > end:
            return None
        entry.heads.append(at - start)
        if in_key and kind in (_TUPLE_ORIG, _TUPLE_REPLY, _ZONE):
            seen |= kind & 3
            entry.key = bytes(data[start + _ATTRIBUTES_AT : min(following, end)])
        else:
            in_key = False
            _take(entry, kind, data, at, size)
        at = following
    return entry if seen == 3 and entry.ident >= 0 else None


def _take(entry: _Entry, kind: int, data: Buffer, at: int, size: int) -> None:
    offset = at - entry.start
    if kind == _ID and size == 8:
        entry.repeated |= bool(entry.ident_at)
        entry.ident, entry.ident_at = _U32.unpack_from(data, at + 4)[0], offset
    elif kind == _COUNTERS_ORIG:
        entry.repeated |= bool(entry.orig_at)
        entry.orig, entry.orig_at = _pair(data, at, size), offset
    elif kind == _COUNTERS_REPLY:
        entry.repeated |= bool(entry.reply_at)
        entry.reply, entry.reply_at = _pair(data, at, size), offset
    elif kind == _TIMESTAMP:
        born, died = _pair(data, at, size)
        if 0 < born <= died:
            entry.lifetime = (died - born) / 1e9


def _pair(data: Buffer, start: int, size: int) -> tuple[int, int]:
    """Attributes 1 and 2 of a nest, 64 bits each: packets and bytes, or start and stop."""
    values: dict[int, int] = {}
    for kind, at, length in _attributes(data, start + 4, start + size):
        if length == 8 and kind in (1, 2):
            values[kind] = _U64.unpack_from(data, at)[0]
    return (values[1], values[2]) if len(values) == 2 else (NO_COUNTERS, NO_COUNTERS)


def _attributes(data: Buffer, at: int, end: int) -> list[tuple[int, int, int]]:
    """(type, payload offset, payload length) of each attribute; stops at the first that does not fit."""
    found = []
    while at + 4 <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        if size < 4 or at + size > end:
            break
        found.append((kind & _TYPE_MASK, at + 4, size - 4))
        at += (size + 3) & ~3
    return found


class _Tuple(NamedTuple):
    src: bytes
    dst: bytes
    protocol: int
    src_port: int
    dst_port: int
    zone: int
    """Of one direction alone."""


def parse_key(key: bytes) -> FlowTuples | None:
    """Both tuples of a sample's key; None when they are not two IP tuples of one family and protocol."""
    nests = {kind: (at, at + length) for kind, at, length in _attributes(key, 0, len(key))}
    if _TUPLE_ORIG not in nests or _TUPLE_REPLY not in nests:
        return None
    orig, reply = _parse_tuple(key, *nests[_TUPLE_ORIG]), _parse_tuple(key, *nests[_TUPLE_REPLY])
    if orig is None or reply is None or orig.protocol != reply.protocol:
        return None
    zone = 0
    if _ZONE in nests and nests[_ZONE][1] - nests[_ZONE][0] == 2:
        zone = _U16.unpack_from(key, nests[_ZONE][0])[0]
    return FlowTuples(
        orig.protocol, orig.src, orig.dst, reply.src, reply.dst,
        orig.src_port, orig.dst_port, reply.src_port, reply.dst_port, zone | orig.zone << 16 | reply.zone << 32,
    )  # fmt: skip


def _parse_tuple(key: bytes, start: int, end: int) -> _Tuple | None:
    addresses: dict[int, bytes] = {}
    protocol, ports, zone = -1, {2: 0, 3: 0}, 0
    for kind, at, length in _attributes(key, start, end):
        if kind == _TUPLE_ZONE and length == 2:
            zone = _U16.unpack_from(key, at)[0]
            continue
        for inner, payload, size in _attributes(key, at, at + length):
            if kind == 1 and (inner, size) in ((1, 4), (2, 4), (3, 16), (4, 16)):
                addresses[inner] = key[payload : payload + size]
            elif kind == 2 and inner == 1 and size == 1:
                protocol = key[payload]
            elif kind == 2 and inner in ports and size == 2:
                ports[inner] = _U16.unpack_from(key, payload)[0]
    pair = (addresses.get(1), addresses.get(2)) if 1 in addresses else (addresses.get(3), addresses.get(4))
    if pair[0] is None or pair[1] is None or protocol < 0:
        return None
    return _Tuple(pair[0], pair[1], protocol, ports[2], ports[3], zone)


def ends_of(key: bytes) -> tuple[bytes, bytes]:
    """Addresses of initiator (ORIG.src) and responder (REPLY.src) of a key that ``parse_key`` accepted, fast.

    Both stand first in their nests: attribute, IP nest and address header are 4 bytes each. Where they do not,
    the key is parsed.
    """
    size, _ = _ATTRIBUTE.unpack_from(key)
    width = {8: 4, 20: 16}.get(key[8], 0)
    reply = ((size + 3) & ~3) + 12
    if width and len(key) >= reply + width and key[8:12] == key[reply - 4 : reply]:
        return key[12 : 12 + width], key[reply : reply + width]
    tuples = parse_key(key)
    return (tuples.orig_src, tuples.reply_src) if tuples else (b"", b"")
