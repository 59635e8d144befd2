# SPDX-License-Identifier: Apache-2.0
"""An interface's own counters and its queue, by rtnetlink: what it carried, dropped, and has waiting.

Enters: an interface's index in this network namespace. Leaves: ``LinkStats`` and ``Queue``. Parsing is pure.
Guarantees: an answer that is cut short, and a kernel that refuses, are OSError or nothing there.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from nodeagent.node.netlink import attributes, dump, get

_RTM_GETLINK: Final = 18
_RTM_GETQDISC: Final = 38
_LINK: Final = struct.Struct("=BxHiII")  # ifinfomsg
_QDISC: Final = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_IFLA_STATS64: Final = 23
_STATS: Final = struct.Struct("=19Q")  # rtnl_link_stats64, up to tx_fifo_errors
_TCA_KIND: Final = 1
_TCA_STATS2: Final = 7
_TCA_STATS_QUEUE: Final = 3
_QUEUE: Final = struct.Struct("=IIII")  # gnet_stats_queue: qlen, backlog, drops, requeues
_ROOT: Final = 0xFFFFFFFF

PACING: Final = frozenset({"fq", "etf", "taprio", "netem"})
"""Queues in which packets wait for their own time, on a link that is free too."""


@dataclass(frozen=True, slots=True)
class LinkStats:
    """Cumulative counts of an interface."""

    tx_bytes: int
    rx_bytes: int
    tx_packets: int
    rx_packets: int
    tx_drops: int
    """Packets that the device could not send."""
    rx_drops: int
    """Packets that came and found no room on the adapter. Not those that nobody wanted."""


@dataclass(frozen=True, slots=True)
class Queue:
    """The root queue of an interface. A root of several queues says what all hold together."""

    kind: str
    packets: int
    """Waiting now."""
    backlog: int
    """Bytes waiting now."""
    drops: int
    """Cumulative packets."""
    paced: bool = False
    """It, or one of those below it, holds packets back on a free link."""


def parse_stats(body: bytes) -> LinkStats | None:
    """From the body of RTM_NEWLINK; None when it holds no counters."""
    raw = attributes(body[_LINK.size :]).get(_IFLA_STATS64, b"")
    if len(raw) < _STATS.size:
        return None
    found = _STATS.unpack_from(raw)
    return LinkStats(
        tx_bytes=found[3], rx_bytes=found[2], tx_packets=found[1], rx_packets=found[0],
        tx_drops=found[7] + found[18], rx_drops=found[11] + found[14] + found[15],
    )  # fmt: skip


def parse_queue(body: bytes) -> Queue:
    """From the body of RTM_NEWQDISC; what is cut short is nothing."""
    found = attributes(body[_QDISC.size :])
    raw = attributes(found.get(_TCA_STATS2, b"")).get(_TCA_STATS_QUEUE, b"")
    packets, backlog, drops, _ = _QUEUE.unpack_from(raw) if len(raw) >= _QUEUE.size else (0, 0, 0, 0)
    return Queue(found.get(_TCA_KIND, b"").split(b"\0", 1)[0].decode("ascii", "replace"), packets, backlog, drops)


def read_stats(index: int) -> LinkStats | None:
    """Raises OSError: such an interface is not there."""
    return parse_stats(get(_RTM_GETLINK, _LINK.pack(0, 0, index, 0, 0)))


def read_queues(indexes: Collection[int]) -> dict[int, Queue]:
    """The root queues of the interfaces ``indexes``, as far as they have any. Raises OSError.

    The kernel lists those of all interfaces, of which a node has one for every pod. Asking for one alone is no
    cheaper way: kernels then tell everybody who listens to changes of queues.
    """
    found: dict[int, Queue] = {}
    paced: set[int] = set()
    for body in dump(_RTM_GETQDISC, _QDISC.pack(0, 0, 0, 0, 0)):
        if len(body) < _QDISC.size or (index := _QDISC.unpack_from(body)[1]) not in indexes:
            continue
        queue = parse_queue(body)
        if queue.kind in PACING:
            paced.add(index)
        if _QDISC.unpack_from(body)[3] == _ROOT:
            found[index] = queue
    return {index: replace(queue, paced=index in paced) for index, queue in found.items()}
