# SPDX-License-Identifier: Apache-2.0
"""Reading the kernel's ring buffer: records in the order in which they were written.

In: a ring buffer map's descriptor. Out: records as bytes. Effects: two shared mappings; reading a record frees it.
"""

from __future__ import annotations

import mmap
import select
import struct
from collections.abc import Iterator
from typing import Final

_BUSY: Final = 1 << 31
_DISCARDED: Final = 1 << 30
_LENGTH: Final = _DISCARDED - 1
_HEADER: Final = 8
_POSITION: Final = struct.Struct("=Q")
_WORD: Final = struct.Struct("=I")


class RingBuffer:
    """``size`` is the map's max_entries. Raises OSError when it cannot be mapped."""

    def __init__(self, fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        self._size = size
        self._consumer = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        # One page with the producer's position, and the data twice in a row: no record wraps.
        self._data = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._page = page
        self._poll = select.epoll()
        self._poll.register(fd, select.EPOLLIN)

    def fileno(self) -> int:
        """Readable when a record waits."""
        return self._poll.fileno()

    def wait(self, timeout: float) -> bool:
        """Whether a record waits within ``timeout`` seconds."""
        return bool(self._poll.poll(timeout))

    def records(self) -> Iterator[bytes]:
        """Every record that is complete."""
        at = int(_POSITION.unpack_from(self._consumer)[0])
        while at < _POSITION.unpack_from(self._data)[0]:
            start = self._page + at % self._size
            header = _WORD.unpack_from(self._data, start)[0]
            if header & _BUSY:
                return
            length = header & _LENGTH
            if not header & _DISCARDED:
                yield self._data[start + _HEADER : start + _HEADER + length]
            at += (length + _HEADER + 7) & ~7
            _POSITION.pack_into(self._consumer, 0, at)

    def close(self) -> None:
        self._poll.close()
        self._consumer.close()
        self._data.close()
