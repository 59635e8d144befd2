# SPDX-License-Identifier: Apache-2.0
"""The link that the node's pods share: which interface, what capacity, how many bytes it carried.

Enters: the kernel's route tables, interface speed and counters, an operator's override. Leaves: a ``Link`` and
cumulative ``LinkCounters``. An unknown capacity is 0 and said so; it is never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from footprint.models import LinkRates
from nodeagent.node.capacity.driver import SYS_NET, believed_speed

_PROC_NET: Final = Path("/proc/net")  # follows the process's network namespace
_RTF_UP: Final = 0x1
_RTF_REJECT: Final = 0x200
_ETHERNET_HEADER: Final = 14


class LinkError(Exception):
    """The named or found interface cannot be used; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Link:
    interface: str | None
    """None: there is no default route and none was named."""
    capacity: LinkRates
    """bit/s per direction; 0 means not known."""


@dataclass(frozen=True, slots=True)
class LinkCounters:
    """Cumulative bytes of an interface without Ethernet headers, comparable to what conntrack counts."""

    tx_bytes: int
    rx_bytes: int


def default_interface(route: str, ipv6_route: str) -> str | None:
    """Interface of the default route with the lowest metric, IPv4 first.

    ``route`` and ``ipv6_route`` are the texts of the files of those names in /proc/net.
    """
    found: list[tuple[int, str]] = []
    for fields in map(str.split, route.splitlines()[1:]):
        if len(fields) >= 8 and fields[1] == fields[7] == "00000000":
            flags, metric = int(fields[3], 16), int(fields[6])
            if flags & _RTF_UP and not flags & _RTF_REJECT:
                found.append((metric, fields[0]))
    if found:
        return min(found)[1]
    for fields in map(str.split, ipv6_route.splitlines()):
        if len(fields) >= 10 and fields[0] == "0" * 32 and fields[1] == "00":
            flags, metric = int(fields[8], 16), int(fields[5], 16)
            if flags & _RTF_UP and not flags & _RTF_REJECT and fields[9] != "lo":
                found.append((metric, fields[9]))
    return min(found)[1] if found else None


def parse_counters(dev: str, interface: str) -> LinkCounters | None:
    """Counters of ``interface`` from the text of /proc/net/dev; None when it is not there."""
    for line in dev.splitlines():
        name, colon, figures = line.partition(":")
        # A node has an interface for every pod: only the one is taken apart.
        if colon and name.strip() == interface and len(fields := figures.split()) >= 10:
            rx_bytes, rx_packets, tx_bytes, tx_packets = (int(fields[i]) for i in (0, 1, 8, 9))
            return LinkCounters(
                max(tx_bytes - _ETHERNET_HEADER * tx_packets, 0), max(rx_bytes - _ETHERNET_HEADER * rx_packets, 0)
            )
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:  # no IPv6 in this kernel; speed of an interface that has none (EINVAL)
        return ""


def read_counters(interface: str, proc_net: Path = _PROC_NET) -> LinkCounters | None:
    return parse_counters(_text(proc_net / "dev"), interface)


def find_link(
    uplink: str | None, capacity: float | None, *, proc_net: Path = _PROC_NET, sys_net: Path = SYS_NET
) -> Link:
    """The link as of now. Raises LinkError when ``uplink`` was named and does not exist."""
    interface = uplink or default_interface(_text(proc_net / "route"), _text(proc_net / "ipv6_route"))
    if uplink is not None and read_counters(uplink, proc_net) is None:
        raise LinkError(f"there is no interface {uplink} here")
    speed = capacity if capacity is not None else believed_speed(interface, sys_net) if interface else 0.0
    return Link(interface, LinkRates(speed, speed))
