# SPDX-License-Identifier: Apache-2.0
"""Counters that a driver keeps by name, as ``ethtool -S`` shows them: the provider's own signals are among them.

Enters: an interface. Leaves: cumulative counts by name. Guarantees: what the kernel says is bounded before memory
is set aside; an interface without such counters has none. Nothing here needs a privilege.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Mapping
from typing import Final

_SIOCETHTOOL: Final = 0x8946
_GSTRINGS: Final = 0x1B
_GSTATS: Final = 0x1D
_GSSET_INFO: Final = 0x37
_SS_STATS: Final = 1
_NAME_BYTES: Final = 32  # ETH_GSTRING_LEN
MOST: Final = 4096
"""Counters of an interface; one that has more is not read. A NIC with 128 queues has about 2,500."""
_ROOM: Final = 4 * MOST
"""For the kernel writes as many as there are by then, whatever it was told."""
_REQUEST: Final = struct.Struct("@16sP16x")  # ifreq: name, pointer


def _ask(socket_: socket.socket, interface: str, buffer: array.array[int]) -> None:
    """One ETHTOOL request; the answer is in ``buffer``. Raises OSError."""
    address, _ = buffer.buffer_info()
    fcntl.ioctl(socket_, _SIOCETHTOOL, _REQUEST.pack(interface.encode()[:15], address))


def _count(socket_: socket.socket, interface: str) -> int:
    buffer = array.array("B", struct.pack("=IIQI", _GSSET_INFO, 0, 1 << _SS_STATS, 0))
    _ask(socket_, interface, buffer)
    _, _, mask, count = struct.unpack("=IIQI", buffer.tobytes())
    return count if mask and count <= MOST else 0


def names(interface: str) -> tuple[str, ...]:
    """The counters' names, in the order of their values; none when the driver has none."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            count = _count(asked, interface)
            head = struct.pack("=III", _GSTRINGS, _SS_STATS, count)
            buffer = array.array("B", head + bytes(_NAME_BYTES * _ROOM))
            _ask(asked, interface, buffer)
    except OSError:
        return ()
    raw = buffer.tobytes()[12:]
    listed = (raw[_NAME_BYTES * i : _NAME_BYTES * (i + 1)] for i in range(count))
    return tuple(name.split(b"\0", 1)[0].decode("ascii", "replace") for name in listed)


def values(interface: str, wanted: Mapping[str, int]) -> dict[str, int]:
    """The counters ``wanted``, by their places among ``names``; none on any failure."""
    if not wanted:
        return {}
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            count = _count(asked, interface)
            buffer = array.array("B", struct.pack("=II", _GSTATS, count) + bytes(8 * _ROOM))
            _ask(asked, interface, buffer)
    except OSError:
        return {}
    raw = buffer.tobytes()
    return {n: struct.unpack_from("=Q", raw, 8 + 8 * place)[0] for n, place in wanted.items() if place < count}
