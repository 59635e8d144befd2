# SPDX-License-Identifier: Apache-2.0
"""``kubectl footprint nodes`` and ``pods``: what the nodes published, as tables.

Enters: the API server's Nodes and Leases. Leaves: a row for each node, or for each measured pod. Reads only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from pydantic import Field, model_validator
from pydantic_settings import CliImplicitFlag, SettingsConfigDict
from rich.table import Table

from footprint.classes import TrafficClass
from footprint.cluster import paths
from footprint.keys import DEFAULT_NAMESPACE
from footprint.models import CapacitySource, NodeFootprint, PodFootprint, Uplink
from footprint.summary import elephant_share
from footprint.units import format_rate
from plugin.connection import PROGRAM, ConnectionSettings
from plugin.published import Published, lease_ages, published
from plugin.terminal import show, table


class NodesSettings(ConnectionSettings):
    """Shows each node's link, the classes of its pods, the agent's source and health, and its heartbeat.

    ELEPHANTS is the share of the link, in percent of OF LINK, that elephant flows use in the busier direction. A
    node with several uplinks has a line for each below its own, which is that of the one whose elephants use most.
    OF LINK says where the capacity comes from: stated, the driver, estimated (and how sure), or assumed.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} nodes")

    lease_namespace: str = Field(DEFAULT_NAMESPACE, min_length=1)
    """Namespace of the agents' Leases: the release's."""


class PodsSettings(ConnectionSettings):
    """Shows each pod that a node agent measured, of every namespace, the busiest of each node first.

    TX and RX are rates of the link, FLOWS/S new flows per second, ELEPHANTS the pod's elephant flows now.
    """

    model_config = SettingsConfigDict(
        cli_prog_name=f"{PROGRAM} pods", cli_shortcuts={"namespace": "n", "all-namespaces": "A"}
    )

    namespace: str | None = None
    """Only pods of this namespace. Absent: all."""

    all_namespaces: CliImplicitFlag[bool] = False
    """Pods of every namespace, which is the default. For people who are used to say so."""

    @model_validator(mode="after")
    def _one_or_all(self) -> PodsSettings:
        if self.all_namespaces and self.namespace is not None:
            raise ValueError("--namespace and --all-namespaces exclude each other; give one of them")
        return self


def nodes(settings: NodesSettings) -> int:
    """Print the table of nodes. Raises ApiError and ClusterConfigError."""
    found = _nodes(settings)
    leases = settings.reach.items(paths.leases(settings.lease_namespace))
    show(nodes_table(found, lease_ages(leases, datetime.now(UTC))))
    return 0


def pods(settings: PodsSettings) -> int:
    """Print the table of pods. Raises ApiError and ClusterConfigError."""
    show(pods_table(_nodes(settings), settings.namespace))
    return 0


def _nodes(settings: ConnectionSettings) -> list[Published]:
    return sorted(map(published, settings.reach.items(paths.NODES)), key=lambda node: node.name)


def _classes(pods: Iterable[PodFootprint]) -> str:
    counts = Counter(pod.cls for pod in pods)
    return ", ".join(f"{counts[cls]} {cls}" for cls in TrafficClass if counts[cls]) or "none"


def _node_row(node: Published, lease: str) -> list[str]:
    found = node.footprint
    if found is None:
        return [node.name, "-", "-", "-", "-", node.problem, lease]
    capacity = _capacity(found)
    share = f"{elephant_share(found)} %" if found.cap.busier else "?"
    return [node.name, share, capacity, _classes(found.pods), found.src, _health(found), lease]


def _capacity(found: NodeFootprint | Uplink) -> str:
    """Of the link, and where it comes from."""
    if not found.cap.busier:
        return "capacity unknown"
    by = f"{found.by} {found.sure:.0%}" if found.by == CapacitySource.ESTIMATED else found.by
    return f"{format_rate(found.cap.busier)} {by}".strip()


def _health(found: NodeFootprint) -> str:
    full = [f"link full in {' and '.join(found.full)}"] if found.full else []
    return ", ".join([*full, *found.bad]) or "ok"


def _uplink_row(link: Uplink) -> list[str]:
    share = "?" if link.elephant_utilisation is None else f"{round(100 * link.elephant_utilisation)} %"
    full = f"full in {' and '.join(link.full)}" if link.full else ""
    return [f"└ {link.name}", share, _capacity(link), "", "", full, ""]


def nodes_table(nodes: Iterable[Published], ages: Mapping[str, str]) -> Table:
    """One row for each node, and below it one for each of its uplinks where there are several."""
    head = ("NODE", "ELEPHANTS", "OF LINK", "PODS", "SOURCE", "HEALTH", "LEASE")
    return table(head, (
        row
        for node in nodes
        for row in (
            _node_row(node, ages.get(node.name, "none")),
            *map(_uplink_row, node.footprint.uplinks if node.footprint else ()),
        )
    ))  # fmt: skip


def _pod_row(pod: PodFootprint, node: str) -> list[str]:
    rates = (format_rate(pod.tx), format_rate(pod.rx))
    return [pod.ns, pod.name, node, str(pod.cls), *rates, str(pod.el), f"{pod.nf:g}", pod.wl]


def pods_table(nodes: Iterable[Published], namespace: str | None) -> Table:
    """One row for each measured pod of ``namespace`` (None: of all), the busiest of each node first."""
    head = ("NAMESPACE", "POD", "NODE", "CLASS", "TX", "RX", "ELEPHANTS", "FLOWS/S", "WORKLOAD")
    return table(head, (
        _pod_row(pod, node.name)
        for node in nodes
        for pod in (node.footprint.pods if node.footprint else ())
        if namespace is None or pod.ns == namespace
    ))  # fmt: skip
