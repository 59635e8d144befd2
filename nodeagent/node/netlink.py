# SPDX-License-Identifier: Apache-2.0
"""rtnetlink: lists of addresses, links, neighbours and routes, as the kernel keeps them per network namespace.

Enters: a request. Leaves: the bodies of the answers, and attributes by type. Guarantees: an error of the kernel, a
silent kernel and a closed socket raise OSError; bytes that do not fit are left out.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

_GET_TO_NEW: Final = 2
"""RTM_GETx is RTM_NEWx and two more."""
_TYPE: Final = 0x3FFF
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_DUMP_REQUEST: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_ONE_REQUEST: Final = 0x1  # NLM_F_REQUEST
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_ATTRIBUTE: Final = struct.Struct("=HH")
_SOL_NETLINK: Final = 270
_GET_STRICT_CHK: Final = 12
_BUFFER: Final = 2**16
_TIMEOUT: Final = 2.0


def _padded(length: int) -> int:
    return (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[offset + _ATTRIBUTE.size : offset + length]
        offset += _padded(length)


def attributes(data: bytes) -> dict[int, bytes]:
    """Values by type, without the flags in the type's high bits."""
    return {kind & _TYPE: value for kind, value in _attributes(data)}


def parse_dump(datagram: bytes, wanted: int) -> tuple[list[bytes], bool]:
    """The bodies of the messages of one kind in one datagram of a dump, and whether the dump ends with it.

    Raises OSError when the kernel answers with an error.
    """
    found: list[bytes] = []
    offset = 0
    while offset + _HEADER.size <= len(datagram):
        length, kind, _flags, _sequence, _port = _HEADER.unpack_from(datagram, offset)
        body = datagram[offset + _HEADER.size : offset + length]
        if kind == _NLMSG_DONE or length < _HEADER.size:
            return found, True
        if kind == _NLMSG_ERROR:
            code = -struct.unpack_from("=i", body)[0]
            raise OSError(code, os.strerror(code))
        if kind == wanted:
            found.append(body)
        offset += _padded(length)
    return found, False


def dump(kind: int, request: bytes) -> list[bytes]:
    """What rtnetlink lists in this network namespace: the bodies of its answers to a GET of this kind. Raises
    OSError."""
    return list(listing(kind, request))


def listing(kind: int, request: bytes, *, strict: bool = False) -> Iterator[bytes]:
    """As ``dump``, while it comes. Whoever stops asking closes the socket, and the kernel stops as well.

    ``strict``: the kernel chooses by the request's fields (Linux 4.20). Raises OSError.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        if strict:
            route.setsockopt(_SOL_NETLINK, _GET_STRICT_CHK, 1)
        route.settimeout(_TIMEOUT)
        route.bind((0, 0))
        route.send(_HEADER.pack(_HEADER.size + len(request), kind, _DUMP_REQUEST, 1, 0) + request)
        done = False
        while not done:
            datagram = route.recv(_BUFFER)
            if not datagram:
                raise OSError(errno.EIO, "the kernel closed the dump")
            bodies, done = parse_dump(datagram, kind - _GET_TO_NEW)
            yield from bodies


def get(kind: int, request: bytes) -> bytes:
    """What rtnetlink says of one object: the body of its answer to a GET of this kind. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(_TIMEOUT)
        route.bind((0, 0))
        route.send(_HEADER.pack(_HEADER.size + len(request), kind, _ONE_REQUEST, 1, 0) + request)
        bodies, _ = parse_dump(route.recv(_BUFFER), kind - _GET_TO_NEW)
    if not bodies:
        raise OSError(errno.ENODATA, "the kernel's answer is not about what was asked")
    return bodies[0]


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute as it is sent."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)


def ask(protocol: int, kind: int, request: bytes, *, size: int, flags: int = 1) -> bytes:
    """The body of the first answer to one request of a netlink protocol, of which only ``size`` bytes are taken.

    Raises OSError, as for a protocol that the kernel lacks.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol) as asked:
        asked.settimeout(_TIMEOUT)
        asked.bind((0, 0))
        asked.send(_HEADER.pack(_HEADER.size + len(request), kind, flags, 1, 0) + request)
        answer = asked.recv(_HEADER.size + size)
    if len(answer) < _HEADER.size + 4:
        raise OSError(errno.EIO, "the kernel's answer is cut")
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        code = -struct.unpack_from("=i", answer, _HEADER.size)[0]
        raise OSError(code, os.strerror(code))
    return answer[_HEADER.size :]
