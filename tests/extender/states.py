# SPDX-License-Identifier: Apache-2.0
"""Cluster states under a clock that stands still, for the extender's tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from footprint.models import PodFootprint
from tests.extender.builders import annotation


class Clock:
    """Monotonic seconds that go on only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def settle(state: ClusterState) -> None:
    """Work everything out."""
    while state.apply():
        pass


def measured(
    clock: Clock, nodes: Iterable[str], pods: Mapping[str, Iterable[PodFootprint]] | None = None
) -> ClusterState:
    """Known nodes; ``pods`` are what the agents of some of them say runs there."""
    state = ClusterState(stale_after=180.0, hold=60.0, clock=clock)
    for name in nodes:
        state.put_nodes([NodeInfo(name, annotation(*(pods or {}).get(name, ())))])
        state.put_lease(LeaseInfo(name, "1"))
    settle(state)
    return state
