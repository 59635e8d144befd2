# SPDX-License-Identifier: Apache-2.0
"""A node's lasting nftables rules: they switch connection tracking on and masquerade pods that leave the cluster.

Leaves: one nft script. Service addresses have a table of their own (``lab.network.services``).
"""

from __future__ import annotations

from typing import Final

from lab.network.addresses import CLUSTER_CIDR_V4, CLUSTER_CIDR_V6

TABLE: Final = "inet node"


def node_rules() -> str:
    """Masquerading of pod traffic that leaves the cluster; pod to pod keeps its addresses.

    The rules mention connection state, which is what makes the kernel track connections in this namespace at all,
    for both families and for forwarded and local traffic alike.
    """
    return f"""\
table {TABLE} {{
    chain track-in {{
        type filter hook prerouting priority filter; policy accept;
        ct state invalid counter
    }}
    chain track-out {{
        type filter hook output priority filter; policy accept;
        ct state invalid counter
    }}
    chain leaving {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname "eth0" ip saddr {CLUSTER_CIDR_V4} ip daddr != {CLUSTER_CIDR_V4} masquerade
        oifname "eth0" ip6 saddr {CLUSTER_CIDR_V6} ip6 daddr != {CLUSTER_CIDR_V6} masquerade
    }}
}}
"""
