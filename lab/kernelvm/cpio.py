# SPDX-License-Identifier: Apache-2.0
"""A writer of newc cpio archives, the form of an initial RAM file system."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from stat import S_IFCHR, S_IFDIR, S_IFREG


@dataclass(frozen=True)
class Entry:
    """A folder (no content), a regular file, or a character device (``device``: major, minor)."""

    path: str
    content: bytes | None = None
    mode: int = 0o755
    device: tuple[int, int] | None = None


def archive(entries: Iterable[Entry]) -> bytes:
    """The archive of ``entries``, in their order: a folder comes before what is in it."""
    numbered = [_member(entry, number) for number, entry in enumerate(entries, start=1)]
    return b"".join([*numbered, _member(Entry("TRAILER!!!", b"", 0), 0)])


def _member(entry: Entry, inode: int) -> bytes:
    content = entry.content or b""
    kind = S_IFCHR if entry.device else S_IFDIR if entry.content is None else S_IFREG
    major, minor = entry.device or (0, 0)
    name = entry.path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device, device number, name's length, checksum
    fields = (inode, kind | entry.mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name) + _padded(content)


def _padded(block: bytes) -> bytes:
    return block + b"\0" * (-len(block) % 4)
