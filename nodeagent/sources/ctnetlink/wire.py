# SPDX-License-Identifier: Apache-2.0
"""ctnetlink messages: bytes in, samples and endings out.

Pure, and written for the known flow: every message of one shape (protocol, address family, extensions) has the
same length and the same offsets, so a layout learned from the first one reads all others with a single
``unpack``. Each fixed attribute header is compared as well; a message that differs anywhere takes the attribute
walk. The tuples stay raw bytes: they are the flow's key, and are parsed once per new flow.

Guarantees: any bytes whatsoever decode without an exception; what cannot be read is counted in ``malformed``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
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

_TUPLE_ORIG, _TUPLE_REPLY, _STATUS = 1, 2, 3
_COUNTERS_ORIG, _COUNTERS_REPLY, _ID, _ZONE, _TIMESTAMP = 9, 10, 12, 18, 20
_TYPE_MASK: Final = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_NESTED: Final = 0x8000

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
    """Ask for every entry of every address family in this network namespace."""
    return _HEADER.pack(20, CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0) + bytes(4)


def _native(head: int, kind: int, inner: int | None = None, inner_kind: int = 0) -> int:
    """Attribute headers (host byte order) as the big-endian unpack of a layout sees them."""
    raw = _ATTRIBUTE.pack(head, kind) + (b"" if inner is None else _ATTRIBUTE.pack(inner, inner_kind))
    return int.from_bytes(raw, "big")


_KIND_IS: Final = _native(CT_NEW, NLM_F_MULTI)
_STATUS_IS: Final = _native(8, _STATUS)
_ID_IS: Final = _native(8, _ID)
_ORIG_IS: Final = _native(28, _COUNTERS_ORIG | _NESTED, 12, 1)
_REPLY_IS: Final = _native(28, _COUNTERS_REPLY | _NESTED, 12, 1)
_BYTES_IS: Final = _native(12, 2)


@lru_cache(maxsize=256)
def _layout(key: int, to_id: int, to_counters: int) -> struct.Struct:
    """Reads one shape of dump entry, from its start: kind, key, then headers and values in turn."""
    return struct.Struct(f">4xI12x{key}sI{to_id}xII{to_counters}xQQIQQQIQ")


@dataclass(slots=True)
class _Entry:
    """One message by the attribute walk; offsets are from its ``start``."""

    start: int
    key: bytes = b""
    ident: int = -1
    ident_at: int = 0
    status_at: int = 0
    orig: tuple[int, int] = (NO_COUNTERS, NO_COUNTERS)
    reply: tuple[int, int] = (NO_COUNTERS, NO_COUNTERS)
    orig_at: int = 0
    reply_at: int = 0
    lifetime: float | None = None

    @property
    def sample(self) -> Sample:
        return (self.key, self.ident, *self.orig, *self.reply)


class Decoder:
    """Remembers the shapes of messages seen, and how many could not be read."""

    def __init__(self) -> None:
        self.malformed = 0
        self._layouts: dict[int, struct.Struct] = {}

    def samples(self, data: Buffer, size: int, sequence: int) -> DumpPart:
        """The entries in one received part (the first ``size`` bytes of ``data``) of the dump ``sequence``."""
        found: list[Sample] = []
        if size >= 16 and _HEADER.unpack_from(data)[3] != sequence:
            return DumpPart(found)  # left over from a dump that was given up
        layouts, append, length_of = self._layouts, found.append, _LENGTH.unpack_from
        done, interrupted, errno, at = False, False, 0, 0
        while at + 16 <= size:
            (length,) = length_of(data, at)
            layout = layouts.get(length)
            if layout is not None and at + length <= size:
                kind, key, status, id_is, ident, orig_is, po, obytes_is, bo, reply_is, pr, rbytes_is, br = (
                    layout.unpack_from(data, at)
                )
                if (
                    kind == _KIND_IS and status == _STATUS_IS and id_is == _ID_IS and orig_is == _ORIG_IS
                    and reply_is == _REPLY_IS and obytes_is == _BYTES_IS and rbytes_is == _BYTES_IS
                ):  # fmt: skip
                    append((key, ident, po, bo, pr, br))
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
        """The removed connections among the notifications in ``data``; births and updates are passed over."""
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
        layout = _layout_of(entry)
        if layout is not None and layout.size <= length:
            if len(self._layouts) > 1024:  # shapes are a handful; anything else is not conntrack
                self._layouts.clear()
            self._layouts[length] = layout

    @staticmethod
    def _errno(data: Buffer, at: int, length: int) -> int:
        return -int(_ERROR.unpack_from(data, at + 16)[0]) if length >= 20 else 0


def _layout_of(entry: _Entry) -> struct.Struct | None:
    """The layout of messages shaped like ``entry``; None when its order is not the kernel's usual one."""
    key = len(entry.key)
    to_id = entry.ident_at - (entry.status_at + 4)
    to_counters = entry.orig_at - (entry.ident_at + 8)
    usual = entry.status_at == _ATTRIBUTES_AT + key and entry.reply_at == entry.orig_at + 28
    return _layout(key, to_id, to_counters) if usual and to_id >= 0 and to_counters >= 0 else None


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
        entry.ident, entry.ident_at = _U32.unpack_from(data, at + 4)[0], offset
    elif kind == _STATUS:
        entry.status_at = offset
    elif kind == _COUNTERS_ORIG:
        entry.orig, entry.orig_at = _pair(data, at, size), offset
    elif kind == _COUNTERS_REPLY:
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


def parse_key(key: bytes) -> FlowTuples | None:
    """Both tuples of a sample's key; None when they are not two IP tuples of one family and protocol."""
    nests = {kind: (at, at + length) for kind, at, length in _attributes(key, 0, len(key))}
    if _TUPLE_ORIG not in nests or _TUPLE_REPLY not in nests:
        return None
    orig, reply = _parse_tuple(key, *nests[_TUPLE_ORIG]), _parse_tuple(key, *nests[_TUPLE_REPLY])
    if orig is None or reply is None or orig.protocol != reply.protocol:
        return None
    return FlowTuples(
        orig.protocol, orig.src, orig.dst, reply.src, reply.dst,
        orig.src_port, orig.dst_port, reply.src_port, reply.dst_port,
    )  # fmt: skip


def _parse_tuple(key: bytes, start: int, end: int) -> _Tuple | None:
    addresses: dict[int, bytes] = {}
    protocol, ports = -1, {2: 0, 3: 0}
    for kind, at, length in _attributes(key, start, end):
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
    return _Tuple(pair[0], pair[1], protocol, ports[2], ports[3])


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
