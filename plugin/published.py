# SPDX-License-Identifier: Apache-2.0
"""What the node agents published: a footprint for each Node, a heartbeat for each agent.

Enters: Nodes and Leases as JSON. Leaves: footprints, the reasons why there is none, and the Leases' ages. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from extender.cluster.watches import decode_node
from footprint.codec import FootprintError, decode
from footprint.keys import node_of_lease
from footprint.models import NodeFootprint


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
    """Node → how long ago its agent renewed the Lease.

    Two machines' clocks are compared, so an age is only a hint.
    """
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
