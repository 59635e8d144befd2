# SPDX-License-Identifier: Apache-2.0
"""Between the project's values and the kernel's: addresses, thresholds, tuples, elephants. Pure."""

from __future__ import annotations

import socket
from typing import Final

from nodeagent.sources.base import Carrier, FlowThresholds
from nodeagent.sources.ebpf.kernel.layout import Address, CarrierKey, Config, SeedKey
from nodeagent.sources.tuples import FlowTuples, format_endpoint

_V4_MAPPED: Final = bytes(10) + b"\xff\xff"
_MOST: Final = 2**42
"""Bytes per window beyond which the kernel's arithmetic could overflow: 35 Tbit/s at one second."""
_LONGEST: Final = 2**20
"""Jiffies, for the same reason."""


def wide(address: bytes) -> bytes:
    """The 16 bytes of an address; IPv4 as ::ffff:a.b.c.d."""
    return _V4_MAPPED + address if len(address) == 4 else address


def narrow(address: bytes) -> bytes:
    """The reverse of ``wide``."""
    return address[12:] if address.startswith(_V4_MAPPED) else address


def endpoint(address: Address, port: int) -> str:
    """``10.0.0.1:80`` of an address and a port in network byte order."""
    return format_endpoint(narrow(bytes(address)), socket.ntohs(port))


def configure(config: Config, thresholds: FlowThresholds, tick: float) -> None:
    """Write the thresholds into ``config``; ``tick`` is seconds per jiffy."""
    window = min(max(round(thresholds.rate_window / tick), 1), _LONGEST)
    carried = thresholds.elephant_rate / 8 * thresholds.rate_window
    config.elephant_bytes = max(thresholds.elephant_bytes, 0)
    config.window_bytes = round(min(max(carried, 1), _MOST))
    config.exit_bytes = round(min(max(carried * thresholds.exit_factor, 0), _MOST))
    config.mouse_bytes = max(thresholds.mouse_bytes, 0)
    config.window = window
    config.exit_hold = min(max(round(thresholds.exit_hold / tick), 0), _LONGEST)


def seed_key(tuples: FlowTuples) -> SeedKey:
    return SeedKey(
        source=Address.from_buffer_copy(wide(tuples.orig_src)),
        destination=Address.from_buffer_copy(wide(tuples.orig_dst)),
        source_port=socket.htons(tuples.orig_src_port),
        destination_port=socket.htons(tuples.orig_dst_port),
        protocol=tuples.protocol,
        zone=(tuples.zone | tuples.zone >> 16 | tuples.zone >> 32) & 0xFFFF,  # of either direction: one number
    )


def carrier_key(carrier: Carrier) -> bytes:
    """A carrier as the kernel looks for it."""
    remote = wide(carrier.remote) if carrier.remote else bytes(16)
    port = socket.htons(carrier.port)
    return bytes(CarrierKey(Address.from_buffer_copy(remote), port, carrier.protocol, carrier.here))
