# SPDX-License-Identifier: Apache-2.0
"""What the kernel shows of one uplink at one moment, and what follows about the time since the moment before.

Enters: an interface's name. Leaves: ``Signals``; from two of them, what was carried and whether each direction was
held back. Guarantees: what cannot be read is no sign of a full link.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nodeagent.node.capacity import ethtool
from nodeagent.node.capacity.driver import SYS_NET, believed_speed
from nodeagent.node.capacity.queues import LinkStats, read_queues, read_stats
from nodeagent.node.capacity.saturation import STANDING

ALLOWANCES: Final = {"bw_out_allowance_exceeded": "tx", "bw_in_allowance_exceeded": "rx"}
"""Counters of AWS's adapter (ENA): packets held back because the instance used up its bandwidth in a direction."""
_ETHERNET_HEADER: Final = 14
MOST: Final = 16
"""Devices whose queues are read for one uplink."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that queues: the uplink, or a device below it."""

    index: int
    allowances: Mapping[str, int] = field(default_factory=dict)
    """Place of each of ALLOWANCES among the driver's counters."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What an uplink consists of; it changes seldom."""

    name: str
    index: int
    speed: float
    """bit/s that drivers say and that is believed; 0: none."""
    devices: Mapping[str, Device]


@dataclass(frozen=True, slots=True)
class Signals:
    """Cumulative, except ``waiting``."""

    at: float
    own: LinkStats
    waiting: int
    """Bytes in queues now."""
    tx_held: int
    """Packets dropped, or held back by the provider."""
    rx_held: int


@dataclass(frozen=True, slots=True)
class Step:
    """What happened between two signals."""

    seconds: float
    tx: float
    """bit/s of IP bytes."""
    rx: float
    tx_busy: bool
    rx_busy: bool


def anatomy(name: str, carriers: tuple[str, ...] = (), sys_net: Path = SYS_NET) -> Anatomy:
    """Of ``name`` and the devices that carry for it. Raises OSError when there is no such interface."""
    index = socket.if_nametoindex(name)
    speed = believed_speed(name, sys_net) if _same(name, index, sys_net) else 0.0
    devices = dict.fromkeys((name, *carriers[: MOST - 1]))
    return Anatomy(name, index, speed, {each: _device(each) for each in devices})


def _same(name: str, index: int, sys_net: Path) -> bool:
    """Whether ``sys_net`` shows this network namespace: it shows the one in which it was mounted."""
    try:
        return int((sys_net / name / "ifindex").read_text()) == index
    except (OSError, ValueError):
        return False


def _device(name: str) -> Device:
    index = socket.if_nametoindex(name)
    places = {counter: place for place, counter in enumerate(ethtool.names(name)) if counter in ALLOWANCES}
    return Device(index, places)


def read(link: Anatomy, now: float) -> Signals:
    """Raises OSError when the interface is gone."""
    own, waiting, held = read_stats(link.index), 0, {"tx": 0, "rx": 0}
    if own is None:
        raise OSError(f"{link.name} has no counters")
    queues = read_queues({device.index for device in link.devices.values()})
    for name, device in link.devices.items():
        stats = own if device.index == link.index else read_stats(device.index)
        queue = queues.get(device.index)
        held["tx"] += stats.tx_drops if stats else 0
        held["rx"] += stats.rx_drops if stats else 0
        if queue is not None and not queue.paced:
            waiting += queue.backlog
            held["tx"] += queue.drops
        for counter, count in ethtool.values(name, device.allowances).items():
            held[ALLOWANCES[counter]] += count
    return Signals(now, own, waiting, held["tx"], held["rx"])


def step(before: Signals, after: Signals) -> Step | None:
    """None when a counter or the time went backwards: the interface is another one."""
    seconds = after.at - before.at
    tx = _payload(after.own.tx_bytes, after.own.tx_packets) - _payload(before.own.tx_bytes, before.own.tx_packets)
    rx = _payload(after.own.rx_bytes, after.own.rx_packets) - _payload(before.own.rx_bytes, before.own.rx_packets)
    tx_held, rx_held = after.tx_held - before.tx_held, after.rx_held - before.rx_held
    if seconds <= 0 or min(tx, rx, tx_held, rx_held) < 0:
        return None
    return Step(seconds, 8 * tx / seconds, 8 * rx / seconds, after.waiting >= STANDING or tx_held > 0, rx_held > 0)


def _payload(size: int, packets: int) -> int:
    return max(size - _ETHERNET_HEADER * packets, 0)
