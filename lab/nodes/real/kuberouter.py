# SPDX-License-Identifier: Apache-2.0
"""kube-router as a lab's network: routes to other nodes' pods by BGP, NetworkPolicies by iptables and ipset.

Enters: a node's name and files. Leaves: the program's command line, the network plugins' configuration that it
completes, and what it may read of the cluster. Services stay kube-proxy's.

kube-router 2.1.0, the newest that the module proxy tried here serves, has two faults with two families of
addresses. Both are mended upstream in later versions. Its rules for IPv6 name sets without the prefix that these
have (kube-router's issue 1653), so ip6tables-restore takes none of them, and IPv6 stays open: ``restore`` adds the
prefix. And each family's turn writes the other's sets as they were before. Turns come in any order, so that sets
are right after some: ``_SYNC`` has them come soon.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from lab.network import addresses

USER: Final = "system:kube-router"
BRIDGE: Final = "kube-bridge"
ROUTE_TABLES: Final = Path("/etc/iproute2/rt_tables")
"""kube-router adds a line to it."""
_LEARNED: Final = "17"
"""The protocol number (zebra's) of the routes that it makes."""
RESTORE: Final = "ip6tables-restore"
"""What kube-router calls with its rules for IPv6."""
_SYNC: Final = "5s"
_READ: Final = ["list", "get", "watch"]
_RULES: Final = (
    {"apiGroups": [""], "resources": ["namespaces", "pods", "services", "nodes", "endpoints"], "verbs": _READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
    {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _READ},
)


def restore(machines: str) -> str:
    """A shell script: the machine's ip6tables-restore, at the path ``machines``, with the sets' whole names."""
    return f"#!/bin/sh\nsed 's/--match-set KUBE-/--match-set inet6:KUBE-/g' | {machines} \"$@\"\n"


def command(program: Path, node: str, kubeconfig: Path, plugins: Path, path: str) -> list[str | Path]:
    """How to start it on ``node``. ``plugins`` is the file with the network plugins' configuration, ``path`` says
    where it finds other programs."""
    return [
        "env", f"KUBE_ROUTER_CNI_CONF_FILE={plugins}", f"PATH={path}", program,
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node}",
        "--run-router=true", "--run-firewall=true", "--run-service-proxy=false",
        "--enable-overlay=false",  # one link joins all nodes
        "--enable-ipv6=true",
        f"--iptables-sync-period={_SYNC}",
        "--bgp-graceful-restart=true",  # without it, sessions carry routes of IPv4 alone
        f"--service-cluster-ip-range={addresses.SERVICE_CIDR_V4},{addresses.SERVICE_CIDR_V6}",
        "--v=1",
    ]  # fmt: skip


def cni() -> str:
    """The network plugins, as its own manifests write them: it adds the node's ranges of addresses.

    Besides, packets of a pod come back to it through its Service, and host ports work, as in the lab's other
    networks.
    """
    plugins: list[dict[str, Any]] = [
        {
            "type": "bridge", "bridge": BRIDGE, "isDefaultGateway": True, "hairpinMode": True,
            "ipam": {"type": "host-local"},
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]  # fmt: skip
    return json.dumps({"cniVersion": "0.3.1", "name": "pods", "plugins": plugins}, indent=1)


def objects() -> list[dict[str, Any]]:
    """The rights of USER."""
    rbac = "rbac.authorization.k8s.io"
    name = {"name": USER}
    return [
        {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": name, "rules": list(_RULES)},
        {
            "apiVersion": f"{rbac}/v1", "kind": "ClusterRoleBinding", "metadata": name,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": USER},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": USER}],
        },
    ]  # fmt: skip


def shown_routes(family: str) -> list[str | Path]:
    """Prints the routes that BGP has brought; ``family`` is ``-4`` or ``-6``."""
    return ["ip", family, "route", "show", "proto", _LEARNED]


def all_learned(shown: str, others: Sequence[int]) -> bool:
    """Whether ``shown``, of both families, leads to the pods of every node in ``others``."""
    known = {line.split()[0] for line in shown.splitlines() if line.strip()}
    wanted = {cidr for index in others for cidr in (addresses.pod_cidr_v4(index), addresses.pod_cidr_v6(index))}
    return wanted <= known
