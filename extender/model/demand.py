# SPDX-License-Identifier: Apache-2.0
"""Predict a pod's demand on its node's link, before it runs.

Enters: the pod's annotations, the spec of its workload's TrafficFootprint, and what the workload's other pods were
measured to do. Leaves: a Demand that names its origin. Pure. The first source that knows something wins: declared
on the pod, stated in the TrafficFootprint's spec, learned from pods that are measured now, remembered in its
status.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Final

from extender.model.cost import SATURATED
from extender.model.pods import WorkloadKey
from footprint.classes import DEFAULT_THRESHOLDS, TrafficClass
from footprint.declared import Declared
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from footprint.units import format_rate, quantise

DEFAULT_ELEPHANT_RATE: Final = 100e6
"""bit/s of a declared elephant that was never measured: what one bulk transfer commonly gets over a shared
path."""

DECLARED_MOUSE: Final = 1.0
"""Mice weight of a declared mouse that was never measured: one pod with few new flows."""

_MICE_BASE: Final = {TrafficClass.MOUSE: 1.0, TrafficClass.MIXED: 0.5}
"""A mixed pod counts half: waiting does not hurt its own bulk traffic."""


class Origin(StrEnum):
    """Where a demand comes from; the values are metric labels."""

    DECLARED = "declared"
    STATED = "stated"
    LEARNED = "learned"
    REMEMBERED = "remembered"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Demand:
    cls: TrafficClass = TrafficClass.UNKNOWN
    tx: float = 0.0
    """Elephant bit/s it will send over the link."""
    rx: float = 0.0
    mice: float = 0.0
    """Weight of its traffic that is sensitive to waiting: about 1 for a mouse pod, more with many new flows."""
    origin: Origin = Origin.UNKNOWN
    pods: int = 0
    """Measured pods of the same workload that this rests on."""
    by_default_route: bool = False
    """It leaves a node by the default route's uplink: its pod is on the node's own network."""

    @property
    def hurts(self) -> bool:
        """It will load the link with elephants."""
        return self.cls.hurts and (self.tx > 0 or self.rx > 0)

    @property
    def suffers(self) -> bool:
        return self.cls.suffers and self.mice > 0

    @property
    def neutral(self) -> bool:
        """Placement has nothing to say about it."""
        return not (self.hurts or self.suffers)

    def describe(self) -> str:
        """For people: ``elephant, tx 190 Mbit/s, rx 2 Mbit/s, learned from 3 pods``."""
        rates = [f"{d} {format_rate(r)}" for d, r in (("tx", self.tx), ("rx", self.rx)) if r > 0]
        weight = [f"mice weight {self.mice:.1f}"] if self.mice else []
        learned = f"learned from {self.pods} pod{'s' if self.pods != 1 else ''}"
        basis = learned if self.origin is Origin.LEARNED else _BASIS[self.origin]
        return ", ".join([str(self.cls), *rates, *weight, basis])


_BASIS: Final = {
    Origin.DECLARED: "declared",
    Origin.STATED: "stated in its TrafficFootprint",
    Origin.REMEMBERED: "remembered in its TrafficFootprint",
    Origin.UNKNOWN: "unknown",
}
NOTHING_KNOWN: Final = Demand()


@dataclass(frozen=True, slots=True)
class Tally:
    """Measured pods of one workload, summed so that nodes' tallies add up."""

    active: int = 0
    """Pods that are neither quiet nor unknown."""
    quiet: int = 0
    hurting: int = 0
    """Pods with elephants; ``tx`` and ``rx`` are their summed elephant bit/s."""
    tx: float = 0.0
    rx: float = 0.0
    suffering: int = 0
    """Pods with mice; ``mice`` is their summed weight, ``flows`` their mice flows per second."""
    mice: float = 0.0
    flows: float = 0.0
    peak_tx: float = 0.0
    """Elephant bit/s of the pod that has the most."""
    peak_rx: float = 0.0
    running: int = 0
    """Pods that have not ended."""

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.active + other.active, self.quiet + other.quiet,
            self.hurting + other.hurting, self.tx + other.tx, self.rx + other.rx,
            self.suffering + other.suffering, self.mice + other.mice, self.flows + other.flows,
            max(self.peak_tx, other.peak_tx), max(self.peak_rx, other.peak_rx), self.running + other.running,
        )  # fmt: skip

    @property
    def pods(self) -> int:
        return self.active + self.quiet


