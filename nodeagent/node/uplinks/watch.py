# SPDX-License-Identifier: Apache-2.0
"""Whether routes, rules or uplinks changed, as the kernel reports it.

Effects: one rtnetlink socket. Guarantees: never waits; takes at most ``MOST_REPORTS`` reports at a time. A pod's
coming and going (its interface, the route to it alone) is no change. A missed report counts as one.
"""

from __future__ import annotations

import socket
import struct
import weakref
from collections.abc import Container
from typing import Final

import structlog

from nodeagent.node.uplinks.interfaces import IFINFOMSG
from nodeagent.node.uplinks.routes import RTMSG, parse_route

MOST_REPORTS: Final = 256
_GROUPS: Final = sum(1 << (group - 1) for group in (1, 7, 8, 11, 19))  # links, IPv4 and IPv6 routes and rules
_LINKS: Final = (16, 17)
_ROUTES: Final = (24, 25)
_RULES: Final = (32, 33)
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_BUFFER: Final = 2**15

_log = structlog.get_logger()


class Watch:
    """Reports since the last look."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            weakref.finalize(self, self._socket.close)
            self._socket.bind((0, _GROUPS))
            self._socket.setblocking(False)
        except OSError as error:
            _log.warning("no word of changed routes, so a failover is noticed later", error=str(error))
            self.close()

    def changed(self, uplinks: Container[int]) -> bool:
        """Whether anything changed; ``uplinks``: indices of the interfaces that matter. Empties the socket as far
        as it may."""
        found = False
        for _ in range(MOST_REPORTS if self._socket is not None else 0):
            try:
                found = matters(self._socket.recv(_BUFFER), uplinks) or found  # type: ignore[union-attr]
            except BlockingIOError:
                return found
            except OSError:  # ENOBUFS: reports were lost
                found = True
        return found or self._socket is not None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def matters(datagram: bytes, uplinks: Container[int]) -> bool:
    """Whether one of the datagram's messages tells of more than a pod."""
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, *_ = _HEADER.unpack_from(datagram, offset)
        if length < _HEADER.size:
            return False
        if _matters(kind, datagram[offset + _HEADER.size : offset + length], uplinks):
            return True
        offset += (length + 3) & ~3
    return False


def _matters(kind: int, body: bytes, uplinks: Container[int]) -> bool:
    if kind in _LINKS and len(body) >= IFINFOMSG.size:
        return IFINFOMSG.unpack_from(body)[3] in uplinks
    if kind in _ROUTES and len(body) >= RTMSG.size:
        return any(not route.to_a_host for route in parse_route(body))
    return kind in _RULES
