# SPDX-License-Identifier: Apache-2.0
"""The kernel's own answer to which way a packet takes: rules, tables and all.

Enters: addresses, the interface by which a forwarded packet comes in. Leaves: the interface by which it goes out.
Effects: one rtnetlink socket, kept. Guarantees: what the kernel refuses, and what does not come in time, is None.
"""

from __future__ import annotations

import socket
import struct
import sys
import weakref
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from nodeagent.node.netlink import attributes
from nodeagent.node.uplinks.routes import RTA_DST, RTA_GATEWAY, RTA_IIF, RTA_MARK, RTA_OIF, RTA_SRC, RTMSG, UNICAST

_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_REQUEST: Final = 1
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")
_NUMBER: Final = struct.Struct("=I")
_BUFFER: Final = 2**14
_TIMEOUT: Final = 1.0
_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}


@dataclass(frozen=True, slots=True)
class NextHop:
    interface: int
    """Index."""
    gateway: bytes = b""
    """Packed; empty: the destination is on that interface's network."""


class Lookups:
    """Asks one question after the other."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._number = 0

    def way(self, destination: bytes, source: bytes = b"", incoming: int = 0, mark: int = 0) -> NextHop | None:
        """The way to a packed address; None when there is none.

        ``incoming`` is the index of the interface by which the packet comes in; 0: this node sends it. The kernel
        takes a ``source`` that is not its own only with one.
        """
        family = _FAMILIES.get(len(destination))
        if family is None or (source and len(source) != len(destination)):
            return None
        bits = 8 * len(destination)
        body = RTMSG.pack(family, bits, bits if source else 0, 0, 0, 0, 0, 0, 0) + _attribute(RTA_DST, destination)
        body += _attribute(RTA_SRC, source) if source else b""
        for kind, value in ((RTA_IIF, incoming), (RTA_MARK, mark)):
            body += _attribute(kind, _NUMBER.pack(value)) if value else b""
        try:
            return parse_answer(self._asked(body))
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _asked(self, body: bytes) -> bytes:
        """The answer to this question; late answers to earlier ones are passed over. Raises OSError."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            weakref.finalize(self, self._socket.close)
            self._socket.settimeout(_TIMEOUT)
            self._socket.bind((0, 0))
        self._number = self._number % 2**31 + 1
        size = _HEADER.size + len(body)
        self._socket.send(_HEADER.pack(size, _RTM_GETROUTE, _REQUEST, self._number, 0) + body)
        for _ in range(8):
            answer = self._socket.recv(_BUFFER)
            if len(answer) >= _HEADER.size and _HEADER.unpack_from(answer)[3] == self._number:
                return answer
        raise OSError("the kernel answers something else")


def parse_answer(answer: bytes) -> NextHop | None:
    """The next hop in the answer to a RTM_GETROUTE; None for an error, and for what is not forwarded."""
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _RTM_NEWROUTE or length < _HEADER.size + RTMSG.size or len(answer) < length:
        return None
    body = answer[_HEADER.size : length]
    values = attributes(body[RTMSG.size :])
    if RTMSG.unpack_from(body)[7] != UNICAST or RTA_OIF not in values:
        return None
    return NextHop(int.from_bytes(values[RTA_OIF], sys.byteorder), values.get(RTA_GATEWAY, b""))


def packed(endpoint: str) -> bytes:
    """The address of ``10.0.0.1:80``, ``[fd00::1]:80`` or either without a port; empty when there is none."""
    text = endpoint.partition("]")[0][1:] if endpoint.startswith("[") else endpoint
    for family, address in ((socket.AF_INET, text.partition(":")[0]), (socket.AF_INET6, text)):
        with suppress(OSError, ValueError):
            return socket.inet_pton(family, address)
    return b""


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value
