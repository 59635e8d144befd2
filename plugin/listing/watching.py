# SPDX-License-Identifier: Apache-2.0
"""Nodes as they change, each beside its agent's heartbeat."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from footprint.cluster import paths
from plugin.cluster import Cluster
from plugin.listing.gathering import Node, beating, with_heartbeat
from plugin.output.watching import as_they_change
from plugin.published import published

_HEARTBEATS_SECONDS: Final = 20.0
"""Between two readings of the heartbeats."""


def nodes_as_they_change(
    cluster: Cluster, lease_namespace: str, query: Mapping[str, str]
) -> Iterator[tuple[str, Node | None]]:
    """Each node by its name; None once it is gone. Never ends."""
    beats, read_at = None, float("-inf")
    changes = as_they_change(
        cluster, paths.NODES, decode=published, key=lambda one: one.name, query=query, metadata_only=True
    )
    for name, one in changes:
        if time.monotonic() - read_at >= _HEARTBEATS_SECONDS:
            beats, read_at = beating(cluster, lease_namespace, []), time.monotonic()
        yield name, with_heartbeat(one, beats) if one is not None else None
