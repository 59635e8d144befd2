# SPDX-License-Identifier: Apache-2.0
"""Which candidates a pod should not go to, and why.

Enters: candidate names, a demand, a placement mode and the snapshot. Leaves: the names that pass, in the order
they came, and a reason for each other name. Pure: the same request has the same result, also about a single node.
Guarantees: only names of the request are returned; unknown nodes always pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.model.snapshot import Snapshot
from extender.placement.node_verdict import UNKNOWN, judge
from footprint.declared import PlacementMode


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: list[str]
    rejected: dict[str, str] = field(default_factory=dict)
    """Node → reason, as it will stand in kube-scheduler's event."""


def effective_placement(pod: PodInfo, default: PlacementMode, waited: float, relax_after: float) -> PlacementMode:
    """The mode that holds for ``pod`` after ``waited`` seconds without a node."""
    if pod.exempt:
        return PlacementMode.IGNORE
    placement = pod.declared.placement or default
    if placement is PlacementMode.STRICT and waited >= relax_after:
        return PlacementMode.PREFER
    return placement


def filter_nodes(names: Sequence[str], demand: Demand, placement: PlacementMode, snapshot: Snapshot) -> Verdict:
    """Drop unsuitable nodes: always (strict), or while a known suitable one remains (prefer).

    An unknown node passes, but is no reason to drop the others: all pods would pile onto the one node whose agent
    is down. Empty names are left out.
    """
    names = [name for name in names if name]
    if placement in (PlacementMode.SCORE, PlacementMode.IGNORE) or demand.neutral:
        return Verdict(names)
    rejected: dict[str, str] = {}
    suitable = 0
    for name in names:
        view = snapshot.nodes.get(name)
        judged = UNKNOWN if view is None else judge(demand, view, snapshot.scarce)
        if judged.reason is not None:
            rejected[name] = judged.reason
        else:
            suitable += judged.known
    if not rejected or (placement is PlacementMode.PREFER and not suitable):
        return Verdict(names)
    return Verdict([name for name in names if name not in rejected], rejected)
