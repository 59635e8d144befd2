# SPDX-License-Identifier: Apache-2.0
"""How many links the cluster's elephants need to themselves.

Enters: pods as they come and go, and what their workloads were measured to do. Leaves: the expected elephants of
every workload, and from these the number of links to keep free of mice. Without this number, spreading would put
some mice on every node, and no link would be left where an elephant harms nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from extender.model.cost import SATURATED
from extender.model.demand import Demand, predict
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import NodeView
from footprint.declared import Declared

HEADROOM: Final = 2.0
"""Links to keep per link that known elephants fill. Elephants come in bursts, and the first one of a burst says
nothing of the others: twice as many links take as many elephants again."""

LARGEST_SHARE: Final = 0.5
"""Largest part of the links that is kept for elephants, so that mice never crowd onto a few nodes."""


class MiceFreeLinks:
    """Live pods and expected elephants per workload. Used under its owner's lock."""

    def __init__(self, default_rate: float) -> None:
        self._default_rate = default_rate
        self._live: dict[WorkloadKey, dict[str, Declared]] = {}
        self._changed: set[WorkloadKey] = set()
        self._elephants: dict[WorkloadKey, tuple[int, float]] = {}
        """Workload → pods, bit/s of each in its busier direction."""
        self._filled: dict[float, float] = {}
        """Links filled, by the last capacity that was passed; empty: to be summed again."""

    def put(self, pod: PodInfo) -> None:
        """The pod exists, waiting or bound."""
        if pod.ended:
            self.drop(pod)
        elif self._live.setdefault(pod.key, {}).get(pod.uid) != pod.declared:
            self._live[pod.key][pod.uid] = pod.declared
            self._changed.add(pod.key)

    def drop(self, pod: PodInfo) -> None:
        """The pod is gone or has ended."""
        live = self._live.get(pod.key)
        if live is not None and live.pop(pod.uid, None) is not None:
            self._changed.add(pod.key)
            if not live:
                del self._live[pod.key]

    def update(self, learned: Mapping[WorkloadKey, Demand], changed: Iterable[WorkloadKey]) -> None:
        """Work out the expected elephants of workloads whose pods or measured demand changed."""
        for key in self._changed.union(changed):
            live = self._live.get(key, {})
            measured = learned.get(key)
            declared = next(iter(live.values()), Declared())  # copies of one workload declare alike
            demand = predict(declared, measured, self._default_rate)
            expected = None
            if demand.hurts:
                # Pods measured within the retention time count: a workload that came once comes again.
                expected = max(len(live), measured.pods if measured else 0), max(demand.tx, demand.rx)
            self._expect(key, expected)
        self._changed.clear()

    def _expect(self, key: WorkloadKey, expected: tuple[int, float] | None) -> None:
        if expected == self._elephants.get(key):
            return
        self._filled = {}
        if expected is not None:
            self._elephants[key] = expected
        else:
            del self._elephants[key]

    def links_to_keep(self, capacity: float, links: int) -> int:
        """Links of ``capacity`` bit/s, out of ``links``, to keep free of mice; 0 while no elephants are known."""
        usable = SATURATED * capacity
        if usable <= 0:
            return 0
        if usable not in self._filled:
            shares = (pods * min(rate / usable, 1.0) for pods, rate in self._elephants.values())
            self._filled = {usable: math.fsum(shares)}
        return min(math.ceil(HEADROOM * self._filled[usable]), math.floor(LARGEST_SHARE * links))


@dataclass(slots=True)
class KnownLinks:
    """The known links of the cluster, counted view by view."""

    known: int = 0
    mice_free: int = 0
    capacities: dict[float, int] = field(default_factory=dict)
    """Known links by the capacity of their busier direction, bit/s. Capacities have two significant digits, so
    there are few different ones."""

    def swap(self, before: NodeView | None, after: NodeView | None) -> None:
        """One node's view is ``after`` now, and was ``before``; None: the node was or is not there."""
        for view, sign in ((before, -1), (after, 1)):
            if view is not None and view.known:
                self.known += sign
                self.mice_free += sign * (view.link.mice <= 0)
                self._count(max(view.link.cap_tx, view.link.cap_rx), sign)

    def _count(self, capacity: float, sign: int) -> None:
        self.capacities[capacity] = self.capacities.get(capacity, 0) + sign
        if not self.capacities[capacity]:
            del self.capacities[capacity]

    def copy(self) -> KnownLinks:
        """The same figures, to be changed apart."""
        return KnownLinks(self.known, self.mice_free, dict(self.capacities))

    @property
    def typical_capacity(self) -> float:
        """The lower median of the known links' capacities, bit/s; 0 without any.

        Unlike a mean, it does not follow a single node that states an absurd capacity.
        """
        below = 0
        for capacity in sorted(self.capacities):
            below += self.capacities[capacity]
            if 2 * below >= self.known:
                return capacity
        return 0.0

    def to_keep(self, expected: MiceFreeLinks) -> int:
        """Links to keep free of mice; 0 while no elephants are known."""
        return expected.links_to_keep(self.typical_capacity, self.known)

    def scarce(self, keep: int) -> bool:
        """Whether links without mice are no more than ``keep``, those that elephants need."""
        return 0 < keep >= self.mice_free
