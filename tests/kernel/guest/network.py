# SPDX-License-Identifier: Apache-2.0
"""The node of the scenarios: pods behind it, a server on its uplink, each its own network namespace.

The node forwards, tracks connections and translates addresses as a Kubernetes node does. Its outermost chains
count every packet of each interface, so that a source's figures can be compared with somebody else's.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.sources.base import Locality
from tests import nft
from tests.kernel.guest.traffic import packed

POD1_4, POD1_6 = "10.99.1.2", "fd99:1::2"
POD2_4, POD2_6 = "10.99.2.2", "fd99:2::2"
POD3_4, POD3_6 = "10.99.3.2", "fd99:3::2"
SERVER4, SERVER6 = "10.99.9.2", "fd99:9::2"
NODE4, NODE6 = "10.99.9.1", "fd99:9::1"
SERVICE4, SERVICE6 = "10.96.0.10", "fd96::10"
"""Answered by the server."""
NEAR_SERVICE4, NEAR_SERVICE6 = "10.96.0.11", "fd96::11"
"""Answered by pod 1."""

PORT: Final = 8000
MASQUERADED: Final = 8001
HOST_PORT: Final = 8081
ZONED: Final = 8050
OFFLOADED: Final = 8060
FORBIDDEN: Final = 8070
SILENT_PORTS: Final = (10_000, 31_999)
"""Below the ports that the kernel gives to callers."""

LINKS: Final = (("pod1", "10.99.1", "fd99:1:"), ("pod2", "10.99.2", "fd99:2:"),
                ("pod3", "10.99.3", "fd99:3:"), ("uplink", "10.99.9", "fd99:9:"))  # fmt: skip
"""Interface on the node, and the networks behind it: .1 is the node, .2 the other side."""

LOCALITY: Final = Locality(
    pods={
        packed(address): uid
        for uid, addresses in (
            ("uid-1", (POD1_4, POD1_6)), ("uid-2", (POD2_4, POD2_6)), ("uid-3", (POD3_4, POD3_6)),
        )
        for address in addresses
    },
    node=frozenset(
        packed(address)
        for address in (
            "127.0.0.1", "::1", *(f"{net}.1" for _, net, _ in LINKS), *(f"{net}:1" for *_, net in LINKS),
        )
    ),
)  # fmt: skip

_TRANSPORT: Final = "meta l4proto { tcp, udp, sctp }"
_COUNTERS: Final = "\n".join(f"counter {way}_{link} {{ }}" for link, *_ in LINKS for way in ("in", "out"))
_INCOMING: Final = "\n".join(f'iifname "{link}" {_TRANSPORT} counter name in_{link}' for link, *_ in LINKS)
_OUTGOING: Final = "\n".join(f'oifname "{link}" {_TRANSPORT} counter name out_{link}' for link, *_ in LINKS)

RULES: Final = f"""
table inet truth {{
  {_COUNTERS}
  chain first {{ type filter hook prerouting priority -310;
{_INCOMING}
  }}
  chain last {{ type filter hook postrouting priority 310;
{_OUTGOING}
  }}
}}
table inet zones {{
  chain pre {{
    type filter hook prerouting priority raw;
    {_TRANSPORT} th dport {ZONED} ct zone set 7
    {_TRANSPORT} th sport {ZONED} ct zone set 7
  }}
}}
table inet policies {{
  chain forward {{
    type filter hook forward priority filter;
    {_TRANSPORT} th dport {FORBIDDEN} drop
  }}
}}
table inet nat {{
  chain pre {{
    type nat hook prerouting priority dstnat;
    ip daddr {SERVICE4} dnat ip to {SERVER4}
    ip6 daddr {SERVICE6} dnat ip6 to {SERVER6}
    ip daddr {NEAR_SERVICE4} dnat ip to {POD1_4}
    ip6 daddr {NEAR_SERVICE6} dnat ip6 to {POD1_6}
    ip daddr {NODE4} {_TRANSPORT} th dport {HOST_PORT} dnat ip to {POD1_4}:{PORT}
    ip6 daddr {NODE6} {_TRANSPORT} th dport {HOST_PORT} dnat ip6 to [{POD1_6}]:{PORT}
  }}
  chain post {{
    type nat hook postrouting priority srcnat;
    oifname "uplink" {_TRANSPORT} th dport {MASQUERADED} masquerade
    ct status dnat iifname "pod1" oifname "pod1" masquerade
  }}
}}
"""

_TRACKING: Final = """
table inet sidecar {
  chain in { type filter hook input priority 0; ct state invalid drop; }
  chain out { type filter hook output priority 0; ct state invalid drop; }
}
"""
"""What makes a pod's own namespace track connections, as service meshes do."""

