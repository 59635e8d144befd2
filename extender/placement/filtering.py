# SPDX-License-Identifier: Apache-2.0
"""Which of the candidates a pod should not go to, and why.

Enters: candidate names, a demand, a placement mode and the snapshot. Leaves: the names that pass, in the order
they came, and a reason for each that does not. Pure: the same question has the same answer, also when asked
about one node only. Guarantees: only names that were asked for; unknown nodes always pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from extender.model.cost import SATURATED, utilisation_with
from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeView, Snapshot
from footprint.declared import PlacementMode
from footprint.units import format_rate

MOUSE_LIMIT: Final = 0.5
"""Elephant share from which a link is no place for mice: there the mean wait equals a whole service time
(W(0.5) = 1) and from there it grows fast (W(0.8) = 4)."""

ENOUGH: Final = 0.9
"""An elephant's node must have free at least this part of what the pod wants, or of a whole usable link."""


@dataclass(frozen=True, slots=True)
class Verdict:
    passed: list[str]
    rejected: dict[str, str] = field(default_factory=dict)
    """Node → reason, as it will stand in kube-scheduler's event."""


def _too_little_room(demand: Demand, view: NodeView) -> str | None:
    link = view.link
    for wanted, used, capacity in ((demand.tx, link.tx, link.cap_tx), (demand.rx, link.rx, link.cap_rx)):
        if wanted <= 0 or capacity <= 0 or used <= 0:
            continue
        usable = SATURATED * capacity
        if usable - used < ENOUGH * min(wanted, usable):
            return f"{view.load}, too little is left for another {format_rate(wanted)}"
    return None


def _mice_would_wait(demand: Demand, view: NodeView) -> str | None:
    link = view.link
    if link.mice <= 0:
        return None
    after = utilisation_with(link, demand.tx, demand.rx)
    if after < MOUSE_LIMIT:
        return None
    pods = f"{view.mouse_pods} pod{' with mice flows lives' if view.mouse_pods == 1 else 's with mice flows live'}"
    return f"{pods} here, elephants would use {round(100 * min(after, 1.0))} percent of the link with this pod"


def unsuitable(demand: Demand, view: NodeView) -> str | None:
    """Why ``view`` does not suit ``demand``, or None when it does or nothing is known."""
    if not view.known or demand.neutral:
        return None
    if demand.suffers and view.utilisation >= MOUSE_LIMIT:
        return view.load
    if not demand.hurts:
        return None
    return _mice_would_wait(demand, view) or _too_little_room(demand, view)


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

    A node nothing is known of passes, but is no reason to drop the others: pods would pile onto the one node
    whose agent is down. Empty names are never answered.
    """
    names = [name for name in names if name]
    if placement in (PlacementMode.SCORE, PlacementMode.IGNORE) or demand.neutral:
        return Verdict(names)
    rejected: dict[str, str] = {}
    suitable = 0
    for name in names:
        view = snapshot.nodes.get(name)
        if view is None or not view.known:
            continue
        reason = unsuitable(demand, view)
        if reason is None:
            suitable += 1
        else:
            rejected[name] = reason
    if not rejected or (placement is PlacementMode.PREFER and not suitable):
        return Verdict(names)
    return Verdict([name for name in names if name not in rejected], rejected)