def mice_weight(pod: PodFootprint) -> float:
    """Weight of a measured pod's mice: its class's base, times 1 + log10(1 + mice flows per second).

    The logarithm lets a pod with a thousand mice a second count four times an almost idle one, so that no single
    pod decides alone. Mice on kept-alive connections open no flows: the base counts them.
    """
    return _MICE_BASE.get(pod.cls, 0.0) * (1 + math.log10(1 + pod.nf * pod.ms))


def _wanted(got: float, total: float, capacity: float, elephants: int) -> float:
    """Elephant bit/s a pod would take, from what it ``got`` beside ``elephants - 1`` others.

    On a saturated link a rate says what a pod got, not what it wants. A pod that took at least half an equal share
    was limited by the link: it is assumed to want all that the link's elephants got together. A pod that took less
    limits itself, and the measured rate stands.
    """
    saturated = capacity > 0 and total >= SATURATED * capacity
    return max(got, total) if saturated and got > 0 and got >= 0.5 * total / max(elephants, 1) else got


def _tally_one(pod: PodFootprint, elephants: LinkRates, running: bool) -> Tally:
    hurts, suffers = pod.cls.hurts, pod.cls.suffers
    tx, rx = (elephants.tx, elephants.rx) if hurts else (0.0, 0.0)
    return Tally(
        active=int(hurts or suffers), quiet=int(pod.cls is TrafficClass.QUIET),
        hurting=int(hurts), tx=tx, rx=rx, peak_tx=tx, peak_rx=rx, running=int(running),
        suffering=int(suffers), mice=mice_weight(pod), flows=pod.nf * pod.ms if suffers else 0.0,
    )  # fmt: skip


def tally_node(node: NodeFootprint, without: Collection[str] = ()) -> dict[WorkloadKey, Tally]:
    """Tallies of one node's running and recently ended pods, per workload, except the pods ``without``, by UID."""
    tallies: dict[WorkloadKey, Tally] = {}

    def learn(pod: PodFootprint, elephants: LinkRates, running: bool) -> None:
        if pod.cls is not TrafficClass.UNKNOWN and pod.uid not in without:
            key = (pod.ns, pod.wl)
            tallies[key] = tallies.get(key, Tally()) + _tally_one(pod, elephants, running)

    count = sum(pod.cls.hurts for pod in node.pods)
    for pod in node.pods:
        learn(
            pod,
            LinkRates(
                _wanted(pod.etx, node.el.tx, node.cap.tx, count), _wanted(pod.erx, node.el.rx, node.cap.rx, count)
            ),
            True,
        )
    for pod in node.ended:
        learn(pod, pod.elephants, False)
    return tallies


_STEPS: Final = (
    1.0, 1.1, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.5, 2.8, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 9.0, 10.0,
)  # fmt: skip
"""The preferred numbers of ISO 3, R''20: twenty steps per decade, of about 12 percent."""
_LEAST: Final = 0.001
"""bit/s; less counts as nothing. Far above the smallest power of ten that a float can hold."""
_LIMITS: Final = tuple(math.sqrt(low * high) for low, high in pairwise(_STEPS))


def typical(rate: float) -> float:
    """A mean of measured rates as a demand, bit/s: the preferred number nearest to it by ratio; 0 for nothing.

    Such a mean moves by some percent whenever one of many nodes writes. Without rounding, each write would make
    another demand, and every node would be judged again for a difference that no prediction can know.
    """
    if not _LEAST <= rate < math.inf:
        return 0.0
    decade = 10.0 ** math.floor(math.log10(rate))
    return quantise(_STEPS[bisect_right(_LIMITS, rate / decade)] * decade)


