# SPDX-License-Identifier: Apache-2.0
"""The lab's network: a bridge, nodes on it with shaped uplinks, the control plane and a host outside.

Enters: a lab's id and its nodes. Leaves: namespaces ``tf-<id>-*`` with links, addresses, routes and shaping.
Guarantees: nothing is made in the machine's own namespace. IPv4 and IPv6 work at once: there is no duplicate
address detection and no address resolution. Conntrack counts bytes on every node. ``destroy`` removes everything
whose name carries the lab's id, whoever made it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from footprint.units import parse_bandwidth
from lab.network import addresses, commands, netns, rules, shaping, sysctls

_LAB_ID: Final = re.compile(r"[a-z0-9]{1,16}")
_NODE_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_RESERVED: Final = frozenset({"cp", "outside", "fabric", "p"})


@dataclass(frozen=True)
class NodeSpec:
    """A node of the lab. ``link`` is its capacity in each direction, such as ``200M``."""

    name: str
    index: int
    link: str


class Fabric:
    """The namespaces of one lab, its pods' excepted. Raises ValueError for names and capacities it cannot use."""

    def __init__(self, lab_id: str, nodes: Sequence[NodeSpec]) -> None:
        if not _LAB_ID.fullmatch(lab_id):
            raise ValueError(f"lab id {lab_id!r}: use 1 to 16 lower-case letters and digits")
        _check_nodes(nodes)
        self.lab_id = lab_id
        self.nodes = tuple(nodes)
        self._rates = {node.name: parse_bandwidth(node.link) for node in nodes}

    @property
    def prefix(self) -> str:
        """What the names of all of this lab's namespaces begin with."""
        return f"tf-{self.lab_id}-"

    @property
    def cp_namespace(self) -> str:
        """Where the control plane runs."""
        return f"{self.prefix}cp"

    @property
    def outside_namespace(self) -> str:
        """A host that is no node: pods reach it through their node's address."""
        return f"{self.prefix}outside"

    @property
    def fabric_namespace(self) -> str:
        """Where the bridge is."""
        return f"{self.prefix}fabric"

    def node_namespace(self, name: str) -> str:
        """The namespace of node ``name``."""
        return f"{self.prefix}{name}"

    def create(self) -> None:
        """Make everything. On failure what was made is removed again before the error is raised."""
        try:
            self._create()
        except BaseException:
            self.destroy()
            raise

    def destroy(self) -> None:
        """Remove every namespace of this lab with the processes inside; may be called at any time, repeatedly."""
        netns.delete_all(netns.list_names(self.prefix))

    def _create(self) -> None:
        hosts = self.hosts()
        netns.create_all([self.fabric_namespace, *(host.namespace for host in hosts)])
        commands.ip_batch(self.fabric_namespace, bridge_script(hosts))
        commands.tc_batch(self.fabric_namespace, "".join(shaping.shape(h.port, h.rate) for h in hosts if h.rate))
        commands.sysctl(self.fabric_namespace, sysctls.BRIDGE, optional=True)
        for host in hosts:
            if host.rate:  # first: where connection tracking is a module, these rules are what loads it
                commands.nft(host.namespace, rules.node_rules())
            commands.sysctl(host.namespace, sysctls.NODE if host.index else sysctls.HOST)
            commands.ip_batch(host.namespace, host_script(host, hosts))
            if host.rate:
                commands.tc_batch(host.namespace, shaping.shape("eth0", host.rate))

    def hosts(self) -> list[Host]:
        """What is on the bridge: control plane, the host outside, the nodes."""
        return [
            Host(self.cp_namespace, "cp", addresses.CONTROL_PLANE_V4, addresses.CONTROL_PLANE_V6),
            Host(self.outside_namespace, "outside", addresses.OUTSIDE_V4, addresses.OUTSIDE_V6),
            *(
                Host(
                    self.node_namespace(node.name),
                    f"node{node.index}",
                    addresses.node_v4(node.index),
                    addresses.node_v6(node.index),
                    node.index,
                    self._rates[node.name],
                )
                for node in self.nodes
            ),
        ]


@dataclass(frozen=True)
class Host:
    """A namespace on the bridge; ``index`` is 0 and ``rate`` (bit/s) 0 for one that is no node."""

    namespace: str
    port: str
    v4: str
    v6: str
    index: int = 0
    rate: float = 0


def bridge_script(hosts: Sequence[Host]) -> str:
    """``ip`` lines for the bridge's namespace: a port for each host, its other end being that host's eth0."""
    lines = ["link add br0 type bridge stp_state 0 mcast_snooping 0", "link set br0 addrgenmode none up"]
    for host in hosts:
        lines += [
            f"link add {host.port} type veth peer name eth0 address {addresses.mac(host.v4)} "
            f"netns {host.namespace}",
            f"link set {host.port} master br0 gso_max_size {shaping.GSO_BYTES} addrgenmode none up",
        ]
    return "\n".join(lines) + "\n"


def host_script(host: Host, hosts: Sequence[Host]) -> str:
    """``ip`` lines inside one host: addresses, neighbours, routes to every other node's pods, default route."""
    lines = [
        f"link set eth0 gso_max_size {shaping.GSO_BYTES} addrgenmode none up",
        f"addr add {host.v4}/{addresses.BRIDGE_PREFIX_V4} dev eth0",
        f"addr add {host.v6}/{addresses.BRIDGE_PREFIX_V6} dev eth0 nodad",
    ]
    for other in hosts:
        if other.namespace == host.namespace:
            continue
        # Permanent neighbours: a lost or queued ARP request must not show up as a slow response.
        hardware = addresses.mac(other.v4)
        lines += [
            f"neigh add {address} lladdr {hardware} dev eth0 nud permanent" for address in (other.v4, other.v6)
        ]
        if other.index:
            lines += [
                f"route add {addresses.pod_cidr_v4(other.index)} via {other.v4} dev eth0",
                f"route add {addresses.pod_cidr_v6(other.index)} via {other.v6} dev eth0",
            ]
    if host.index:
        # The outside host is the nodes' way out, so that eth0 is where the default route goes. What no pod of this
        # node holds is answered here, not sent back out.
        lines += [
            f"route add default via {addresses.OUTSIDE_V4} dev eth0",
            f"route add default via {addresses.OUTSIDE_V6} dev eth0",
            f"route add unreachable {addresses.pod_cidr_v4(host.index)}",
            f"route add unreachable {addresses.pod_cidr_v6(host.index)}",
        ]
    return "\n".join(lines) + "\n"


def _check_nodes(nodes: Sequence[NodeSpec]) -> None:
    for node in nodes:
        if not _NODE_NAME.fullmatch(node.name) or node.name in _RESERVED or node.name.startswith("p-"):
            raise ValueError(
                f"node name {node.name!r}: use a DNS label other than {', '.join(sorted(_RESERVED))}, p-*"
            )
        addresses.node_v4(node.index)
        parse_bandwidth(node.link)
    for what, values in (("name", [n.name for n in nodes]), ("index", [str(n.index) for n in nodes])):
        if len(set(values)) != len(values):
            raise ValueError(f"two nodes share a {what}: {', '.join(values)}")
