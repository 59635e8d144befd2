# SPDX-License-Identifier: Apache-2.0
"""Pods that are on a node but not, or not yet, in its measured footprint.

Enters: one node's footprint and its bound pods with their predicted demands. Leaves: what to add to the measured
figures. Pure, and derived only from what the API shows, so that all replicas agree and a burst of pods does not
pile onto one node before the first of them was measured.

One rule: a prediction counts until measurement can be believed. That is

- at once, when the pod was measured with elephants, or was not expected to have any;
- after it has been running for ``hold`` seconds otherwise: a transfer needs seconds to become an elephant and
  the agent writes at most every ten, so that the first measurements of an elephant still show a mouse;
- never while the pod is not running yet (it pulls its image).

A pod that was left out of a footprint which had to be cut is never measured. Its elephants need no exception: the
node's own sum of elephants has them, whoever was left out, and what counted on would count twice. Its mice are in
no sum. They count as long as the pod runs, unless the footprint shows ended pods: those are left out first, so
that no running pod is missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from extender.model.demand import Demand, mice_weight
from extender.model.pods import PodInfo
from footprint.classes import TrafficClass
from footprint.models import NodeFootprint, PodFootprint

HOLD_SECONDS: Final = 60.0
"""Two write intervals for the annotation, some seconds for classification, and room for a slow start."""

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class BoundPod:
    """A pod on a node, with what was predicted for it."""

    pod: PodInfo
    demand: Demand
    running_since: float | None = None
    """Own monotonic seconds when it was first seen running."""


@dataclass(frozen=True, slots=True)
class ExpectedLoad:
    """Expected, not measured, on one node."""

    tx: float = 0.0
    """Elephant bit/s on top of the measured ones."""
    rx: float = 0.0
    elephants: int = 0
    """Pods with elephants that measurement does not show as such."""
    mice: float = 0.0
    mouse_pods: int = 0
    pods: int = 0
    """Pods counted by prediction."""
    until: float = NEVER
    """Own monotonic seconds when the first of them stops counting through time alone."""


NOTHING_EXPECTED: Final = ExpectedLoad()


def mice_cut(node: NodeFootprint) -> bool:
    """Running pods may have been left out of the footprint."""
    return node.cut > 0 and not node.ended


def counts_until(bound: BoundPod, measured: PodFootprint | None, hold: float) -> float:
    """Moment until which the prediction counts: NEVER for no end in sight, minus infinity for not at all."""
    if bound.demand.neutral or bound.pod.ended:
        return -NEVER
    cls = measured.cls if measured is not None else TrafficClass.UNKNOWN
    if cls is not TrafficClass.UNKNOWN and (cls.hurts or not bound.demand.hurts):
        return -NEVER
    return NEVER if bound.running_since is None else bound.running_since + hold


def expected_load(
    node: NodeFootprint, bound: Iterable[BoundPod], now: float, hold: float = HOLD_SECONDS
) -> ExpectedLoad:
    """The ledger of one node at ``now`` (own monotonic seconds)."""
    measured, cut = {pod.uid: pod for pod in node.pods}, mice_cut(node)
    tx = rx = mice = 0.0
    elephants = mouse_pods = pods = 0
    until = NEVER
    for entry in bound:
        seen, demand = measured.get(entry.pod.uid), entry.demand
        end = counts_until(entry, seen, hold)
        waits = end > now
        stays = cut and seen is None and demand.suffers and not entry.pod.ended
        if not waits and not stays:
            continue
        pods += 1
        if waits:
            until = min(until, end)
        if waits and demand.hurts:
            tx += max(0.0, demand.tx - (seen.etx if seen else 0.0))
            rx += max(0.0, demand.rx - (seen.erx if seen else 0.0))
            elephants += 1
        if demand.suffers:
            mice += max(0.0, demand.mice - (mice_weight(seen) if seen else 0.0))
            mouse_pods += int(seen is None or not seen.cls.suffers)
    return ExpectedLoad(tx, rx, elephants, mice, mouse_pods, pods, until)
