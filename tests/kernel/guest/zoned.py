# SPDX-License-Identifier: Apache-2.0
"""A node whose packets cross two conntrack zones, as they do under Open vSwitch: zone 0 where the pods are, zone 1
where the uplink is. A veth pair inside the node joins them, and each side of it tracks every packet.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.node.locality import node_addresses
from nodeagent.sources.base import Locality
from tests import nft
from tests.kernel.guest.network import run_ip
from tests.kernel.guest.traffic import packed

POD, UID, SERVER, NODE, SERVICE = "10.99.1.2", "uid-1", "10.99.9.2", "10.99.9.1", "10.96.0.10"
MASQUERADE: Final = "10.98.0.1"
"""Counts as the node's: under it packets leave zone 0 for zone 1."""
WAYS: Final = {
    "nothing translated": (8000, SERVER),
    "service in the first": (8001, SERVICE),
    "service in the second": (8002, SERVICE),
    "masqueraded in the first": (8003, SERVER),
    "masqueraded in the second": (8004, SERVER),
}
"""Port and address that the pod calls; SERVER answers at the port."""

_RULES: Final = f"""
table inet truth {{
  counter in_pod {{ }}
  counter out_pod {{ }}
  chain first {{
    type filter hook prerouting priority -310;
    iifname "pod" meta l4proto {{ tcp, udp }} counter name in_pod
  }}
  chain last {{
    type filter hook postrouting priority 310;
    oifname "pod" meta l4proto {{ tcp, udp }} counter name out_pod
  }}
}}
table inet zones {{
  chain pre {{
    type filter hook prerouting priority raw;
    iifname {{ "outer", "uplink" }} ct zone set 1
  }}
  chain track {{ type filter hook prerouting priority -100; ct state new counter; }}
}}
table ip nat {{
  chain pre {{
    type nat hook prerouting priority dstnat;
    iifname "pod" meta l4proto {{ tcp, udp }} ip daddr {SERVICE} th dport 8001 dnat to {SERVER}
    iifname "outer" meta l4proto {{ tcp, udp }} ip daddr {SERVICE} th dport 8002 dnat to {SERVER}
  }}
  chain post {{
    type nat hook postrouting priority srcnat;
    oifname "inner" meta l4proto {{ tcp, udp }} th dport 8003 snat to {MASQUERADE}
    oifname "uplink" meta l4proto {{ tcp, udp }} th dport 8004 snat to {NODE}
  }}
}}
"""
_numbers = itertools.count()


@dataclass(frozen=True)
class Zoned:
    """Names of the namespaces."""

    node: str
    pod: str
    server: str

    def locality(self) -> Locality:
        with netns.entered(self.node):
            return Locality({packed(POD): UID}, node_addresses() | {packed(MASQUERADE)})

    def counted(self) -> dict[str, int]:
        with netns.entered(self.node):
            return nft.counters()

    def devices(self) -> str:
        with netns.entered(self.node):
            return Path("/proc/thread-self/net/dev").read_text()

    def entries(self) -> list[str]:
        """The connection table, a line an entry."""
        with netns.entered(self.node):
            shown = subprocess.run(["conntrack", "-L"], check=True, capture_output=True, text=True)
        return [line for line in shown.stdout.splitlines() if "port=800" in line]

    def flush(self, *only: str) -> None:
        with netns.entered(self.node):
            subprocess.run(["conntrack", *(only or ("-F",))], check=True, capture_output=True)


@contextmanager
def zoned() -> Iterator[Zoned]:
    """The network, gone afterwards."""
    names = [f"tfz-{os.getpid()}-{next(_numbers)}-{part}" for part in ("node", "pod", "server")]
    net = Zoned(*names)
    try:
        netns.create_all(names)
        _wire(net)
        yield net
    finally:
        netns.delete_all(names)


def _wire(net: Zoned) -> None:
    for name in (net.node, net.pod, net.server):
        with netns.entered(name):
            for key, value in (
                ("ipv4/ip_forward", "1"), ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
                ("ipv4/conf/all/send_redirects", "0"), ("ipv4/conf/default/send_redirects", "0"),
                ("ipv4/conf/all/accept_local", "1"), ("ipv6/conf/default/disable_ipv6", "1"),
            ):  # fmt: skip
                Path("/proc/sys/net", key).write_text(value)
    run_ip(net.node, f"""link add pod type veth peer name eth0 netns {net.pod}
        link add uplink type veth peer name eth0 netns {net.server}
        link add inner address 02:00:00:00:07:01 type veth peer name outer address 02:00:00:00:07:02
        addr add 10.99.1.1/24 dev pod
        addr add {NODE}/24 dev uplink
        link set pod up
        link set uplink up
        link set inner up
        link set outer up
        neigh add 169.254.7.2 lladdr 02:00:00:00:07:02 dev inner
        neigh add 169.254.7.1 lladdr 02:00:00:00:07:01 dev outer
        route add default via 169.254.7.2 dev inner onlink table 100
        route add default via 169.254.7.1 dev outer onlink table 101
        route add 10.96.0.0/16 via {SERVER} dev uplink
        rule add iif pod lookup 100 priority 10
        rule add iif uplink lookup 101 priority 11""")  # fmt: skip
    run_ip(net.pod, f"""addr add {POD}/24 dev eth0
        link set eth0 up
        route add default via 10.99.1.1""")  # fmt: skip
    run_ip(net.server, f"""addr add {SERVER}/24 dev eth0
        link set eth0 up
        route add default via {NODE}""")  # fmt: skip
    with netns.entered(net.node):
        subprocess.run(["nft", "-f", "-"], input=_RULES, text=True, check=True)
