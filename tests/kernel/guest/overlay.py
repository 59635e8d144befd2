# SPDX-License-Identifier: Apache-2.0
"""A node with tunnels of every kind to another one, and a pod behind each: every tunnel leads to the same far pod,
by an address of its own. The node's outermost chains count what is sent.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.node.locality import node_addresses
from nodeagent.node.netlink import ask, attribute
from nodeagent.node.tunnels import read_tunnels
from nodeagent.sources.base import Locality
from tests import nft
from tests.kernel.guest import ipsec
from tests.kernel.guest.network import run_ip
from tests.kernel.guest.traffic import packed

NODE, PEER, ELSEWHERE = "172.31.77.1", "172.31.77.2", "172.31.77.3"
"""No tunnel ends at the third one, which the peer has as well."""
POD: Final = "10.76.1.7"
UID: Final = "uid-1"
MTU: Final = 1300
"""Of the pods: every tunnel has room for its headers."""

KINDS: Final = (
    "vxlan", "vxlan-one-flow", "geneve", "ipip", "gre", "wireguard", "fou", "gue", "esp", "esp-in-udp",
)  # fmt: skip
ONE_FLOW: Final = ("vxlan-one-flow", "ipip", "wireguard", "gue", "esp", "esp-in-udp")
"""Whatever they carry, conntrack sees one flow of the node (VXLAN: one each way)."""
HERE: Final = ("vxlan", "vxlan-one-flow")
"""What a machine without the other drivers has."""
OUTER_PORT: Final = {
    "vxlan": 8472, "vxlan-one-flow": 4789, "geneve": 6081, "wireguard": 51820, "fou": 5555, "gue": 6080,
    "esp-in-udp": 4500,
}  # fmt: skip

_NUMBER: Final = {kind: 10 + number for number, kind in enumerate(KINDS)}
_KEYS: Final = tuple(
    map(
        bytes.fromhex,
        (
            "f0ec5fcee82139f36e8ec59bc3ba140f8e7365b538068162b56761d3d39bb65a",
            "05b28fa2504ee949715eea25448852549a1e18ec06ffc91d4a852d48531d2f62",
            "78a973d4c52f387d807c9c5088ed9bf5d85a80d3162ca9061a2ee0e2e4dc3751",
            "67f8ada8d506161167b55f41b76a990cfc55801ea3a9474f723fde20d66ea179",
        ),
    )
)
"""Made for this test: private and public, of the node and of its peer."""

_RULES: Final = """
table inet truth {
  counter in_pod { }
  counter out_pod { }
  counter in_uplink { }
  counter out_uplink { }
  chain first {
    type filter hook prerouting priority -310;
    iifname "pod" meta l4proto { tcp, udp } counter name in_pod
    iifname "uplink" meta l4proto != tcp counter name in_uplink
  }
  chain last {
    type filter hook postrouting priority 310;
    oifname "pod" meta l4proto { tcp, udp } counter name out_pod
    oifname "uplink" meta l4proto != tcp counter name out_uplink
  }
  chain track { type filter hook prerouting priority -100; ct state new counter; }
  chain track_own { type filter hook output priority -100; ct state new counter; }
}
"""
"""What an IPsec policy protects passes the uplink's chains twice, before as TCP: only what is around it counts."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Overlay:
    """Names of the namespaces."""

    node: str
    peer: str
    pod: str
    far: str

    def far_address(self, kind: str) -> str:
        """Of the far pod, where this tunnel leads."""
        return f"10.77.{_NUMBER[kind]}.7"

    def locality(self) -> Locality:
        """As the agent reads it on the node."""
        with netns.entered(self.node):
            return Locality({packed(POD): UID}, node_addresses(), read_tunnels().carriers)

    def counted(self) -> dict[str, int]:
        with netns.entered(self.node):
            return nft.counters()

    def devices(self) -> str:
        with netns.entered(self.node):
            return Path("/proc/thread-self/net/dev").read_text()

    def flush(self) -> None:
        with netns.entered(self.node):
            subprocess.run(["conntrack", "-F"], check=True, capture_output=True)


@contextmanager
def overlay(kinds: tuple[str, ...] = KINDS) -> Iterator[Overlay]:
    """The network, gone afterwards."""
    names = [f"tfo-{os.getpid()}-{next(_numbers)}-{part}" for part in ("node", "peer", "pod", "far")]
    net = Overlay(*names)
    try:
        netns.create_all(names)
        _wire(net)
        with ExitStack() as held:
            for kind in kinds:
                add_tunnel(net, kind)
            if "esp-in-udp" in kinds:
                for name in (net.node, net.peer):
                    held.enter_context(ipsec.takes_udp(name))
            yield net
    finally:
        netns.delete_all(names)


def _wire(net: Overlay) -> None:
    for name in (net.node, net.peer, net.pod, net.far):
        with netns.entered(name):
            for key, value in (
                ("ipv4/ip_forward", "1"), ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
                ("ipv6/conf/default/disable_ipv6", "1"),
            ):  # fmt: skip
                Path("/proc/sys/net", key).write_text(value)
    run_ip(net.node, f"""link add uplink type veth peer name uplink netns {net.peer}
        link add pod type veth peer name eth0 netns {net.pod}
        addr add {NODE}/24 dev uplink
        addr add 10.76.1.1/24 dev pod
        link set uplink up
        link set pod up""")  # fmt: skip
    run_ip(net.peer, f"""link add far type veth peer name eth0 netns {net.far}
        addr add {PEER}/24 dev uplink
        addr add {ELSEWHERE}/32 dev uplink
        addr add 10.77.0.1/16 dev far
        link set uplink up
        link set far up""")  # fmt: skip
    run_ip(net.pod, f"""addr add {POD}/24 dev eth0
        link set eth0 mtu {MTU} up
        route add default via 10.76.1.1""")  # fmt: skip
    run_ip(net.far, f"link set eth0 mtu {MTU} up")
    for number in _NUMBER.values():
        run_ip(net.far, f"addr add 10.77.{number}.7/16 dev eth0")
    run_ip(net.far, "route add default via 10.77.0.1")
    with netns.entered(net.node):
        subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True)


