# SPDX-License-Identifier: Apache-2.0
"""The port on which a WireGuard device of this network namespace receives.

Enters: the device's index. Leaves: the port. Guarantees: the kernel's answer also holds the device's keys; only
its first bytes are taken, in which the port stands, so no key ever enters this process.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Final

from nodeagent.node.netlink import ask, attribute, attributes

_GENERIC: Final = 16  # NETLINK_GENERIC, and GENL_ID_CTRL
_GENERIC_HEADER: Final = struct.Struct("=BBH")  # genlmsghdr
_GET_FAMILY: Final = 3  # CTRL_CMD_GETFAMILY
_FAMILY_ID, _FAMILY_NAME = 1, 2
_GET_DEVICE: Final = 0  # WG_CMD_GET_DEVICE
_IFINDEX, _LISTEN_PORT = 1, 6
_DUMP: Final = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_UNTIL_THE_PORT: Final = 12
"""The generic header and the first attribute, which the kernel has made the port since WireGuard is in it."""


@cache
def _family() -> int:
    """The number of WireGuard's protocol, which stays until the machine restarts. Raises OSError without it."""
    request = _GENERIC_HEADER.pack(_GET_FAMILY, 1, 0) + attribute(_FAMILY_NAME, b"wireguard\0")
    values = attributes(ask(_GENERIC, _GENERIC, request, size=4096)[_GENERIC_HEADER.size :])
    return int(struct.unpack("=H", values.get(_FAMILY_ID, bytes(2)))[0])


def parse_port(body: bytes) -> int | None:
    """The port in the first bytes of the kernel's answer; None when it does not stand there, or is 0."""
    value = attributes(body[_GENERIC_HEADER.size :]).get(_LISTEN_PORT, b"")
    return struct.unpack("=H", value)[0] or None if len(value) == 2 else None


def listen_port(ifindex: int) -> int | None:
    """Raises OSError when the kernel refuses, as without CAP_NET_ADMIN."""
    request = _GENERIC_HEADER.pack(_GET_DEVICE, 1, 0) + attribute(_IFINDEX, struct.pack("=I", ifindex))
    return parse_port(ask(_GENERIC, _family(), request, size=_UNTIL_THE_PORT, flags=_DUMP))
