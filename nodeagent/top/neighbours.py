# SPDX-License-Identifier: Apache-2.0
"""Find the hosts behind this machine's virtual interfaces; without a file of names, owners are named by address.

Enters: rtnetlink's links, neighbours and routes. Leaves: packed addresses. Guarantees: deciding is pure. Traffic
between two owners does not count against the link, so every owner must be on this machine. Owners are
neighbours, and hosts with a route of their own, behind a veth, a tap, or a bridge without other ports; never
behind the uplink. A tap that leads elsewhere (a bridging VPN) looks like a virtual machine's, and is taken for
one.

A virtual machine is called by its name where libvirt or QEMU tells it (``nodeagent.top.tap_holders``), and has
all addresses behind its taps. Which tap that is, a bridge's forwarding table tells by the neighbour's MAC address.
"""

from __future__ import annotations

import ipaddress
import math
import socket
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from nodeagent.node.link import LinkError
from nodeagent.node.netlink import attributes, dump
from nodeagent.node.pods import LocalPod
from nodeagent.node.uplinks.interfaces import Interface
from nodeagent.node.uplinks.kernel import read_interfaces
from nodeagent.top.pods_file import PodsFileError, Resident
from nodeagent.top.tap_holders import TapHolders

EVERY: Final = 2.0
_RTM_GETROUTE, _RTM_GETNEIGH = 26, 30
_NDMSG: Final = struct.Struct("=BBHiHBB")
_RTMSG: Final = struct.Struct("=BBBBBBBBI")
_NDA_DST, _NDA_LLADDR = 1, 2
_VM: Final = "vm"
"""Stands before the names of virtual machines: whoever names one cannot take another's place."""
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RTN_UNICAST: Final = 1
_THERE: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_BITS: Final = {socket.AF_INET: 32, socket.AF_INET6: 128}


def inward(interfaces: Iterable[Interface], uplinks: Collection[str]) -> frozenset[int]:
    """Indices of the interfaces that lead to this machine's own guests only."""
    known = tuple(interfaces)
    ports: dict[int, list[Interface]] = {}
    for interface in known:
        if interface.master:
            ports.setdefault(interface.master, []).append(interface)

    def leads_in(interface: Interface) -> bool:
        if interface.name in uplinks:
            return False
        if interface.kind == "bridge":
            below = ports.get(interface.index, [])
            return bool(below) and all(_is_guests(port) and port.name not in uplinks for port in below)
        return not interface.master and _is_guests(interface)

    return frozenset(interface.index for interface in known if leads_in(interface))


def _is_guests(interface: Interface) -> bool:
    return interface.kind == "veth" or (interface.kind == "tun" and interface.ethernet)


def guests(uplinks: Collection[str], holders: TapHolders) -> tuple[LocalPod, ...]:
    """All owners on this machine now, by machine and by address. Raises OSError."""
    interfaces = tuple(_interfaces())
    where = inward(interfaces, uplinks)
    taps = {one.index: one.name for one in interfaces if one.kind == "tun" and one.ethernet}
    names = holders.of({name: index for index, name in taps.items()}) if taps else {}
    ports = _ports(taps) if names else {}
    machines: dict[bytes, str] = {}
    found = set()
    for index, address, mac in (*_neighbours(), *((index, address, b"") for index, address in _host_routes())):
        if index in where and _is_a_hosts(address):
            found.add(address)
            tap = taps.get(index) or taps.get(ports.get(mac, 0), "")
            if tap in names:
                machines[address] = names[tap]
    return owners(found, machines)


def owners(addresses: Iterable[bytes], machines: Mapping[bytes, str]) -> tuple[LocalPod, ...]:
    """One owner for each machine, and one for each address that is of none. ``machines``: names by address."""
    by_name: dict[str, list[bytes]] = {}
    alone = []
    for address in sorted(addresses):
        if (name := machines.get(address)) is not None:
            by_name.setdefault(name, []).append(address)
        else:
            alone.append(_named(address))
    named = [
        LocalPod(uid=f"{_VM}/{name}", ns=_VM, name=name, workload="", addresses=tuple(its))
        for name, its in sorted(by_name.items())
    ]
    return (*alone, *named)


class Neighbours:
    """Residents as ``PodsFile`` has them, listed again every ``EVERY`` seconds."""

    def __init__(
        self,
        uplinks: Callable[[], Collection[str]],
        *,
        find: Callable[[Collection[str]], tuple[LocalPod, ...]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._uplinks, self._clock = uplinks, clock
        holders = TapHolders()
        self._find = find or (lambda uplinks: guests(uplinks, holders))
        self._due = -math.inf
        self.residents: tuple[Resident, ...] = ()

    def changed(self) -> bool:
        """Whether the residents changed. Raises PodsFileError when they cannot be listed; the old ones stay."""
        if self._clock() < self._due:
            return False
        self._due = self._clock() + EVERY
        try:
            uplinks = self._uplinks()
            if not uplinks:
                raise PodsFileError(
                    "--addresses leaves out hosts behind the uplink, but that is unknown: name it with --uplink"
                )
            before, self.residents = self.residents, tuple(Resident(pod) for pod in self._find(uplinks))
        except (OSError, LinkError) as error:
            raise PodsFileError(f"cannot read the neighbours: {error}") from error
        return before != self.residents


def _named(address: bytes) -> LocalPod:
    name = str(ipaddress.ip_address(address))
    return LocalPod(uid=name, ns="", name=name, workload="", addresses=(address,))


def _is_a_hosts(address: bytes) -> bool:
    parsed = ipaddress.ip_address(address)
    return not (parsed.is_link_local or parsed.is_multicast or parsed.is_loopback or parsed.is_unspecified)


def _interfaces() -> Collection[Interface]:
    return read_interfaces().by_index.values()


def _ports(taps: Collection[int]) -> dict[bytes, int]:
    """Indices of the taps behind which bridges have seen each MAC address."""
    found = {}
    for body in dump(_RTM_GETNEIGH, _NDMSG.pack(socket.AF_BRIDGE, 0, 0, 0, 0, 0, 0)):
        _, _, _, index, _, _, _ = _NDMSG.unpack_from(body)
        mac = attributes(body[_NDMSG.size :]).get(_NDA_LLADDR)
        if mac and index in taps:
            found[mac] = index
    return found


def _neighbours() -> Iterator[tuple[int, bytes, bytes]]:
    for body in dump(_RTM_GETNEIGH, _NDMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0)):
        family, _, _, index, state, _, _ = _NDMSG.unpack_from(body)
        values = attributes(body[_NDMSG.size :])
        address = values.get(_NDA_DST)
        if family in _BITS and state & _THERE and address is not None and len(address) * 8 == _BITS[family]:
            yield index, address, values.get(_NDA_LLADDR, b"")


def _host_routes() -> Iterator[tuple[int, bytes]]:
    for body in dump(_RTM_GETROUTE, _RTMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0, 0)):
        family, length, _, _, _, _, _, kind, _ = _RTMSG.unpack_from(body)
        values = attributes(body[_RTMSG.size :])
        direct = _RTA_DST in values and _RTA_OIF in values and _RTA_GATEWAY not in values
        if kind == _RTN_UNICAST and length == _BITS.get(family) and direct:
            yield int.from_bytes(values[_RTA_OIF], sys.byteorder), values[_RTA_DST]
