# SPDX-License-Identifier: Apache-2.0
"""A node with three ways out and two pods, each end its own network namespace.

``eth0`` has the default route, ``eth1`` another one in a table of its own, ``san0`` leads to a storage network.
All end in one namespace, ``world``, which has the addresses behind them. The node's own chains count each
interface.
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
from tests import nft

POD1, POD2 = "10.99.1.2", "10.99.2.2"
SERVER: Final = "10.77.0.1"
"""Wherever routes lead."""
STORAGE: Final = "10.55.0.1"
"""Behind ``san0``."""
UPLINKS: Final = (("eth0", "172.31.77"), ("eth1", "172.31.78"), ("san0", "172.31.79"))
PODS: Final = (("pod1", "10.99.1"), ("pod2", "10.99.2"))

COUNTED: Final = (*(name for name, _ in UPLINKS), "vlan5", "bond0")
"""Interfaces whose packets are counted, if there are such."""
_COUNTED: Final = "\n".join(
    f'counter out_{name} {{ }}\ncounter in_{name} {{ }}' for name in COUNTED
)  # fmt: skip
_OUT: Final = "\n".join(f'oifname "{name}" counter name out_{name}' for name in COUNTED)
_IN: Final = "\n".join(f'iifname "{name}" counter name in_{name}' for name in COUNTED)
RULES: Final = f"""
table inet lab {{
{_COUNTED}
  chain first {{ type filter hook prerouting priority -310;
{_IN}
  }}
  chain last {{ type filter hook postrouting priority 310;
{_OUT}
  }}
  chain track {{ type filter hook prerouting priority -100; ct state new counter; }}
}}
"""
_numbers = itertools.count()


@dataclass(frozen=True)
class Network:
    """Names of the namespaces."""

    node: str
    world: str
    pod1: str
    pod2: str

    def counted(self) -> dict[str, int]:
        """IP bytes that the node's own rules counted, as ``in_NAME`` and ``out_NAME``."""
        with netns.entered(self.node):
            return nft.counters()

    def ip(self, namespace: str, lines: str) -> None:
        """Commands of ``ip``, one a line."""
        batch = "\n".join(line.strip() for line in lines.strip().splitlines())
        with netns.entered(namespace):
            subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True)


@contextmanager
def network() -> Iterator[Network]:
    """The network, gone afterwards. Routes other than the default one and ``san0``'s are the test's."""
    prefix = f"tfu-{os.getpid()}-{next(_numbers)}"
    net = Network(*(f"{prefix}-{part}" for part in ("node", "world", "pod1", "pod2")))
    names = [net.node, net.world, net.pod1, net.pod2]
    try:
        netns.create_all(names)
        _wire(net)
        yield net
    finally:
        netns.delete_all(names)


def _wire(net: Network) -> None:
    for name, prefix in UPLINKS:
        net.ip(
            net.node,
            f"""link add {name} type veth peer name {name} netns {net.world}
            addr add {prefix}.1/24 dev {name}
            link set {name} up""",
        )
        net.ip(net.world, f"addr add {prefix}.2/24 dev {name}\nlink set {name} up")
    for (name, prefix), namespace in zip(PODS, (net.pod1, net.pod2), strict=True):
        net.ip(
            net.node,
            f"""link add {name} type veth peer name eth0 netns {namespace}
            addr add {prefix}.1/24 dev {name}
            link set {name} up""",
        )
        net.ip(namespace, f"addr add {prefix}.2/24 dev eth0\nlink set eth0 up\nroute add default via {prefix}.1")
    net.ip(net.node, "route add default via 172.31.77.2\nroute add 10.55.0.0/16 via 172.31.79.2 dev san0")
    net.ip(
        net.world,
        f"""addr add {SERVER}/32 dev lo
        addr add {STORAGE}/32 dev lo
        route add 10.99.0.0/16 via 172.31.77.1""",
    )
    for name in (net.node, net.world):
        with netns.entered(name):
            _forwards()
    with netns.entered(net.node):
        subprocess.run(["nft", "-f", "-"], input=RULES, text=True, check=True)
        # Connections made before a source is opened have counters as well.
        Path("/proc/sys/net/netfilter/nf_conntrack_acct").write_text("1")


def _forwards() -> None:
    """Forward, and take packets by whichever way they come: the way back need not be the same."""
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for folder in Path("/proc/sys/net/ipv4/conf").iterdir():
        (folder / "rp_filter").write_text("0")
