# SPDX-License-Identifier: Apache-2.0
"""Flows without an end that could be seen: how long they may be idle until they count as ended.

Enters: entries of the map of flows, the kernel's clock. Leaves: what ``cgroup_sweep`` (bpf/cgroup.bpf.c) is to
look at. Guarantees: pure; the program checks each flow again, so a packet meanwhile saves it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from typing import Final

from nodeagent.sources.ebpf.kernel.layout import FlowEntry

TCP, UDP, SCTP = 6, 17, 132
ICMP: Final = (1, 58)

FORGOTTEN_AFTER: Final = 3600.0
"""Seconds for TCP. Its ends are seen, so an idle connection is still there: it goes without an end, and comes back
with what its socket has carried."""
UNANSWERED: Final = 30.0
ANSWERED: Final = 120.0
"""UDP: conntrack's net.netfilter.nf_conntrack_udp_timeout and ..._udp_timeout_stream, as they are by default."""
ASSOCIATED: Final = 210.0
"""SCTP: conntrack's time for an established association, whose heartbeats come every 30 seconds."""
ECHO: Final = 30.0
"""ICMP, which has no flows but counts bytes."""
OTHERWISE: Final = 600.0
"""Conntrack's generic time."""

AT_ONCE: Final = 64
"""Records in one run of the program: SWEPT_AT_ONCE."""
_HEAD: Final = bytes(16)
_RECORD: Final = struct.Struct("=QII")
_KEY: Final = struct.Struct("=Q")


def _layout() -> struct.Struct:
    """bytes, window and protocol of a flow, one after the other through many."""
    window, protocol = FlowEntry.window.offset, FlowEntry.protocol.offset
    gaps = window - 16, protocol - window - 4, ctypes.sizeof(FlowEntry) - protocol - 1
    return struct.Struct(f"=QQ{gaps[0]}xI{gaps[1]}xB{gaps[2]}x")


_FLOW: Final = _layout()


def patience(protocol: int, *, answered: bool) -> float:
    """Seconds without a packet after which such a flow is over."""
    if protocol == TCP:
        return FORGOTTEN_AFTER
    if protocol == UDP:
        return ANSWERED if answered else UNANSWERED
    if protocol == SCTP:
        return ASSOCIATED
    return ECHO if protocol in ICMP else OTHERWISE


def overdue(keys: bytes, values: bytes, clock: int, tick: float) -> Iterator[bytes]:
    """A record for each flow that is idle for too long. ``clock``: jiffies now, 32 bits; ``tick``: seconds of one.

    A flow's window opens at its first packet after the one before is over. So a flow may have been idle for less
    than its window's age, by one window at most.
    """
    limits: dict[tuple[int, bool], int] = {}
    for (key,), (original, reply, window, protocol) in zip(
        _KEY.iter_unpack(keys), _FLOW.iter_unpack(values), strict=True
    ):
        kind = protocol, bool(original and reply)
        limit = limits.get(kind)
        if limit is None:
            limit = limits[kind] = round(patience(protocol, answered=kind[1]) / tick)
        age = (clock - window) & 0xFFFF_FFFF
        if limit <= age < 1 << 31:  # beyond: the window was opened a moment after the clock was read
            yield _RECORD.pack(key, limit, protocol == TCP)


def messages(records: Iterator[bytes]) -> Iterator[bytes]:
    """Records by what one run of the program takes."""
    pending: list[bytes] = []
    for record in records:
        pending.append(record)
        if len(pending) == AT_ONCE:
            yield _HEAD + b"".join(pending)
            pending.clear()
    if pending:
        yield _HEAD + b"".join(pending)


QUESTION: Final = _HEAD
"""The message without a record: the program answers with its clock."""