_SILENT: Final = f"""
table inet silent {{
  chain in {{
    type filter hook input priority 0;
    exthdr frag exists accept
    udp dport {SILENT_PORTS[0]}-{SILENT_PORTS[1]} drop
  }}
}}
"""
"""The server takes these datagrams without a word: no answer, no ICMP error.

A later fragment of IPv6 has no port, but kernel 6.18 reads part of its random identification as one. Without the
exception a third of all fragmented datagrams were lost."""


class RulesRefused(Exception):  # noqa: N818 - a kernel without the feature, not a fault
    """nft's complaint about a script."""


@dataclass(frozen=True)
class Network:
    """Names of the namespaces."""

    node: str
    pod1: str
    pod2: str
    pod3: str
    """Tracks connections itself."""
    server: str

    def counted(self) -> dict[str, int]:
        """IP bytes that the node's own rules counted, as ``in_LINK`` and ``out_LINK``."""
        with netns.entered(self.node):
            return nft.counters()

    def quiet(self) -> None:
        """Return once late acknowledgements have passed."""
        before, still = self._devices(), 0
        while still < _STILL:
            time.sleep(0.1)  # longer than TCP delays an acknowledgement
            after = self._devices()
            still = still + 1 if after == before else 0
            before = after

    def _devices(self) -> str:
        with netns.entered(self.node):
            return Path("/proc/thread-self/net/dev").read_text()

    def flush(self) -> None:
        """End every connection in the node's table."""
        with netns.entered(self.node):
            subprocess.run(["conntrack", "-F"], check=True, capture_output=True)

    def nft(self, script: str) -> None:
        """Apply ``script`` on the node."""
        _nft(self.node, script)

    def sysctl(self, name: str, value: str) -> None:
        """Set ``name`` (with slashes) on the node."""
        with netns.entered(self.node):
            Path("/proc/sys/", name).write_text(value)


_numbers = itertools.count()
_STILL: Final = 2
"""Looks in a row without a change: one processor may stand still while the other looks."""


@contextmanager
def network() -> Iterator[Network]:
    """The network, gone afterwards."""
    number = next(_numbers)
    names = [f"tfk-{os.getpid()}-{number}-{part}" for part in ("node", "pod1", "pod2", "pod3", "server")]
    net = Network(*names)
    try:
        netns.create_all(names)
        _wire(net)
        yield net
    finally:
        netns.delete_all(names)


def _wire(net: Network) -> None:
    for name in (net.node, net.pod1, net.pod2, net.pod3, net.server):
        with netns.entered(name):  # nothing on the wire but what a scenario sends
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
            Path("/proc/sys/net/ipv6/conf/default/router_solicitations").write_text("0")
    others = (net.pod1, net.pod2, net.pod3, net.server)
    for (link, net4, net6), other in zip(LINKS, others, strict=True):
        run_ip(net.node, f"""link add {link} type veth peer name eth0 netns {other}
            addr add {net4}.1/24 dev {link}
            addr add {net6}:1/64 dev {link} nodad
            link set {link} up""")  # fmt: skip
        run_ip(other, f"""addr add {net4}.2/24 dev eth0
            addr add {net6}:2/64 dev eth0 nodad
            link set eth0 up
            route add default via {net4}.1
            route add ::/0 via {net6}:1""")  # fmt: skip
    net.sysctl("net/ipv4/ip_forward", "1")
    net.sysctl("net/ipv6/conf/all/forwarding", "1")
    net.nft(RULES)
    _nft(net.pod3, _TRACKING)
    _nft(net.server, _SILENT)


def run_ip(namespace: str, lines: str) -> None:
    """Commands of ``ip``, one a line, inside ``namespace``."""
    batch = "\n".join(line.strip() for line in lines.splitlines())
    with netns.entered(namespace):
        subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)


def _nft(namespace: str, script: str) -> None:
    with netns.entered(namespace):
        done = subprocess.run(["nft", "-f", "-"], input=script, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RulesRefused(done.stderr)
