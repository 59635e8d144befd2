# SPDX-License-Identifier: Apache-2.0
"""The links that the node's pods share: which interfaces, what capacity, how many bytes they carried.

Enters: the kernel's route tables, interface speed and counters, an operator's override. Leaves: a ``Link`` and
cumulative ``LinkCounters``. An unknown capacity is 0 and said so; it is never guessed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from footprint.models import LinkRates
from nodeagent.node.capacity.driver import SYS_NET, believed_speed
from nodeagent.node.uplinks.interfaces import Interfaces

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
    carriers: tuple[str, ...] = ()
    """Interfaces that carry what this one sends (``uplinks.interfaces.carriers``)."""
    counted_by: tuple[str, ...] = ()
    """Interfaces whose counters together tell what it carried; itself when empty."""
    ethernet: bool = True
    others: tuple[Link, ...] = ()
    """The node's further uplinks: this one is the default route's."""
    known: Interfaces = field(default_factory=Interfaces, compare=False, repr=False)
    """All interfaces of the node when the links were found."""
    elsewhere: frozenset[str] = frozenset()
    """Uplinks that the operator did not name."""
    marks: tuple[int, ...] = ()
    """Marks of a firewall that rules follow."""

    @property
    def all(self) -> tuple[Link, ...]:
        """This one and the others; none where no interface is known."""
        return tuple(link for link in (self, *self.others) if link.interface is not None)


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


def read_counters_of(links: Collection[Link], proc_net: Path = _PROC_NET) -> dict[str, LinkCounters]:
    """Counters of the links by name; a link is absent when an interface that counts for it is gone."""
    if not links:
        return {}
    dev = _text(proc_net / "dev")
    found = {}
    for link in links:
        by = link.counted_by or (link.interface or "",)
        counters = [parse_counters(dev, name, ethernet=link.ethernet) for name in by]
        if link.interface and None not in counters:
            known = [one for one in counters if one is not None]
            found[link.interface] = LinkCounters(
                sum(one.tx_bytes for one in known), sum(one.rx_bytes for one in known)
            )
    return found


def parse_counters(dev: str, interface: str, *, ethernet: bool = True) -> LinkCounters | None:
    """Counters of ``interface`` from the text of /proc/net/dev; None when it is not there."""
    header = _ETHERNET_HEADER if ethernet else 0
    for line in dev.splitlines():
        name, colon, figures = line.partition(":")
        # A node has an interface for every pod: only the one is taken apart.
        if colon and name.strip() == interface and len(fields := figures.split()) >= 10:
            rx_bytes, rx_packets, tx_bytes, tx_packets = (int(fields[i]) for i in (0, 1, 8, 9))
            return LinkCounters(max(tx_bytes - header * tx_packets, 0), max(rx_bytes - header * rx_packets, 0))
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
