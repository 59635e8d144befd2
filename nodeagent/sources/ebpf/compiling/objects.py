# SPDX-License-Identifier: Apache-2.0
"""What a compilation made, as a file: its name, its form, and what makes it another kernel's or a damaged one.

Enters: everything that decides what the compiler makes, and its answer. Leaves: a key and the file's bytes, or
the answer again. Guarantees: pure. Bytes that are not exactly what was written raise ObjectRefused. A digest finds
damage; it does not find malice. The folder's owner and permissions keep others out (``cache``).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

FORMAT: Final = 1
"""Raised when the form of the file or of the answer changes."""
MAX_BYTES: Final = 2**20
"""Of a whole file. The program's three functions take some 90 kB."""

_HEADER: Final = struct.Struct("=8sI4x32s32s")  # magic, format, key, digest of key and content
_MAGIC: Final = b"tfobject"


class Refusal(StrEnum):
    """Why a file is not used. Stable words, as the log and the metric show them."""

    NOT_A_FILE = "not-a-file"  # a link, a folder, a pipe
    OWNER = "other-owner"
    PERMISSIONS = "open-to-others"
    TOO_LARGE = "too-large"
    UNREADABLE = "unreadable"
    FORMAT = "other-format"
    FOREIGN = "foreign"  # another kernel's, program's or build's
    DAMAGED = "damaged"
    MALFORMED = "malformed"  # intact, but no compiler's answer
    BY_KERNEL = "refused-by-kernel"


class ObjectRefused(Exception):  # noqa: N818 - leads to a compilation, not to a report
    """This file cannot be used; ``refusal`` says why."""

    def __init__(self, refusal: Refusal, fact: str) -> None:
        super().__init__(fact)
        self.refusal = refusal


def key(parts: Iterable[bytes]) -> bytes:
    """32 bytes that change with any of the parts, and with where one ends and the next begins."""
    digest = hashlib.sha256(FORMAT.to_bytes(4, "little"))
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def encode(name: bytes, content: bytes) -> bytes:
    """The file. Raises ValueError for more than ``MAX_BYTES``."""
    if _HEADER.size + len(content) > MAX_BYTES:
        raise ValueError(f"an object of {len(content)} bytes is larger than {MAX_BYTES}")
    return _HEADER.pack(_MAGIC, FORMAT, name, _digest(name, content)) + content


def decode(name: bytes, file: bytes) -> bytes:
    """The content. Raises ObjectRefused."""
    if len(file) < _HEADER.size:
        raise ObjectRefused(Refusal.DAMAGED, f"{len(file)} bytes are fewer than its header has")
    magic, form, found, digest = _HEADER.unpack_from(file)
    content = file[_HEADER.size :]
    if magic != _MAGIC:
        raise ObjectRefused(Refusal.FORMAT, "it is no object")
    if form != FORMAT:
        raise ObjectRefused(Refusal.FORMAT, f"it has format {form}, not {FORMAT}")
    if digest != _digest(found, content):
        raise ObjectRefused(Refusal.DAMAGED, "its content does not have the digest that it states")
    if found != name:
        raise ObjectRefused(Refusal.FOREIGN, "it was made for another kernel, program or build")
    return content


def _digest(name: bytes, content: bytes) -> bytes:
    return hashlib.sha256(name + content).digest()
