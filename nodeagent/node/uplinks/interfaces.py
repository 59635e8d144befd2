# SPDX-License-Identifier: Apache-2.0
"""A machine's network interfaces: what each is, and what carries it. Pure.

Enters: bodies of rtnetlink's answers. Leaves: ``Interface`` values, and the names of an interface's carriers.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from nodeagent.node.netlink import attributes

IFINFOMSG: Final = struct.Struct("=BBHiII")
_IFLA_IFNAME, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_LINK_NETNSID = 3, 5, 10, 18, 37
_INFO_KIND, _INFO_DATA, _INFO_SLAVE_DATA = 1, 2, 5
_BOND_MODE, _BOND_AD_INFO, _AD_AGGREGATOR = 1, 23, 1
_SLAVE_STATE, _SLAVE_MII, _SLAVE_AGGREGATOR = 1, 2, 6
_VRF_TABLE: Final = 1
_ETHERNET: Final = 1
_LOOPBACK: Final = 772
_IFF_UP: Final = 1
_ONE_AT_A_TIME: Final = (1, 3)
"""Modes of a bond whose members do not add up: active-backup and broadcast."""
_DEEPEST: Final = 6
"""Devices upon devices; a loop of them ends here."""

STACKED: Final = frozenset({"vlan", "macvlan", "ipvlan", "macsec", "hsr"})
"""Devices on top of one other, whose wire they use."""
TUNNELS: Final = frozenset({
    "vxlan", "geneve", "ipip", "sit", "ip6tnl", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan",
    "wireguard", "xfrm", "vti", "vti6", "bareudp", "gtp", "amt",
})  # fmt: skip
"""Devices whose packets leave inside others, by another interface."""
NOWHERE: Final = frozenset({"loopback", "dummy", "ifb", "nlmon", "vrf", "can", "vcan"})
"""Devices that lead to no other machine."""
COLLECTING: Final = frozenset({"bond", "team", "bridge"})
"""Devices made of ports."""


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
    below: int = 0
    """Index of the interface that it is on top of, in this network namespace; 0: of none."""
    up: bool = True
    backup: bool = False
    """A bond's member that carries nothing now."""
    one_at_a_time: bool = False
    """A bond of which one member carries everything."""
    aggregator: int = 0
    """802.3ad: of a bond the active one, of a member its own; 0: none."""
    table: int = 0
    """Routing table of a VRF."""

    @property
    def tunnel(self) -> bool:
        return self.kind in TUNNELS or (self.kind == "tun" and not self.ethernet)

    @property
    def for_guests(self) -> bool:
        """Of a kind that mostly leads to a container or virtual machine here."""
        return self.kind in ("veth", "netkit") or (self.kind == "tun" and self.ethernet)


def parse_interface(body: bytes) -> Interface | None:
    """The body of a RTM_NEWLINK; None for what is none."""
    if len(body) < IFINFOMSG.size:
        return None
    _, _, hardware, index, flags, _ = IFINFOMSG.unpack_from(body)
    values = attributes(body[IFINFOMSG.size :])
    info = attributes(values.get(_IFLA_LINKINFO, b""))
    kind = "loopback" if hardware == _LOOPBACK else text(info.get(_INFO_KIND))
    data = attributes(info.get(_INFO_DATA, b""))
    slave = attributes(info.get(_INFO_SLAVE_DATA, b""))
    here = _IFLA_LINK_NETNSID not in values
    aggregation = attributes(data.get(_BOND_AD_INFO, b"")) if kind == "bond" else slave
    return Interface(
        index=index,
        name=text(values.get(_IFLA_IFNAME)),
        kind=kind,
        ethernet=hardware == _ETHERNET,
        master=number(values.get(_IFLA_MASTER)),
        below=number(values.get(_IFLA_LINK)) if here and (kind in STACKED or kind in TUNNELS) else 0,
        up=bool(flags & _IFF_UP),
        backup=bool(number(slave.get(_SLAVE_STATE)) or number(slave.get(_SLAVE_MII))),
        one_at_a_time=kind == "bond" and number(data.get(_BOND_MODE)) in _ONE_AT_A_TIME,
        aggregator=number(aggregation.get(_AD_AGGREGATOR if kind == "bond" else _SLAVE_AGGREGATOR)),
        table=number(data.get(_VRF_TABLE)) if kind == "vrf" else 0,
    )


class Interfaces:
    """All interfaces of a moment, by index and by name."""

    def __init__(self, known: Iterable[Interface] = ()) -> None:
        self.by_index = {interface.index: interface for interface in known}
        self.by_name = {interface.name: interface for interface in self.by_index.values()}
        self._ports: dict[int, list[Interface]] = {}
        for interface in self.by_index.values():
            if interface.master:
                self._ports.setdefault(interface.master, []).append(interface)

    def ports(self, interface: Interface) -> list[Interface]:
        """Ports that lead out of this machine, and not to its guests. Open vSwitch keeps all under one device."""
        if interface.kind == "openvswitch":
            found = [p for i in self.by_index.values() if i.kind == "openvswitch" for p in self._at(i)]
        else:
            found = self._at(interface) if interface.kind in COLLECTING else []
        if interface.kind in ("bond", "team"):
            return found
        return [port for port in found if not (port.for_guests or port.tunnel or port.kind == "openvswitch")]

    def _at(self, interface: Interface) -> list[Interface]:
        return self._ports.get(interface.index, [])


def carriers(name: str, known: Interfaces) -> tuple[str, ...]:
    """Names of the interfaces that carry what ``name`` sends, hardware where it is known: a VLAN's parent, a
    bond's members that carry something now, a bridge's ports to the outside. Their capacities add up to that of
    ``name``.
    """
    interface = known.by_name.get(name)
    return tuple(dict.fromkeys(_carriers(interface, known, _DEEPEST))) if interface else (name,)


def _carriers(interface: Interface, known: Interfaces, depth: int) -> list[str]:
    lower = _lower(interface, known) if depth else []
    return [name for one in lower for name in _carriers(one, known, depth - 1)] or [interface.name]


def _lower(interface: Interface, known: Interfaces) -> list[Interface]:
    ports = sorted(known.ports(interface), key=lambda port: port.index)
    if ports:
        active = [port for port in ports if port.up and not port.backup] or ports
        if interface.aggregator:
            active = [port for port in active if port.aggregator == interface.aggregator] or active
        return active[:1] if interface.one_at_a_time else active
    lower = known.by_index.get(interface.below)
    return [lower] if lower is not None and lower is not interface else []


def number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)


def text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode("utf-8", "replace")
