# SPDX-License-Identifier: Apache-2.0
"""What the node agents published: a footprint for each Node, a heartbeat for each agent.

Enters: Nodes and Leases as JSON. Leaves: footprints, the reasons why there is none, and the heartbeats. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from footprint.codec import FootprintError, decode
from footprint.keys import NODE_FOOTPRINT, node_of_lease
from footprint.models import CapacitySource, NodeFootprint, Uplink
from footprint.staleness import Freshness, stale_after
from footprint.units import format_rate


@dataclass(frozen=True, slots=True)
class Published:
    """One node's annotation, or why there is none."""

    name: str
    footprint: NodeFootprint | None
    problem: str = ""


def published(node: Mapping[str, Any]) -> Published:
    """What a Node's JSON says of its traffic."""
    metadata = node["metadata"]
    name, annotation = str(metadata["name"]), (metadata.get("annotations") or {}).get(NODE_FOOTPRINT)
    if annotation is None:
        return Published(name, None, "no footprint yet: is the node agent running there?")
    try:
        return Published(name, decode(annotation))
    except FootprintError as error:
        return Published(name, None, f"malformed footprint ({error.reason.value}): {error}")


def capacity(link: NodeFootprint | Uplink) -> str:
    """What a link carries, and where that figure comes from; empty where nobody knows."""
    if not link.cap.busier:
        return ""
    by = f"{link.by} {link.sure:.0%}" if link.by == CapacitySource.ESTIMATED else link.by
    return f"{format_rate(link.cap.busier)} {by}".strip()


def datapath(source: str) -> str:
    """Where a source counts."""
    return "sockets" if "cgroup" in source else "conntrack" if source else ""


class Heartbeat(NamedTuple):
    """When an agent last renewed its Lease. Two machines' clocks are compared, so the age is only a hint."""

    renewed: str
    """As the Lease has it."""
    seconds: float | None
    """Ago; None where the moment cannot be read."""

    @property
    def freshness(self) -> Freshness:
        stale = self.seconds is None or self.seconds > stale_after()
        return Freshness.STALE if stale else Freshness.FRESH

    @property
    def text(self) -> str:
        """``12 s ago``, ``5 min ago, stale``."""
        if self.seconds is None:
            return "unreadable"
        return ago(self.seconds) + (", stale" if self.freshness is Freshness.STALE else "")


def ago(seconds: float) -> str:
    """An age in one unit."""
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def heartbeats(leases: Iterable[Mapping[str, Any]], now: datetime) -> dict[str, Heartbeat]:
    """Node → its agent's heartbeat."""
    found: dict[str, Heartbeat] = {}
    for lease in leases:
        node = node_of_lease(lease["metadata"]["name"])
        renewed = (lease.get("spec") or {}).get("renewTime")
        if node is None or not isinstance(renewed, str):
            continue
        try:
            seconds = max((now - datetime.fromisoformat(renewed)).total_seconds(), 0.0)
        except (ValueError, TypeError):
            found[node] = Heartbeat(renewed, None)
            continue
        found[node] = Heartbeat(renewed, seconds)
    return found
