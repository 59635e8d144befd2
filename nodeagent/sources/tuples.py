# SPDX-License-Identifier: Apache-2.0
"""A connection's two tuples, as every source hands them to attribution.

ORIG is what the initiator sent; REPLY is what the responder's answers look like before they are translated
back. So ORIG.src is the true initiator and REPLY.src the true responder, with any NAT between; ORIG.dst
may be a service address and REPLY.dst a masquerade address.
"""

from __future__ import annotations

import socket
from typing import Final, NamedTuple

_ICMP: Final = frozenset({socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6})


class FlowTuples(NamedTuple):
    """Addresses are packed (4 or 16 bytes); ports are 0 for protocols without them."""

    protocol: int
    orig_src: bytes
    orig_dst: bytes
    reply_src: bytes
    reply_dst: bytes
    orig_src_port: int = 0
    orig_dst_port: int = 0
    reply_src_port: int = 0
    reply_dst_port: int = 0
    zone: int = 0
    """Tells apart the conntrack zones in which one connection is; 0: the default one."""


def is_conversation(protocol: int) -> bool:
    """Whether flows of this protocol count as flows (births, ends, mice), besides their bytes.

    ICMP and ICMPv6 do not: an echo or an error report is not somebody's request, and one ping per second
    would make any pod look busy with mice. Their bytes count like all others.
    """
    return protocol not in _ICMP


def format_endpoint(address: bytes, port: int) -> str:
    """``10.0.0.1:80``, ``[fd00::1]:80``; without a port where the protocol has none."""
    if len(address) == 4:
        return (
            f"{socket.inet_ntop(socket.AF_INET, address)}:{port}"
            if port
            else socket.inet_ntop(socket.AF_INET, address)
        )
    text = socket.inet_ntop(socket.AF_INET6, address)
    return f"[{text}]:{port}" if port else text
