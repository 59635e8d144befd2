# SPDX-License-Identifier: Apache-2.0
"""Connections of this thread's network namespace: found by flow or by mark, and one bit of their mark changed.

Effects only: one netlink socket. Guarantees: bounded waiting; other bits of a mark stay as they are.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import Final

from nodeagent.sources.ctnetlink.wire import parse_key
from nodeagent.tuning import conntrack_wire as wire
from nodeagent.tuning.conntrack_wire import Entry, Part
from nodeagent.tuning.flows import Flow
from nodeagent.tuning.modes import MOST_MARKED, MOST_ZONES, Refusal, TuningRefusedError

_NETLINK_NETFILTER: Final = 12
_TIMEOUT: Final = struct.pack("@ll", 2, 0)
_RECEIVE: Final = 64 * 1024
_TRIES: Final = 3
_MOST_FOUND: Final = MOST_MARKED * MOST_ZONES + 1


class Connections:
    """Raises TuningRefusedError where the kernel does not answer."""

    def __init__(self) -> None:
        self._sequence = 0
        self._buffer = bytearray(_RECEIVE)
        self._socket = _opened()

    def close(self) -> None:
        self._socket.close()

    def of(self, flow: Flow) -> list[Entry]:
        """The entries of ``flow``, in every zone; none when it has ended."""

        def its(entry: Entry) -> bool:
            return wire.is_of(flow, parse_key(entry.key))

        for answers in (False, True):
            found, _ = self._ask(wire.entry_request(flow, self._next(), answers=answers), its)
            if found:
                return found
        found, _ = self._ask(wire.similar_request(flow, self._next()), its, MOST_ZONES)
        return found

    def marked(self, bit: int) -> list[Entry]:
        """The entries whose mark has ``bit``: all, or one more than there can be of this agent's."""
        request = wire.marked_request(bit, self._next())
        found, code = self._ask(request, lambda entry: bool(entry.mark & bit), _MOST_FOUND)
        if code:
            raise TuningRefusedError(Refusal.NO_CONNTRACK, f"connections cannot be listed: {os.strerror(code)}")
        return found

    def current(self, entry: Entry) -> Entry | None:
        """As it is now; None when it has ended, also when another one has its tuples.

        Raises TuningRefusedError where the kernel does not say: then the connection may well live.
        """
        request = wire.exact_request(entry.key, self._next())
        found, code = self._ask(request, lambda now: now.ident == entry.ident)
        if code and code != errno.ENOENT:
            raise TuningRefusedError(
                Refusal.NO_CONNTRACK, f"a connection cannot be looked up: {os.strerror(code)}"
            )
        return found[0] if found else None

    def change(self, entry: Entry, bit: int, value: bool) -> bool:
        """Set or clear ``bit``; False when the connection has ended. Raises TuningRefusedError."""
        _, code = self._ask(wire.change_request(entry.key, bit, value, self._next()), lambda _: False)
        if code and code != errno.ENOENT:
            raise TuningRefusedError(
                Refusal.NO_CONNTRACK,
                f"a connection's mark cannot be set: {os.strerror(code)}; it needs CAP_NET_ADMIN",
            )
        return not code

    def _next(self) -> int:
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        return self._sequence

    def _ask(
        self, request: bytes, wanted: Callable[[Entry], bool], most: int = _MOST_FOUND
    ) -> tuple[list[Entry], int]:
        """The ``wanted`` entries, at most so many, and errno of the answer. A dump that the table changed under is
        asked for again."""
        for _ in range(_TRIES):
            try:
                found, code = self._exchange(request, wanted, most)
            except OSError as error:
                self._reopen()
                if error.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EINTR):
                    raise TuningRefusedError(
                        Refusal.NO_CONNTRACK, f"the kernel does not answer about connections: {error.strerror}"
                    ) from error
                continue
            if code not in (errno.EINTR, errno.EAGAIN, errno.EBUSY):
                return found, code
        return [], errno.EAGAIN

    def _exchange(self, request: bytes, wanted: Callable[[Entry], bool], most: int) -> tuple[list[Entry], int]:
        sequence = struct.unpack_from("=I", request, 8)[0]
        dump = bool(struct.unpack_from("=H", request, 6)[0] & 0x200)
        self._socket.send(request)
        found: list[Entry] = []
        while True:
            size = self._socket.recv_into(self._buffer)
            got: Part = wire.part(self._buffer, size, sequence)
            found += filter(wanted, got.entries)
            if got.done or (got.entries and not dump):
                return found[:most], got.errno
            if len(found) >= most:
                self._reopen()  # so that the kernel ends the dump
                return found[:most], 0

    def _reopen(self) -> None:
        self._socket.close()
        self._socket = _opened()


def _opened() -> socket.socket:
    """Raises TuningRefusedError."""
    try:
        return _netlink()
    except OSError as error:
        raise TuningRefusedError(
            Refusal.NO_CONNTRACK, f"no netlink socket for connections: {error.strerror}"
        ) from error


def _netlink() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
        made.bind((0, 0))
    except OSError:
        made.close()
        raise
    return made
