# SPDX-License-Identifier: Apache-2.0
"""The expected load of pods that are on a node but not yet in its measured footprint.

Enters: one node's footprint, and its bound pods with their predicted demands. Leaves: what to add to the measured
figures. Pure, and derived only from what the API shows. So all replicas agree, and a burst of pods does not pile
onto one node before the first pod was measured.

The rule: a prediction counts until measurement can replace it. That is

- at once, when the pod was measured with elephants, or was not expected to have any;
- after the pod has been running for ``hold`` seconds otherwise. A transfer needs seconds to become an elephant,
  and the agent writes every ten at most, so the first measurements of an elephant show a mouse;
- never while the pod does not run yet, for example while it pulls its image;
- never while it is the target of a migration and waits for its guest, however long its containers have run.
  That it is quiet meanwhile says nothing of the guest. With the guest's arrival it begins to run.

A footprint that exceeds its size limit leaves pods out, and those are never measured. Their elephants are in the
node's own sum, so nothing is added. Their mice are in no sum: they count as long as the pod runs. A footprint that
still shows ended pods has left out no running pod, because ended pods are left out first.
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
"""Two write intervals of the annotation, some seconds for classification, and time for a slow start."""

NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class BoundPod:
    """A pod on a node, with what was predicted for it."""

    pod: PodInfo
    demand: Demand
    running_since: float | None = None
    """Own monotonic seconds when it was first seen running, and its guest in it."""


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
    if cls is TrafficClass.QUIET and bound.pod.guest is not None and bound.pod.guest.target:
        cls = TrafficClass.UNKNOWN  # it is idle before its guest comes
    if cls is not TrafficClass.UNKNOWN and (cls.hurts or not bound.demand.hurts):
        return -NEVER
    return NEVER if bound.running_since is None else bound.running_since + hold


def expected_load(
    node: NodeFootprint, bound: Iterable[BoundPod], now: float, hold: float = HOLD_SECONDS
) -> ExpectedLoad:
    """The expected load of one node at ``now`` (own monotonic seconds)."""
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
