# SPDX-License-Identifier: Apache-2.0
"""A pod's network namespace as KubeVirt sets it up for a virtual machine, and what the guest is told.

Read in KubeVirt's source (1.9, ``pkg/network/setup/netpod``): names, addresses, rules and their order. It is a
stand-in all the same: no part of KubeVirt runs here.

- masquerade: a bridge with the guest's gateway, and the guest's tap on it. nftables gives what the guest sends the
  pod's address, and sends on to the guest what comes for the pod.
- bridge: the guest's tap and the pod's interface are on one bridge. The guest has the pod's addresses and its MAC
  address; the pod's interface gets another one, and a dummy keeps the name.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import Final

from lab.network import commands, netns

TAP: Final = "tap0"
BRIDGE: Final = "k6t-eth0"
BINDINGS: Final = ("masquerade", "bridge")
_MASQUERADE_MAC: Final = "02:00:00:00:00:00"
_GUEST_MAC: Final = "52:54:00:a8:5c:01"

_OTHER_MAC: Final = "0a:58:0a:63:02:77"
_TAP: Final = f"""tuntap add dev {TAP} mode tap
        link set {TAP} master {BRIDGE}
        link set {TAP} up"""
_FORWARDING: Final = {"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1"}

_NAT: Final = """
table {family} nat {{
  chain prerouting {{ type nat hook prerouting priority -100; }}
  chain input {{ type nat hook input priority 100; }}
  chain output {{ type nat hook output priority -100; }}
  chain postrouting {{ type nat hook postrouting priority 100; }}
  chain KUBEVIRT_PREINBOUND {{ }}
  chain KUBEVIRT_POSTINBOUND {{ }}
}}
add rule {family} nat postrouting {family} saddr {guest} counter masquerade
add rule {family} nat prerouting iifname eth0 counter jump KUBEVIRT_PREINBOUND
add rule {family} nat postrouting oifname k6t-eth0 counter jump KUBEVIRT_POSTINBOUND
add rule {family} nat KUBEVIRT_PREINBOUND counter dnat to {guest}
add rule {family} nat KUBEVIRT_POSTINBOUND {family} saddr {{ {loopback} }} counter snat to {gateway}
add rule {family} nat output {family} daddr {{ {loopback} }} counter dnat to {guest}
"""


@dataclass(frozen=True)
class Guest:
    """What a guest is told by DHCP and router advertisements, or sets itself."""

    mac: str
    address4: str
    gateway4: str
    address6: str
    gateway6: str

    def script(self, device: str) -> str:
        """Lines for ``ip``. ``nodad`` and the like are the caller's to add where the guest needs them."""
        return f"""link set {device} up
            addr add {self.address4}/24 dev {device}
            route add default via {self.gateway4}
            addr add {self.address6}/64 dev {device}
            route add ::/0 via {self.gateway6}"""


def bind(pod: str, binding: str, address4: str, address6: str) -> Guest:
    """Give the namespace ``pod`` a tap for a guest. The addresses are those of its eth0, whose gateways are .1 and
    :1 (``tests.kernel.guest.network``)."""
    if binding == "masquerade":
        return _masquerade(pod)
    net4, net6 = address4.rpartition(".")[0], address6.rpartition(":")[0]
    guest = Guest(_mac(pod), address4, f"{net4}.1", address6, f"{net6}:1")
    _bridge(pod, guest)
    return guest


def _masquerade(pod: str) -> Guest:
    guest = Guest(_GUEST_MAC, "10.0.2.2", "10.0.2.1", "fd10:0:2::2", "fd10:0:2::1")
    commands.ip_batch(
        pod,
        f"""link add {BRIDGE} address {_MASQUERADE_MAC} type bridge
        addr add {guest.gateway4}/24 dev {BRIDGE}
        addr add {guest.gateway6}/120 dev {BRIDGE} nodad
        link set {BRIDGE} up
        {_TAP}""",
    )
    commands.sysctl(pod, {**_FORWARDING, f"ipv4/conf/{BRIDGE}/route_localnet": "1"})
    for family, own, gateway, loopback in (
        ("ip", guest.address4, guest.gateway4, "127.0.0.1"),
        ("ip6", guest.address6, guest.gateway6, "::1"),
    ):
        commands.nft(pod, _NAT.format(family=family, guest=own, gateway=gateway, loopback=loopback))
    return guest


def _bridge(pod: str, guest: Guest) -> None:
    """The dummy keeps addresses and name, and answers nobody's question for them."""
    commands.sysctl(pod, {"ipv4/conf/all/arp_ignore": "1"})
    commands.ip_batch(
        pod,
        f"""link add {BRIDGE} type bridge
        addr add 169.254.75.10/32 dev {BRIDGE}
        link set {BRIDGE} up
        link set eth0 down
        addr flush dev eth0
        link set eth0 name eth0-nic address {_OTHER_MAC} addrgenmode none
        link set eth0-nic master {BRIDGE} up
        {_TAP}""",
    )
    try:
        commands.ip_batch(pod, f"link add eth0 address {guest.mac} type dummy")
    except commands.CommandError:  # a kernel without dummies: a bridge without ports leads nowhere either
        commands.ip_batch(pod, f"link add eth0 address {guest.mac} type bridge")
    commands.ip_batch(
        pod,
        f"""addr add {guest.address4}/24 dev eth0
        addr add {guest.address6}/64 dev eth0""",
    )


def _mac(pod: str) -> str:
    with netns.entered(pod):
        shown = subprocess.run(["ip", "-j", "link", "show", "eth0"], capture_output=True, check=True)
    return str(json.loads(shown.stdout)[0]["address"])
