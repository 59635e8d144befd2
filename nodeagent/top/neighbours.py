# SPDX-License-Identifier: Apache-2.0
"""Find the hosts behind this machine's virtual interfaces; without a file of names, owners are named by address.

Enters: rtnetlink's links, neighbours and routes. Leaves: packed addresses. Guarantees: deciding is pure. Traffic
between two owners does not count against the link, so every owner must be on this machine. Owners are
neighbours, and hosts with a route of their own, behind a veth, a tap, or a bridge without other ports; never
behind the uplink. A tap that leads elsewhere (a bridging VPN) looks like a virtual machine's, and is taken for
one.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nodeagent.node.link import LinkError
from nodeagent.node.netlink import attributes, dump
from nodeagent.node.pods import LocalPod
from nodeagent.top.pods_file import PodsFileError, Resident

EVERY: Final = 2.0
_RTM_GETLINK, _RTM_GETROUTE, _RTM_GETNEIGH = 18, 26, 30
_IFINFOMSG: Final = struct.Struct("=BBHiII")
_NDMSG: Final = struct.Struct("=BBHiHBB")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_INFO_KIND = 3, 10, 18, 1
_NDA_DST: Final = 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RTN_UNICAST: Final = 1
_ETHERNET: Final = 1
_THERE: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_BITS: Final = {socket.AF_INET: 32, socket.AF_INET6: 128}


@dataclass(frozen=True, slots=True)
class Interface:
    """What tells where an interface leads."""

    index: int
    name: str
    kind: str = ""
    """As ``ip -d link`` names it; empty for hardware."""
    ethernet: bool = True
    master: int = 0
    """Index of the bridge or bond it is a port of; 0: of none."""


def inward(interfaces: Iterable[Interface], uplink: str) -> frozenset[int]:
    """Indices of the interfaces that lead to this machine's own guests only."""
    known = tuple(interfaces)
    ports: dict[int, list[Interface]] = {}
    for interface in known:
        if interface.master:
            ports.setdefault(interface.master, []).append(interface)

    def leads_in(interface: Interface) -> bool:
        if interface.name == uplink:
            return False
        if interface.kind == "bridge":
            below = ports.get(interface.index, [])
            return bool(below) and all(_is_guests(port) and port.name != uplink for port in below)
        return not interface.master and _is_guests(interface)

    return frozenset(interface.index for interface in known if leads_in(interface))


def _is_guests(interface: Interface) -> bool:
    return interface.kind == "veth" or (interface.kind == "tun" and interface.ethernet)


def guests(uplink: str) -> tuple[LocalPod, ...]:
    """All owners on this machine now, by address. Raises OSError."""
    where = inward(_interfaces(), uplink)
    found = {address for index, address in (*_neighbours(), *_host_routes()) if index in where}
    return tuple(_named(address) for address in sorted(found) if _is_a_hosts(address))


class Neighbours:
    """Residents as ``PodsFile`` has them, listed again every ``EVERY`` seconds."""

    def __init__(
        self,
        uplink: Callable[[], str | None],
        *,
        find: Callable[[str], tuple[LocalPod, ...]] = guests,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uplink, self._find, self._clock = uplink, find, clock
        self._due = -math.inf
        self.residents: tuple[Resident, ...] = ()

    def changed(self) -> bool:
        """Whether the residents changed. Raises PodsFileError when they cannot be listed; the old ones stay."""
        if self._clock() < self._due:
            return False
        self._due = self._clock() + EVERY
        try:
            uplink = self._uplink()
            if uplink is None:
                raise PodsFileError(
                    "--addresses leaves out hosts behind the uplink, but that is unknown: name it with --uplink"
                )
            before, self.residents = self.residents, tuple(Resident(pod) for pod in self._find(uplink))
        except (OSError, LinkError) as error:
            raise PodsFileError(f"cannot read the neighbours: {error}") from error
        return before != self.residents


def _named(address: bytes) -> LocalPod:
    name = str(ipaddress.ip_address(address))
    return LocalPod(uid=name, ns="", name=name, workload="", addresses=(address,))


def _is_a_hosts(address: bytes) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_link_local or parsed.is_multicast or parsed.is_loopback or parsed.is_unspecified)


def _interfaces() -> Iterator[Interface]:
    for body in dump(_RTM_GETLINK, _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0)):
        _, _, hardware, index, _, _ = _IFINFOMSG.unpack_from(body)
        values = attributes(body[_IFINFOMSG.size :])
        yield Interface(
            index=index,
            name=_text(values.get(_IFLA_IFNAME)),
            kind=_text(attributes(values.get(_IFLA_LINKINFO, b"")).get(_IFLA_INFO_KIND)),
            ethernet=hardware == _ETHERNET,
            master=int.from_bytes(values.get(_IFLA_MASTER, b""), sys.byteorder),
        )


def _neighbours() -> Iterator[tuple[int, bytes]]:
    for body in dump(_RTM_GETNEIGH, _NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0)):
        family, _, _, index, state, _, _ = _NDMSG.unpack_from(body)
        address = attributes(body[_NDMSG.size :]).get(_NDA_DST)
        if family in _BITS and state & _THERE and address is not None and len(address) * 8 == _BITS[family]:
            yield index, address


def _host_routes() -> Iterator[tuple[int, bytes]]:
    for body in dump(_RTM_GETROUTE, _RTMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, length, _, _, _, _, _, kind, _ = _RTMSG.unpack_from(body)
        values = attributes(body[_RTMSG.size :])
        direct = _RTA_DST in values and _RTA_OIF in values and _RTA_GATEWAY not in values
        if kind == _RTN_UNICAST and length == _BITS.get(family) and direct:
            yield int.from_bytes(values[_RTA_OIF], sys.byteorder), values[_RTA_DST]


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode("utf-8", "replace")
