# SPDX-License-Identifier: Apache-2.0
"""What a real node finds in its network namespace: the fabric's link and routes, without the stand-in's help.

Enters: a namespace that the fabric has made. Leaves: the same, as a freshly installed machine with a network
plugin has it: connection tracking is kube-proxy's affair, byte accounting is off, pods are masqueraded where they
leave the cluster. Packets to other nodes' pods are routed as they are (host-gw) or, over IPv4, in a VXLAN tunnel.
With kube-router, that program makes routes and masquerading, and nothing of it is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.network import addresses, commands, netns, rules

HOST_GW: Final = "host-gw"
VXLAN: Final = "vxlan"
KUBE_ROUTER: Final = "kube-router"
NETWORKS: Final = (HOST_GW, VXLAN, KUBE_ROUTER)

TUNNEL: Final = "flannel.1"
TUNNEL_PORT: Final = 8472
"""UDP, as flannel's and Linux's own default; the standard's is 4789."""
_TUNNEL_HEADERS: Final = 50
"""Bytes of IPv4, UDP, VXLAN and inner Ethernet headers before each inner packet."""
MTU: Final = {HOST_GW: 1500, VXLAN: 1500 - _TUNNEL_HEADERS, KUBE_ROUTER: 1500}
"""Of pods' interfaces."""

SYSCTLS: Final = {
    "netfilter/nf_conntrack_acct": "0",  # Linux's default; the agent of the chart switches it on
    # A pod's answer to a pod on the same bridge passes the rules that translated the request.
    "bridge/bridge-nf-call-iptables": "1",
    "bridge/bridge-nf-call-ip6tables": "1",
}
"""Of a node, below /proc/sys/net."""


def prepare(namespace: str, index: int, network: str, others: Sequence[int]) -> None:
    """Make node ``index``'s namespace ready for a kubelet; ``others`` are the other nodes. Raises CommandError."""
    # The stand-in gives each pod a route of its own; the bridge has one for all, which these would hide.
    commands.ip_batch(
        namespace,
        f"route del unreachable {addresses.pod_cidr_v4(index)}\n"
        f"route del unreachable {addresses.pod_cidr_v6(index)}\n",
    )
    ours = masquerade() if network != KUBE_ROUTER else ""
    commands.nft(namespace, f"delete table {rules.TABLE}\n{ours}")
    commands.sysctl(namespace, SYSCTLS)
    if network == KUBE_ROUTER:
        commands.ip_batch(namespace, forget(others))
    if network == VXLAN:
        commands.ip_batch(namespace, tunnel(index, others))
        with netns.entered(namespace):
            for other in others:
                forward = ["append", _tunnel_mac(other), "dev", TUNNEL, "dst", addresses.node_v4(other)]
                commands.run(["bridge", "fdb", *forward])


def forget(others: Sequence[int]) -> str:
    """``ip`` lines that remove the fabric's routes to other nodes' pods."""
    ranges = [cidr for other in others for cidr in (addresses.pod_cidr_v4(other), addresses.pod_cidr_v6(other))]
    return "".join(f"route del {cidr} dev eth0\n" for cidr in ranges)


def tunnel(index: int, others: Sequence[int]) -> str:
    """``ip`` lines for node ``index``'s end: the device, and how each other node's pods are reached through it."""
    lines = [
        f"link add {TUNNEL} address {_tunnel_mac(index)} mtu {MTU[VXLAN]} type vxlan id 1 dev eth0 "
        f"local {addresses.node_v4(index)} dstport {TUNNEL_PORT} nolearning",
        f"addr add {_tunnel_address(index)}/32 dev {TUNNEL}",
        f"link set {TUNNEL} up",
    ]
    for other in others:
        lines += [
            f"neigh add {_tunnel_address(other)} lladdr {_tunnel_mac(other)} dev {TUNNEL} nud permanent",
            f"route replace {addresses.pod_cidr_v4(other)} via {_tunnel_address(other)} dev {TUNNEL} onlink",
        ]
    return "\n".join(lines) + "\n"


def _tunnel_address(index: int) -> str:
    """The first address of a node's pods' range: no pod has it."""
    return addresses.pod_cidr_v4(index).partition("/")[0]


def _tunnel_mac(index: int) -> str:
    return addresses.mac(_tunnel_address(index))


def masquerade() -> str:
    """An nft script: pods that leave the pods' network do so behind their node's address."""
    families = (("ip", addresses.CLUSTER_CIDR_V4), ("ip6", addresses.CLUSTER_CIDR_V6))
    lines = "".join(
        f'        oifname "eth0" {family} saddr {pods} {family} daddr != {pods} masquerade\n'
        for family, pods in families
    )
    return (
        "table inet node-masquerade {\n"
        "    chain leaving {\n"
        "        type nat hook postrouting priority srcnat; policy accept;\n"
        f"{lines}"
        "    }\n"
        "}\n"
    )
