# SPDX-License-Identifier: Apache-2.0
"""A node for benchmarks inside a virtual machine: pods behind it, a server at its uplink, each in a namespace.

Leaves: names of the namespaces, which are removed afterwards. Only the node forwards and tracks connections. The
server drops datagrams to ``SILENT`` ports without a reply.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.network import netns
from nodeagent.sources.base import Locality

PODS: Final = 250
SERVER: Final = "10.60.0.2"
UPLINK: Final = "uplink"
SILENT: Final = (10_000, 31_999)
COMPILE_SECONDS: Final = 900.0
"""For bcc in a guest whose clock counts instructions, where the agent's own limit is too short."""
_LINKS: Final = (("pods", "10.50.255.254/16"), (UPLINK, "10.60.0.1/24"))
_KNOBS: Final = {
    "ipv4/ip_forward": 1,
    "netfilter/nf_conntrack_acct": 1,
    "netfilter/nf_conntrack_udp_timeout": 3600,
    "netfilter/nf_conntrack_udp_timeout_stream": 3600,
}


@dataclass(frozen=True, slots=True)
class BenchNode:
    """Names of the namespaces."""

    node: str
    pods: str
    server: str


def pod_address(number: int) -> str:
    """The address of pod ``number``, from 0."""
    return f"10.50.0.{number + 1}"


def locality() -> Locality:
    """250 pods and the node's own addresses, as the agent would pass them to its source."""
    own = ("127.0.0.1", *(address.partition("/")[0] for _, address in _LINKS))
    return Locality(
        pods={socket.inet_aton(pod_address(number)): f"pod-{number}" for number in range(PODS)},
        node=frozenset(socket.inet_aton(address) for address in own),
    )


@contextmanager
def node(mtu: int = 1500) -> Iterator[BenchNode]:
    """The node, tracking connections. ``mtu`` in bytes, of every link."""
    made = BenchNode(*(f"tf-bench-{os.getpid()}-{part}" for part in ("node", "pods", "server")))
    names = (made.node, made.pods, made.server)
    try:
        netns.create_all(names)
        _wire(made, mtu)
        yield made
    finally:
        netns.delete_all(names)


def send(source: str, made: BenchNode) -> socket.socket:
    """A UDP socket of a pod."""
    with netns.entered(made.pods):
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind((source, 0))
    return opened


def _wire(made: BenchNode, mtu: int) -> None:
    for (link, address), other in zip(_LINKS, (made.pods, made.server), strict=True):
        _ip(made.node, f"link add {link} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {other}\n"
                       f"addr add {address} dev {link}\nlink set {link} up")  # fmt: skip
    addresses = "\n".join(f"addr add {pod_address(number)}/16 dev eth0" for number in range(PODS))
    _ip(made.pods, f"{addresses}\nlink set eth0 up\nroute add default via 10.50.255.254")
    _ip(made.server, f"addr add {SERVER}/24 dev eth0\nlink set eth0 up\nroute add default via 10.60.0.1")
    _nft(made.node, "chain forward { type filter hook forward priority 0; ct state invalid counter; }")
    low, high = SILENT
    _nft(made.server, f"chain in {{ type filter hook input priority 0; udp dport {low}-{high} drop; }}")
    with netns.entered(made.node):  # conntrack's knobs exist once connections are tracked
        for knob, value in _KNOBS.items():
            Path("/proc/sys/net", knob).write_text(str(value))


def _ip(namespace: str, lines: str) -> None:
    with netns.entered(namespace):
        subprocess.run(["ip", "-batch", "-"], input=lines, text=True, check=True)


def _nft(namespace: str, chain: str) -> None:
    with netns.entered(namespace):
        subprocess.run(["nft", "-f", "-"], input=f"table inet bench {{\n{chain}\n}}\n", text=True, check=True)
