# SPDX-License-Identifier: Apache-2.0
"""What the lists rest on: Nodes, and heartbeats if they may be read.

Enters: a cluster and flags. Leaves: rows' facts, and the names of what is missing. Raises ApiError where nothing
can be shown at all, and BadSettingError for what does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

from footprint.cluster import paths
from footprint.staleness import Freshness
from plugin.cluster import Cluster, RefusedError
from plugin.listing.flags import ListingSettings
from plugin.published import Heartbeat, Published, heartbeats, published


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it was published, and its agent's heartbeat."""

    published: Published
    heartbeat: Heartbeat | None
    """None where there is no Lease."""
    heard: bool = True
    """False where the Leases could not be read."""

    @property
    def name(self) -> str:
        return self.published.name

    @property
    def seen(self) -> str:
        """For people."""
        return "?" if not self.heard else self.heartbeat.text if self.heartbeat else "none"

    @property
    def freshness(self) -> str:
        """For programs."""
        if not self.heard:
            return "unknown"
        return str(self.heartbeat.freshness if self.heartbeat else Freshness.MISSING)

    @property
    def age(self) -> float | None:
        """Seconds since the heartbeat."""
        return self.heartbeat.seconds if self.heartbeat else None


@dataclass(slots=True)
class Gathered:
    """All nodes by name, and what could not be read."""

    nodes: list[Node]
    missing: list[str] = field(default_factory=list)


def gather(cluster: Cluster, settings: ListingSettings, names: Sequence[str] = ()) -> Gathered:
    """The nodes called ``names``, else all that the flags select. Raises ApiError."""
    if names:
        objects = [cluster.read(paths.node(name), metadata_only=True) for name in names]
    else:
        objects = cluster.items(paths.NODES, settings.selectors, metadata_only=True)
    missing: list[str] = []
    beats = beating(cluster, settings.lease_namespace, missing)
    nodes = [with_heartbeat(published(one), beats) for one in objects]
    return Gathered(sorted(nodes, key=lambda node: node.name), missing)


def with_heartbeat(one: Published, beats: Mapping[str, Heartbeat] | None) -> Node:
    """``one`` beside its heartbeat; of None nothing is known."""
    return Node(one, (beats or {}).get(one.name), beats is not None)


def beating(cluster: Cluster, namespace: str, missing: list[str]) -> dict[str, Heartbeat] | None:
    """Every agent's heartbeat; None, and an entry in ``missing``, where Leases cannot be read."""
    try:
        return heartbeats(cluster.items(paths.leases(namespace)), datetime.now(UTC))
    except RefusedError as error:
        if error.status not in (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND):
            raise
        missing.append(f"heartbeats are not known: {error}; {error.remedy}")
        return None
