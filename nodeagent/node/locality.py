# SPDX-License-Identifier: Apache-2.0
"""Who lives on this node: pods' addresses from the snapshot, the node's own from the kernel.

Enters: the pod snapshot; answers of rtnetlink. Leaves: ``Locality``, packed addresses. Guarantees: an address
belongs to one pod at most; pods that ended own none.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Final

from nodeagent.node.pods import PodInfo
from nodeagent.sources.base import Locality

_RTM_NEWADDR: Final = 20
_RTM_GETADDR: Final = 22
_GET_TO_NEW: Final = 2
"""RTM_GETx is RTM_NEWx and two more."""
_TYPE: Final = 0x3FFF
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_DUMP_REQUEST: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_IFA_ADDRESS: Final = 1
_IFA_LOCAL: Final = 2
_HEADER: Final = struct.Struct("=IHHII")  # nlmsghdr
_IFADDRMSG: Final = struct.Struct("=BBBBi")
_ATTRIBUTE: Final = struct.Struct("=HH")
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


def parse_addresses(datagram: bytes) -> tuple[list[bytes], bool]:
    """Addresses in one datagram of an address dump, and whether the dump ends with it.

    On a point-to-point interface IFA_ADDRESS is the peer's: IFA_LOCAL is taken where there is one.
    Raises OSError when the kernel answers with an error.
    """
    bodies, done = parse_dump(datagram, _RTM_NEWADDR)
    return list(_addresses(bodies)), done


def _addresses(bodies: Iterable[bytes]) -> Iterator[bytes]:
    for body in bodies:
        values = attributes(body[_IFADDRMSG.size :])
        address = values.get(_IFA_LOCAL) or values.get(_IFA_ADDRESS)
        if address is not None and len(address) in (4, 16):
            yield address


def dump(kind: int, request: bytes) -> list[bytes]:
    """What rtnetlink lists in this network namespace: the bodies of its answers to a GET of this kind. Raises
    OSError."""
    found: list[bytes] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.settimeout(_TIMEOUT)
        route.bind((0, 0))
        route.send(_HEADER.pack(_HEADER.size + len(request), kind, _DUMP_REQUEST, 1, 0) + request)
        done = False
        while not done:
            datagram = route.recv(_BUFFER)
            if not datagram:
                raise OSError(errno.EIO, "the kernel closed the dump")
            bodies, done = parse_dump(datagram, kind - _GET_TO_NEW)
            found += bodies
    return found


def node_addresses() -> frozenset[bytes]:
    """All addresses of this network namespace, loopback included. Raises OSError."""
    return frozenset(_addresses(dump(_RTM_GETADDR, _IFADDRMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0))))


def locality(pods: Iterable[PodInfo], node: frozenset[bytes]) -> Locality:
    """Addresses of running pods by owner.

    Two pods may claim one address for a moment, when it is given out again before the first pod's end was
    reported: the one that started later has it. An address of the node is never a pod's.
    """
    owners: dict[bytes, str] = {}
    for pod in sorted(pods, key=lambda pod: (pod.started, pod.uid)):
        if pod.measured:
            owners.update((address, pod.uid) for address in pod.addresses if address not in node)
    return Locality(owners, node)
