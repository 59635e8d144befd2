# SPDX-License-Identifier: Apache-2.0
"""What a real node finds in its network namespace: the fabric's link and routes, without the stand-in's help.

Enters: a namespace that the fabric has made. Leaves: the same, as a freshly installed machine with a bridge
plugin has it: connection tracking is kube-proxy's affair, byte accounting is off, routes lead to the other nodes'
pods (host-gw), pods are masqueraded where they leave the cluster.
"""

from __future__ import annotations

from typing import Final

from lab.network import addresses, commands, rules

_SYSCTLS: Final = {
    "netfilter/nf_conntrack_acct": "0",  # Linux's default; the agent of the chart switches it on
    # A pod's answer to a pod on the same bridge passes the rules that translated the request.
    "bridge/bridge-nf-call-iptables": "1",
    "bridge/bridge-nf-call-ip6tables": "1",
}


def prepare(namespace: str, index: int) -> None:
    """Make node ``index``'s namespace ready for a kubelet. Raises CommandError."""
    # The stand-in gives each pod a route of its own; the bridge has one for all, which these would hide.
    commands.ip_batch(
        namespace,
        f"route del unreachable {addresses.pod_cidr_v4(index)}\n"
        f"route del unreachable {addresses.pod_cidr_v6(index)}\n",
    )
    commands.nft(namespace, f"delete table {rules.TABLE}\n{masquerade()}")
    commands.sysctl(namespace, _SYSCTLS)


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
