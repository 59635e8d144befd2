# SPDX-License-Identifier: Apache-2.0
"""How a node's guest is on the fabric, and what it finds there.

Enters: the network namespace that the fabric made for the node. Leaves: the same as a cable: its eth0, shaped as
the fabric did, and QEMU's device on one bridge. The guest has the node's addresses, and the hardware address by
which its neighbours know them. Its settings, routes and neighbours are texts that its process 1 reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from lab.network import addresses, commands, fabric, rules, sysctls
from lab.nodes.real import network
from lab.nodes.real.vm.machine import TAP

_BRIDGE: Final = "cable"


def lay(namespace: str) -> None:
    """Make ``namespace`` the cable of a guest. Raises CommandError."""
    commands.nft(namespace, f"delete table {rules.TABLE}\n")
    commands.ip_batch(
        namespace,
        "addr flush dev eth0\n"
        f"link add {_BRIDGE} type bridge stp_state 0 mcast_snooping 0\n"
        f"link set {_BRIDGE} addrgenmode none up\n"
        # Its own address is the guest's now: a bridge keeps for itself what is sent to a port's address.
        "link set eth0 address 02:01:00:00:00:01\n"
        f"link set eth0 master {_BRIDGE}\n"
        f"tuntap add dev {TAP} mode tap\n"
        f"link set {TAP} master {_BRIDGE} addrgenmode none up\n",
    )
    commands.sysctl(namespace, sysctls.BRIDGE, optional=True)


def texts(index: int, hosts: Sequence[fabric.Host]) -> dict[str, str]:
    """What the guest of node ``index`` needs to be one of ``hosts``: lines for ``ip``, ``nft`` and ``sysctl``."""
    own = next(host for host in hosts if host.index == index)
    return {
        "network.ip": "link set lo up\n" + "".join(
            f"{line}\n" for line in fabric.host_script(own, hosts).splitlines()
            # The bridge of the pods has a route for all of them, which these would hide.
            if "unreachable" not in line
        ),
        "network.nft": network.masquerade(),
        "sysctl.conf": "".join(f"net.{path.replace('/', '.')}={value}\n" for path, value in _settings().items()),
    }  # fmt: skip


def _settings() -> dict[str, str]:
    chosen = {path: value if isinstance(value, str) else value[0] for path, value in sysctls.NODE.items()}
    return {**chosen, **network.SYSCTLS}


def mac(index: int) -> str:
    """The guest's hardware address."""
    return addresses.mac(addresses.node_v4(index))