def learned_demand(total: Tally) -> Demand | None:
    """Typical demand of a workload: means over the pods that show the trait; None without a measured pod.

    A workload has a trait (elephants, mice) when at least half of its active pods show it; both make it mixed.
    Quiet pods count only where no other was measured: an idle copy says nothing about a busy one. Rates are
    ``typical`` ones, so that a demand stays the same while nothing material changes.
    """
    if total.pods == 0:
        return None
    learned = Demand(TrafficClass.QUIET, origin=Origin.LEARNED, pods=total.pods)
    if total.active == 0:
        return learned
    hurts, suffers = 2 * total.hurting >= total.active, 2 * total.suffering >= total.active
    if hurts:
        learned = replace(
            learned, cls=TrafficClass.ELEPHANT,
            tx=typical(total.tx / total.hurting), rx=typical(total.rx / total.hurting),
        )  # fmt: skip
    if suffers:
        cls = TrafficClass.MIXED if hurts else TrafficClass.MOUSE
        learned = replace(learned, cls=cls, mice=quantise(total.mice / total.suffering))
    return learned


def _elephant_rates(declared: Declared, learned: Demand | None, default: float) -> tuple[float, float]:
    """tx and rx of a declared elephant.

    A declared bandwidth is that of the busier direction. The learned rates give the other direction its
    proportion. Without learned rates the busier direction is not known, and both get the declared bandwidth. What
    the pod may send and receive at most stands in for the default.
    """
    bandwidth = declared.bandwidth
    busier = max(learned.tx, learned.rx) if learned else 0.0
    if learned is None or busier <= 0:
        return bandwidth or declared.tx_limit or default, bandwidth or declared.rx_limit or default
    rate = bandwidth or busier
    return rate * (learned.tx / busier), rate * (learned.rx / busier)


def _declared_class(declared: Declared, learned: Demand | None) -> TrafficClass | None:
    """The class a user stated, or implied by a bandwidth that only elephants have."""
    if declared.cls is not None:
        return declared.cls
    if declared.bandwidth is None or declared.bandwidth < DEFAULT_THRESHOLDS.elephant_rate:
        return None
    return TrafficClass.MIXED if learned and learned.suffers else TrafficClass.ELEPHANT


def _limited(declared: Declared) -> Demand:
    """Of a pod of which nobody knows more than what it may send and receive at most: who limits a pod expects it
    to come near the limit. Limits below an elephant's rate say nothing."""
    rates = (declared.tx_limit or 0.0, declared.rx_limit or 0.0)
    tx, rx = (rate if rate >= DEFAULT_THRESHOLDS.elephant_rate else 0.0 for rate in rates)
    return Demand(TrafficClass.ELEPHANT, tx, rx, origin=Origin.DECLARED) if tx or rx else NOTHING_KNOWN


def predict(declared: Declared, learned: Demand | None, default_rate: float = DEFAULT_ELEPHANT_RATE) -> Demand:
    """Demand of a pod that ``declared`` this, and whose workload was measured as ``learned`` (None: never).

    ``default_rate`` is bit/s for a declared elephant without a declared or learned bandwidth.
    """
    cls = _declared_class(declared, learned)
    if cls is None:
        return learned or _limited(declared)
    pods = learned.pods if learned else 0
    mice = (learned.mice if learned and learned.mice else DECLARED_MOUSE) if cls.suffers else 0.0
    tx, rx = _elephant_rates(declared, learned, default_rate) if cls.hurts else (0.0, 0.0)
    return Demand(cls, tx, rx, mice, Origin.DECLARED, pods)


def believed(
    stated: Declared, live: Demand | None, remembered: Demand | None, default_rate: float = DEFAULT_ELEPHANT_RATE
) -> Demand | None:
    """A workload's typical demand, before a pod's own annotations; None: nothing is known.

    ``stated`` is the spec of the workload's TrafficFootprint and ``remembered`` its status. ``live`` was measured
    of pods that run or ended lately. Pods that are quiet now do not overrule what is remembered of busy ones.
    """
    measured = remembered if remembered is not None and (live is None or live.neutral) else live
    demand = predict(stated, measured, default_rate)
    if demand.origin is Origin.DECLARED:
        return replace(demand, origin=Origin.STATED)
    return measured
