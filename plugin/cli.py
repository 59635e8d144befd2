# SPDX-License-Identifier: Apache-2.0
"""``kubectl-footprint`` (also ``kubectl footprint``): what the nodes published, as tables.

Enters: the API server's Nodes and Leases through a kubeconfig (and an extender's report). Leaves: text on stdout.
Reads only.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console, RenderableType
from rich.table import Table

from extender.cluster.watches import decode_node
from footprint.classes import TrafficClass
from footprint.cluster.client import ApiError, ClusterConfigError, connect, request
from footprint.codec import FootprintError, decode
from footprint.keys import DEFAULT_NAMESPACE, node_of_lease
from footprint.models import NodeFootprint, PodFootprint
from footprint.service import fail
from footprint.summary import elephant_share
from footprint.units import format_rate
from plugin import explain as kubectl_explain
from plugin import shadow as kubectl_shadow

PROGRAM: Final = "kubectl-footprint"
PAGE: Final = "500"


@dataclass(frozen=True, slots=True)
class Published:
    """One node's annotation, or why there is none."""

    name: str
    footprint: NodeFootprint | None
    problem: str = ""


def published(node: Mapping[str, Any]) -> Published:
    """What a Node's JSON says of its traffic."""
    info = decode_node(node)
    if info.annotation is None:
        return Published(info.name, None, "no footprint yet: is the node agent running there?")
    try:
        return Published(info.name, decode(info.annotation))
    except FootprintError as error:
        return Published(info.name, None, f"malformed footprint ({error.reason.value}): {error}")


def lease_ages(leases: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, str]:
    """Node → when its agent last renewed, for people; by the two machines' clocks, so only a hint."""
    ages: dict[str, str] = {}
    for lease in leases:
        node = node_of_lease(lease["metadata"]["name"])
        renewed = (lease.get("spec") or {}).get("renewTime")
        if node is None or not isinstance(renewed, str):
            continue
        try:
            seconds = (now - datetime.fromisoformat(renewed)).total_seconds()
        except (ValueError, TypeError):
            ages[node] = "unreadable"
            continue
        ages[node] = f"{max(seconds, 0):.0f} s ago"
    return ages


def _classes(pods: Iterable[PodFootprint]) -> str:
    counts = Counter(pod.cls for pod in pods)
    return ", ".join(f"{counts[cls]} {cls}" for cls in TrafficClass if counts[cls]) or "none"


def nodes_table(nodes: Iterable[Published], ages: Mapping[str, str]) -> Table:
    """One row per node."""
    table = Table("NODE", "ELEPHANTS", "OF LINK", "PODS", "SOURCE", "HEALTH", "LEASE", box=None)
    for node in nodes:
        lease, found = ages.get(node.name, "none"), node.footprint
        if found is None:
            table.add_row(node.name, "-", "-", "-", "-", node.problem, lease)
            continue
        capacity = format_rate(found.cap.busier) if found.cap.busier else "capacity unknown"
        share = f"{elephant_share(found)} %" if found.cap.busier else "?"
        health = ", ".join(found.bad) or "ok"
        table.add_row(node.name, share, capacity, _classes(found.pods), found.src, health, lease)
    return table


def pods_table(nodes: Iterable[Published], namespace: str | None) -> Table:
    """One row per measured pod, largest first on each node."""
    table = Table("NAMESPACE", "POD", "NODE", "CLASS", "TX", "RX", "ELEPHANTS", "FLOWS/S", "WORKLOAD", box=None)
    for node in nodes:
        for pod in node.footprint.pods if node.footprint else ():
            if namespace is None or pod.ns == namespace:
                rates = (format_rate(pod.tx), format_rate(pod.rx))
                table.add_row(
                    pod.ns, pod.name, node.name, str(pod.cls), *rates, str(pod.el), f"{pod.nf:g}", pod.wl
                )
    return table


class _Cluster:
    def __init__(self, kubeconfig: str | None) -> None:
        self._api = connect(kubeconfig, user_agent=PROGRAM)

    def read(self, path: str) -> Mapping[str, Any]:
        """The JSON object at ``path``. Raises ApiError."""
        return request(self._api, "GET", path)

    def items(self, path: str) -> list[dict[str, Any]]:
        """All objects of a collection, page by page. Raises ApiError."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            query = {"limit": PAGE} | ({"continue": token} if token else {})
            page = request(self._api, "GET", path, query=query)
            found += page.get("items") or []
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Show the traffic footprints that nodes published.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--kubeconfig",
        default=os.environ.get("KUBECONFIG", "~/.kube/config").split(":")[0],
        help="kubeconfig file",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    nodes = commands.add_parser("nodes", parents=[common], help="each node's link, pods and source")
    nodes.add_argument(
        "--lease-namespace", default=DEFAULT_NAMESPACE, help="namespace of the agents' Leases (%(default)s)"
    )
    pods = commands.add_parser("pods", parents=[common], help="each measured pod")
    pods.add_argument("-n", "--namespace", help="only pods of this namespace")
    kubectl_explain.add_parser(commands, common)
    kubectl_shadow.add_parser(commands, common)
    return parser


def _show(arguments: argparse.Namespace) -> RenderableType:
    if arguments.command == "explain":
        told = kubectl_explain.told(arguments, lambda: _Cluster(arguments.kubeconfig).items)
        return kubectl_explain.as_json(told) if arguments.output == "json" else kubectl_explain.rendered(told)
    if arguments.command == "shadow":
        report = kubectl_shadow.report(arguments, lambda: _Cluster(arguments.kubeconfig).read)
        return kubectl_shadow.as_json(report) if arguments.output == "json" else kubectl_shadow.rendered(report)
    cluster = _Cluster(arguments.kubeconfig)
    nodes = sorted(map(published, cluster.items("/api/v1/nodes")), key=lambda node: node.name)
    if arguments.command == "pods":
        return pods_table(nodes, arguments.namespace)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{quote(arguments.lease_namespace, safe='')}/leases"
    return nodes_table(nodes, lease_ages(cluster.items(path), datetime.now(UTC)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parsed = _parser().parse_args(arguments)
    try:
        shown = _show(parsed)
    except ClusterConfigError as error:
        fail(str(error))
    except ApiError as error:
        fail(f"the API server did not answer as expected: {error}", "check access with `kubectl get nodes`")
    if isinstance(shown, str):
        print(shown)
        return
    console = Console()
    # Piped output keeps whole rows: a width that no table reaches.
    (console if sys.stdout.isatty() else Console(width=10_000)).print(shown)
