# SPDX-License-Identifier: Apache-2.0
"""Kernel settings of the lab's namespaces, fixed so that no measurement depends on the machine's own.

A new namespace inherits several of these from the machine's root namespace. Another congestion control there would
change how elephants queue, and so every figure. Paths are below /proc/sys/net.
"""

from __future__ import annotations

from typing import Final

CONGESTION_CONTROL: Final = ("cubic", "reno")
"""Linux's default, and what serves where the machine forbids it to its namespaces (its own setting
``tcp_allowed_congestion_control`` does). Both fill a FIFO; bbr, which some machines have as default, does not."""

TCP: Final[dict[str, str | tuple[str, ...]]] = {
    "ipv4/tcp_congestion_control": CONGESTION_CONTROL,
    # Linux's defaults: what nodes run unless somebody decided otherwise.
    "ipv4/tcp_rmem": "4096 131072 6291456",
    "ipv4/tcp_wmem": "4096 16384 4194304",
    # A connection must not remember that an earlier one to the same host met a full queue.
    "ipv4/tcp_no_metrics_save": "1",
}
"""For every namespace that ends a connection, pods included."""

HOST: Final[dict[str, str | tuple[str, ...]]] = {
    **TCP,
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/router_solicitations": "0",
}
"""For hosts on the bridge."""

NODE: Final[dict[str, str | tuple[str, ...]]] = {
    **HOST,
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/default/forwarding": "1",
    "netfilter/nf_conntrack_acct": "1",
    "netfilter/nf_conntrack_events": "1",
}
"""For nodes: routers with connection tracking, byte counts and events."""

# Bridged frames pass no IP hooks: the nodes' conntrack is the one that counts, and once is enough. Without
# br_netfilter, a module that nothing here loads, these settings do not exist, and frames pass no IP hooks anyway.
BRIDGE: Final = {"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0"}