def add_tunnel(net: Overlay, kind: str) -> None:
    """One more tunnel: the node's end, the peer's, and the routes through both."""
    number = _NUMBER[kind]
    name = f"tun{number}"
    if kind.startswith("esp"):
        _protect(net, kind)
        return
    for side, namespace in enumerate((net.node, net.peer)):
        own, other = (NODE, PEER) if side == 0 else (PEER, NODE)
        _add_device(namespace, kind, name, own, other)
    via = f"dev {name}"
    if kind in ("vxlan", "vxlan-one-flow", "geneve"):
        via = f"via 10.88.{number}.{{}} dev {name}"
        for side, namespace in enumerate((net.node, net.peer)):
            run_ip(namespace, f"""addr add 10.88.{number}.{side + 1}/24 dev {name}
                neigh replace 10.88.{number}.{2 - side} lladdr {_mac(number, 1 - side)} dev {name}""")  # fmt: skip
    run_ip(net.node, f"route add 10.77.{number}.0/24 {via.format(2)}")
    run_ip(net.peer, f"""route add 10.76.1.0/24 {via.format(1)} table {number}
        rule add from 10.77.{number}.0/24 iif far lookup {number}""")  # fmt: skip


def _protect(net: Overlay, kind: str) -> None:
    """No device: a policy of the kernel turns packets to the far pod, which go to the peer, into ESP."""
    number = _NUMBER[kind]
    pods, far = "10.76.1.0/24", f"10.77.{number}.0/24"
    run_ip(net.node, f"route add {far} via {PEER}")
    run_ip(net.peer, f"""route add {pods} via {NODE} table {number}
        rule add from {far} iif far lookup {number}""")  # fmt: skip
    here, there = ipsec.End(net.node, NODE, pods), ipsec.End(net.peer, PEER, far)
    ipsec.protect(here, there, number, in_udp=kind == "esp-in-udp")


def _mac(number: int, side: int) -> str:
    return f"02:00:00:00:{number:02x}:{side + 1:02x}"


def _add_device(namespace: str, kind: str, name: str, own: str, other: str) -> None:
    side, number = int(own == PEER), int(name[3:])
    port = OUTER_PORT.get(kind, 0)
    made = {
        "vxlan": f"vxlan id 1 dstport {port} local {own} dev uplink nolearning",
        "vxlan-one-flow": f"vxlan id 2 srcport 5000 5001 dstport {port} local {own} dev uplink nolearning",
        "geneve": f"geneve id 1 remote {other} dstport {port}",
        "ipip": f"ipip local {own} remote {other}",
        "gre": f"gre local {own} remote {other} key 7",
        "wireguard": "wireguard",
        "fou": f"gre local {own} remote {other} key 8 encap fou encap-sport auto encap-dport {port}",
        "gue": f"gre local {own} remote {other} key 9 encap gue encap-sport {port} encap-dport {port}",
    }[kind]
    if kind in ("fou", "gue"):  # GRE with keys: of IPIP there can be one between two addresses
        subprocess.run(["modprobe", "fou"], check=True)
        run_ip(namespace, f"fou add port {port} {'gue' if kind == 'gue' else 'ipproto 47'}")
    address = f"address {_mac(number, side)} " if kind.startswith("vxlan") or kind == "geneve" else ""
    run_ip(namespace, f"link add {name} {address}mtu 1400 type {made}")
    if kind == "wireguard":
        _set_wireguard(namespace, name, side, other)
    run_ip(namespace, f"link set {name} up")
    if kind.startswith("vxlan"):
        with netns.entered(namespace):
            forward = ["bridge", "fdb", "append", _mac(number, 1 - side), "dev", name, "dst", other]
            subprocess.run(forward, check=True)


def _set_wireguard(namespace: str, name: str, side: int, other: str) -> None:
    """By the kernel's own interface: the guest has no program for it."""
    generic = struct.Struct("=BBH")
    endpoint = (
        struct.pack("=H", socket.AF_INET) + struct.pack(">H", OUTER_PORT["wireguard"]) + packed(other) + bytes(8)
    )
    everything = attribute(1, struct.pack("=H", socket.AF_INET)) + attribute(2, bytes(4)) + attribute(3, b"\0")
    peer = (
        attribute(1, _KEYS[3 - 2 * side])
        + attribute(4, endpoint)
        + attribute(9 | 0x8000, attribute(0x8000, everything))
    )
    request = (
        attribute(2, name.encode() + b"\0")
        + attribute(3, _KEYS[2 * side])
        + attribute(6, struct.pack("=H", OUTER_PORT["wireguard"]))
        + attribute(8 | 0x8000, attribute(0x8000, peer))
    )
    with netns.entered(namespace):
        family = ask(16, 16, generic.pack(3, 1, 0) + attribute(2, b"wireguard\0"), size=4096)
        number = next(value for kind, value in _pairs(family[generic.size :]) if kind == 1)
        try:
            ask(16, int.from_bytes(number, "little"), generic.pack(1, 1, 0) + request, size=64, flags=5)
        except OSError as error:  # an acknowledgement is an error of number 0
            if error.errno:
                raise


def _pairs(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]
