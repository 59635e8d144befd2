# SPDX-License-Identifier: Apache-2.0
"""The two netlink sockets: one dumps the table, the other receives removed connections.

Effects only; every byte goes through ``wire.Decoder``. Guarantees: bounded work and bounded waiting per call;
lost notifications and broken dumps are counted, never hidden (NETLINK_NO_ENOBUFS stays off on purpose).

Only removals are subscribed to. They carry the final counters, so that connections shorter than the reading
interval are not lost. Births would say nothing that the next dump, or the removal, does not say, and updates
(state changes of TCP, marks) carry no periodic byte counts: both would only fill the buffer that removals need.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from nodeagent.sources.base import LossKind
from nodeagent.sources.ctnetlink.samples import Ending, Sample
from nodeagent.sources.ctnetlink.wire import Decoder, dump_request

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_ADD_MEMBERSHIP: Final = 1
_GROUP_DESTROY: Final = 3
_SO_RCVBUFFORCE: Final = 33

EVENT_BUFFER: Final = 16 * 2**20
"""Bytes the kernel may queue for us (it doubles the figure): some 25,000 removals between two readings. Memory is
used only while notifications wait."""

MAX_DUMP_TRIES: Final = 3
MAX_EVENT_READS: Final = 200_000
"""Notifications taken at most per call: a storm must not keep the agent from its reading."""

_RECEIVE: Final = 256 * 1024
"""More than the kernel's largest part of a dump (32 KiB): a large offer makes it fill large parts."""
SILENCE_SECONDS: Final = 0.5
"""How long the kernel may take for the next part of a dump. The last reading before the exit cannot wait longer:
the exit has five seconds, and the last write needs most of them."""
_TIMEOUT: Final = struct.pack("@ll", 0, int(SILENCE_SECONDS * 1e6))


class ConntrackSockets:
    """Both sockets, in the network namespace of the thread that makes them. Raises OSError when refused."""

    def __init__(self, decoder: Decoder, lost: Counter[LossKind], event_buffer: int = EVENT_BUFFER) -> None:
        self._decoder, self._lost = decoder, lost
        self._buffer = bytearray(_RECEIVE)
        self._sequence = 0
        self._dumper = _netlink()
        try:
            self._dumper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)
            self._events = _netlink()
        except OSError:
            self._dumper.close()
            raise
        try:
            _force_buffer(self._events, event_buffer)
            self._events.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, _GROUP_DESTROY)
            self._events.setblocking(False)
        except OSError:
            self.close()
            raise

    def dump(self, sink: Callable[[list[Sample]], None]) -> bool:
        """Every entry of the table, in parts; False when some may be missing after all tries.

        A repeated dump hands out entries again: the sink must take a sample twice without harm. A kernel that
        does not answer in time is not asked again before the next reading. Raises OSError when the kernel refuses.
        """
        for _ in range(MAX_DUMP_TRIES):
            try:
                if self._dump_once(sink):
                    return True
            except BlockingIOError:
                self._lost[LossKind.DUMP_INTERRUPTED] += 1
                return False
            self._lost[LossKind.DUMP_INTERRUPTED] += 1
        return False

    def endings(self) -> Iterator[list[Ending]]:
        """The removals that the socket holds, one part at a time."""
        for _ in range(MAX_EVENT_READS):
            try:
                size = self._events.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # The kernel dropped some; what is queued is still good, and the dump shows what still lives.
                self._lost[LossKind.EVENTS_OVERRUN] += 1
                continue
            yield self._decoder.endings(self._buffer, size)

    def close(self) -> None:
        self._dumper.close()
        self._events.close()

    def _dump_once(self, sink: Callable[[list[Sample]], None]) -> bool:
        """Raises BlockingIOError for silence."""
        self._sequence = self._sequence % 0xFFFF_FFFF + 1
        self._dumper.send(dump_request(self._sequence))
        whole = True
        while True:
            try:
                size = self._dumper.recv_into(self._buffer)
            except OSError as error:
                if error.errno not in (errno.ENOBUFS, errno.EAGAIN, errno.EINTR):
                    raise
                self._renew_dumper()
                if error.errno == errno.EAGAIN:
                    raise
                return False
            part = self._decoder.samples(self._buffer, size, self._sequence)
            sink(part.samples)
            whole = whole and not part.interrupted
            if part.errno in (errno.EINTR, errno.EAGAIN, errno.EBUSY):
                return False
            if part.errno:
                raise OSError(part.errno, os.strerror(part.errno))
            if part.done:
                return whole

    def _renew_dumper(self) -> None:
        """Give up a dump that is still under way: the kernel runs one per socket."""
        self._dumper.close()
        self._dumper = _netlink()
        self._dumper.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _TIMEOUT)


def _netlink() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    try:
        made.bind((0, 0))
    except OSError:
        made.close()
        raise
    return made


def _force_buffer(sock: socket.socket, size: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:  # CAP_NET_ADMIN of a user namespace is not enough: as large as the sysctl allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
