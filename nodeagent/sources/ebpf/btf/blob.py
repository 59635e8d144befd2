# SPDX-License-Identifier: Apache-2.0
"""A BTF blob as sections: bytes in, the position of every type and the string section out.

Guarantees: any bytes whatsoever either parse, with every type record inside its section, or raise BtfError with
a named reason; work is linear in the blob's size.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why BTF could not be used; the values are stable words for preflight and logs."""

    MISSING = "missing"  # the kernel offers no BTF under that name
    MALFORMED = "malformed"  # not BTF, cut short, or inconsistent
    VERSION = "unsupported-version"
    BYTE_ORDER = "other-byte-order"
    NO_TYPE = "no-such-type"
    NO_MEMBER = "no-such-member"


class BtfError(Exception):
    """BTF that cannot answer. The message states the fact."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("=HBBIIIII")
_TYPE: Final = struct.Struct("=III")

# Bytes after the common record: a fixed part, and a part for each of the type's vlen elements.
_TRAILER: Final[dict[int, tuple[int, int]]] = {
    1: (4, 0),  # INT
    2: (0, 0),  # PTR
    3: (12, 0),  # ARRAY
    4: (0, 12),  # STRUCT
    5: (0, 12),  # UNION
    6: (0, 8),  # ENUM
    7: (0, 0),  # FWD
    8: (0, 0),  # TYPEDEF
    9: (0, 0),  # VOLATILE
    10: (0, 0),  # CONST
    11: (0, 0),  # RESTRICT
    12: (0, 0),  # FUNC: its vlen is the linkage
    13: (0, 8),  # FUNC_PROTO
    14: (4, 0),  # VAR
    15: (0, 12),  # DATASEC
    16: (0, 0),  # FLOAT
    17: (4, 0),  # DECL_TAG
    18: (0, 0),  # TYPE_TAG
    19: (0, 12),  # ENUM64
}


@dataclass(frozen=True, slots=True)
class Blob:
    """The two sections, and where each type begins (index 0 is the blob's first type)."""

    types: bytes
    strings: bytes
    positions: array[int]


def parse(data: bytes) -> Blob:
    """Split and walk a blob. Raises BtfError."""
    types, strings = _sections(data)
    return Blob(types, strings, _walk(types))


def _sections(data: bytes) -> tuple[bytes, bytes]:
    if len(data) < _HEADER.size:
        raise BtfError(Reason.MALFORMED, f"BTF of {len(data)} bytes is shorter than its header")
    magic, version, _, header, type_at, type_size, string_at, string_size = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        swapped = ((magic & 0xFF) << 8) | magic >> 8
        if swapped == _MAGIC:
            raise BtfError(Reason.BYTE_ORDER, "BTF has the byte order of another machine")
        raise BtfError(Reason.MALFORMED, f"BTF does not begin with its magic number but with {magic:#06x}")
    if version != 1:
        raise BtfError(Reason.VERSION, f"BTF has version {version}; only version 1 is supported")
    for name, at, size in (("type", type_at, type_size), ("string", string_at, string_size)):
        if header < _HEADER.size or header + at + size > len(data):
            raise BtfError(Reason.MALFORMED, f"the {name} section of BTF ends beyond its {len(data)} bytes")
    types = data[header + type_at : header + type_at + type_size]
    strings = data[header + string_at : header + string_at + string_size]
    if strings and strings[-1] != 0:
        raise BtfError(Reason.MALFORMED, "the string section of BTF does not end with a zero byte")
    return types, strings


def _walk(types: bytes) -> array[int]:
    positions = array("I")
    at, end, append = 0, len(types), positions.append
    unpack, trailer, head = _TYPE.unpack_from, _TRAILER.get, _TYPE.size
    while at < end:
        if at + head > end:
            raise BtfError(Reason.MALFORMED, f"BTF type {len(positions) + 1} is cut short")
        _, info, _ = unpack(types, at)
        sizes = trailer(info >> 24 & 0x1F)
        if sizes is None:
            raise BtfError(Reason.MALFORMED, f"BTF type {len(positions) + 1} has unknown kind {info >> 24 & 0x1F}")
        append(at)
        at += head + sizes[0] + sizes[1] * (info & 0xFFFF)
    if at != end:
        raise BtfError(Reason.MALFORMED, f"BTF type {len(positions)} is cut short")
    return positions
