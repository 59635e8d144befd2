# SPDX-License-Identifier: Apache-2.0
"""The node's tunnels: which of its own flows carry what other flows sent.

Enters: rtnetlink's links and forwarding entries, WireGuard's ports, the number of IPsec states. Leaves:
``Tunnels``. Guarantees: a tunnel of UDP is known by a device of this network namespace and its ports, and by its
other ends where the device knows them. A port alone proves nothing.

What a device says: VXLAN and Geneve send to the other end's port, from ports of their own choice, so one tunnel
is two one-way flows. Their other ends are the device's remote address and its forwarding entries. A device that
gets them with each packet (``external``: Cilium's, Antrea's and Open vSwitch's) knows none in advance. WireGuard
sends from the port on which it receives. IPIP, SIT, GRE and IPsec are protocols of their own, which carry packets
and nothing else.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from nodeagent.node.netlink import ask, attributes, dump
from nodeagent.node.wireguard import listen_port
from nodeagent.sources.base import Carrier

_RTM_NEWLINK, _RTM_GETLINK, _RTM_GETNEIGH = 16, 18, 30
_IFINFOMSG: Final = struct.Struct("=BxHiII")
_NDMSG: Final = struct.Struct("=BxHiHBB")
_EXT_MASK: Final = struct.pack("=HHI", 8, 29, 8)  # IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS
_IFNAME, _LINKINFO, _INFO_KIND, _INFO_DATA = 3, 18, 1, 2
_AF_BRIDGE: Final = 7
_NDA_DST, _NDA_PORT = 1, 6
_NETLINK_XFRM: Final = 6
_GET_SAD_INFO: Final = 35  # XFRM_MSG_GETSADINFO
_SAD_COUNT: Final = 1
_UDP: Final = socket.IPPROTO_UDP
_NAT_TRAVERSAL: Final = 4500  # RFC 3948

MOST: Final = 4096
"""Carriers told of at most: two for each other end of a tunnel."""

PROTOCOLS: Final = frozenset(Carrier(protocol) for protocol in (4, 41, 47, 50, 51))
"""IP in IP, IPv6 in IP, GRE, ESP, AH: whatever the node itself exchanges by them has a packet inside."""

_log = structlog.get_logger()


class Kind(NamedTuple):
    """Numbers of the attributes in IFLA_INFO_DATA."""

    remotes: tuple[int, ...]
    port: int
    external: int = 0
    """Present and not 0: every packet brings its own remote address."""
    encapsulation: int = 0
    """Present and not 0: in UDP as well (FOU, GUE)."""


KINDS: Final[Mapping[str, Kind]] = {
    "vxlan": Kind(remotes=(2, 16), port=15, external=25),
    "geneve": Kind(remotes=(2, 7), port=5, external=6),
    **dict.fromkeys(("ipip", "sit", "ip6tnl"), Kind(remotes=(3,), port=18, encapsulation=15)),
    **dict.fromkeys(
        ("gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan"),
        Kind(remotes=(7,), port=17, encapsulation=14),
    ),
}


@dataclass(frozen=True, slots=True)
class Device:
    """A link that is a tunnel, or the end of one that a program runs."""

    index: int
    name: str
    kind: str
    port: int = 0
    """UDP port of the other end; 0: not in UDP, or not known."""
    remotes: frozenset[bytes] = frozenset()
    external: bool = False


@dataclass(frozen=True, slots=True)
class Tunnels:
    carriers: frozenset[Carrier] = PROTOCOLS
    programs: frozenset[str] = frozenset()
    """Names of tun and tap devices: a program, such as OpenVPN, is behind each, and so may a tunnel be."""


def parse_device(body: bytes) -> Device | None:
    """The body of a RTM_NEWLINK; None for what is no tunnel."""
    if len(body) < _IFINFOMSG.size:
        return None
    values = attributes(body[_IFINFOMSG.size :])
    info = attributes(values.get(_LINKINFO, b""))
    kind, name = _text(info.get(_INFO_KIND, b"")), _text(values.get(_IFNAME, b""))
    index = _IFINFOMSG.unpack_from(body)[2]
    if kind in ("wireguard", "tun"):
        return Device(index, name, kind)
    known = KINDS.get(kind)
    if known is None:
        return None
    data = attributes(info.get(_INFO_DATA, b""))
    external = known.external in data and data[known.external] != b"\0"
    remotes = frozenset(data[at] for at in known.remotes if _is_address(data.get(at, b"")))
    in_udp = not known.encapsulation or any(data.get(known.encapsulation, b""))
    return Device(index, name, kind, _port(data.get(known.port, b"")) if in_udp else 0, remotes, external)


def parse_forwarding(body: bytes) -> tuple[int, bytes, int] | None:
    """(device's index, other end's address, its port or 0) of a RTM_NEWNEIGH; None without an address."""
    if len(body) < _NDMSG.size:
        return None
    values = attributes(body[_NDMSG.size :])
    remote = values.get(_NDA_DST, b"")
    if not _is_address(remote):
        return None
    return _NDMSG.unpack_from(body)[2], remote, _port(values.get(_NDA_PORT, b""))


def carriers(devices: Iterable[Device], forwarding: Iterable[tuple[int, bytes, int]]) -> Iterator[Carrier]:
    """What the devices send and receive in UDP; pure."""
    by_index = {device.index: device for device in devices if device.port}
    for known in by_index.values():
        for remote in [b""] if known.external else known.remotes:
            yield from _both_ways(known.port, remote)
    for index, remote, port in forwarding:
        device = by_index.get(index)
        if device is not None and not device.external:
            yield from _both_ways(port or device.port, remote, received_at=device.port)


def read_tunnels() -> Tunnels:
    """The tunnels of this network namespace, as of now. Raises OSError."""
    bodies = dump(_RTM_GETLINK, _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _EXT_MASK)
    devices = [device for device in map(parse_device, bodies) if device is not None]
    found = set(carriers(devices, _forwarding(devices)))
    found.update(Carrier(_UDP, port) for port in _wireguard_ports(devices))
    if _has_ipsec():
        found.add(Carrier(_UDP, _NAT_TRAVERSAL))
    if len(found) > MOST:
        _log.warning(
            "more tunnels than are known apart; flows of the rest count as the host's", carriers=len(found)
        )
        found = set(sorted(found)[:MOST])
    programs = frozenset(device.name for device in devices if device.kind == "tun")
    return Tunnels(PROTOCOLS | found, programs)


def program_counters(names: frozenset[str], dev: Path = Path("/proc/net/dev")) -> dict[str, tuple[int, int]]:
    """Bytes and packets of each device that is there, both directions together."""
    found: dict[str, tuple[int, int]] = {}
    if not names:
        return found
    try:
        text = dev.read_text(encoding="ascii", errors="replace")
    except OSError:
        return found
    for line in text.splitlines():
        name, _, figures = line.partition(":")
        if name.strip() in names and len(fields := figures.split()) >= 10:
            received, packets, sent, sent_packets = (int(fields[at]) for at in (0, 1, 8, 9))
            found[name.strip()] = (received + sent, packets + sent_packets)
    return found


def _both_ways(port: int, remote: bytes, received_at: int = 0) -> tuple[Carrier, Carrier]:
    return Carrier(_UDP, port, False, remote), Carrier(_UDP, received_at or port, True, remote)


def _forwarding(devices: Iterable[Device]) -> Iterator[tuple[int, bytes, int]]:
    if any(device.kind == "vxlan" and not device.external for device in devices):
        bodies = dump(_RTM_GETNEIGH, _NDMSG.pack(_AF_BRIDGE, 0, 0, 0, 0, 0))
        yield from (entry for entry in map(parse_forwarding, bodies) if entry is not None)


def _wireguard_ports(devices: Iterable[Device]) -> Iterator[int]:
    for device in devices:
        if device.kind != "wireguard":
            continue
        try:
            port = listen_port(device.index)
        except OSError as error:
            _log.warning(
                "cannot learn WireGuard's port, its packets count as the host's besides; give CAP_NET_ADMIN",
                device=device.name, problem=error.strerror,
            )  # fmt: skip
            continue
        if port:
            yield port


def _has_ipsec() -> bool:
    """Whether there are security associations. Only their number is asked for: the list would hold their keys."""
    try:
        body = ask(_NETLINK_XFRM, _GET_SAD_INFO, bytes(4), size=64)
    except OSError:  # a kernel without IPsec, or no CAP_NET_ADMIN
        return False
    return any(attributes(body[4:]).get(_SAD_COUNT, b""))


def _is_address(value: bytes) -> bool:
    return len(value) in (4, 16) and any(value)


def _port(value: bytes) -> int:
    return int.from_bytes(value, "big") if len(value) == 2 else 0


def _text(value: bytes) -> str:
    return value.partition(b"\0")[0].decode("utf-8", "replace")
