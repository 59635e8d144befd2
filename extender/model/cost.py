# SPDX-License-Identifier: Apache-2.0
"""What it costs to place a pod's demand on a node's link. Arithmetic; lower is better; 0 is free.

The unit is one mean service time of the link's queue. In the M/M/1 queue the mean wait before service is
u/(1-u) service times at utilisation u (Kleinrock, Queueing Systems vol. 1, 1975, section 3.2: W/x = rho/(1-rho)).
Only elephants count into u: they keep a queue standing, mice pass through it.
docs/explanation/cost-model.md has a worked example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from footprint.models import FULL_SHARE

SATURATED: Final = FULL_SHARE
"""Elephant share from which a link counts as full."""

OVERSTATED: Final = 10.0
"""How many times too large a guessed capacity may be. Machines that share an adapter are often held to a tenth."""

CEILING: Final = 0.95
"""Utilisation above which waiting grows no further, because a FIFO is finite. W(0.95) = 19."""

LONGEST: Final = 100.0
"""Slowdown of a transfer above which it counts no further, so that sums stay finite."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """What each term of a placement's cost weighs. The defaults are the extender's; benchmarks try others."""

    waiting: float = 1.0
    """Per service time that the pod's own mice wait."""
    harm: float = 1.0
    """Per service time of waiting that the pod adds to mice already there."""
    slowdown: float = 15.0
    """Cost of doubling the time of one elephant's transfer, in service times of one mouse pod.

    Joining one elephant on a full link doubles both their times: 30. That is more than filling an idle link with
    one quiet mouse pod (W(0.95) = 19), and less than one with two. So bulk work is slowed for the sake of mice,
    and takes a link with few of them rather than piling up. docs/explanation/measurements.md shows what other
    values do."""
    first_mouse: float = 1.0
    """Cost of the first mouse on a link that elephants will need: worth a wait at half-used links (W(0.5) = 1), no
    more. It moves mice next to other mice, never next to busy elephants."""


DEFAULT_COST_MODEL: Final = CostModel()


@dataclass(frozen=True, slots=True)
class LinkLoad:
    """A node's link as the pods on it load it; measured and expected elephants together."""

    cap_tx: float
    """Capacity, bit/s; 0 means not known: that direction costs nothing."""
    cap_rx: float
    tx: float = 0.0
    """Elephants, bit/s."""
    rx: float = 0.0
    elephants: int = 0
    """Pods with elephants."""
    mice: float = 0.0
    """Summed weight of the mice that live here (``extender.model.demand``)."""

    @property
    def u_tx(self) -> float:
        return self.tx / self.cap_tx if self.cap_tx > 0 else 0.0

    @property
    def u_rx(self) -> float:
        return self.rx / self.cap_rx if self.cap_rx > 0 else 0.0

    @property
    def utilisation(self) -> float:
        """Elephants' share of the busier direction; above 1 when more is expected than fits."""
        return max(self.u_tx, self.u_rx)


@dataclass(frozen=True, slots=True)
class PlacementCost:
    """The terms of one placement, for explanations."""

    waiting: float = 0.0
    """What the pod's own mice wait."""
    harm: float = 0.0
    """Waiting it adds to the mice already there."""
    slowdown: float = 0.0
    """For the time that its transfers, and those of the elephants already there, take longer."""
    first_mouse: float = 0.0
    """For taking a link without mice from elephants that will need it."""

    @property
    def total(self) -> float:
        return self.waiting + self.harm + self.slowdown + self.first_mouse


def capacity_now(capacity: float, elephants: float, *, full: bool) -> float:
    """What a direction can carry now, bit/s, 0 for not known: of a full one the elephants there use SATURATED.

    Its own queue says so, whatever ``capacity`` is said to be. A full direction without elephants is another's
    concern: mice pass through a queue, and no placement of elephants made it.
    """
    if not full or elephants <= 0:
        return capacity
    return min(capacity or math.inf, elephants / SATURATED)


def careful_capacity(guess: float, elephants: float) -> float:
    """What scores take for the capacity of a direction, bit/s, where ``guess`` is all there is.

    TCP's elephants take what a link gives. So those there may well fill it, and an empty link may carry as little
    as the guess over OVERSTATED. A guess that is too large would put elephants together, and mice beside them.
    """
    return min(guess, max(guess / OVERSTATED, elephants / SATURATED))


def waiting(u: float) -> float:
    """Mean wait in service times behind elephants that use share ``u`` of the link; 0 to 19."""
    u = CEILING if u >= SATURATED else u
    return u / (1 - u) if u > 0 else 0.0


def utilisation_with(link: LinkLoad, tx: float, rx: float) -> float:
    """The busier direction's elephant share once ``tx`` and ``rx`` bit/s were added."""
    u_tx = (link.tx + tx) / link.cap_tx if link.cap_tx > 0 else 0.0
    u_rx = (link.rx + rx) / link.cap_rx if link.cap_rx > 0 else 0.0
    return max(u_tx, u_rx)


def slowdown(wanted: float, used: float, capacity: float, elephants: int) -> float:
    """How much longer all transfers take when one that wants ``wanted`` bit/s joins elephants that use ``used``.

    1 means that one transfer takes twice as long. The new one gets what is free. On a crowded link it gets an
    equal share beside the ``elephants`` pods there, since TCP's flows share about equally. What it takes, the
    others give up in equal parts. Elephants that belong to no pod count as one.
    """
    if wanted <= 0 or capacity <= 0:
        return 0.0
    usable = SATURATED * capacity
    if used + wanted <= usable:
        return 0.0
    carried = min(used, usable)
    others = max(elephants, 1) if carried > 0 else 0
    own = min(wanted, max(usable - carried, usable / (others + 1)))
    taken = max(0.0, carried + own - usable)
    theirs = others * taken / (carried - taken) if 0 < taken < carried else 0.0
    return min(wanted / own - 1 + theirs, LONGEST)


def elephant_cost(
    tx: float, rx: float, link: LinkLoad, model: CostModel = DEFAULT_COST_MODEL
) -> tuple[float, float]:
    """Harm and slowdown of elephants of ``tx`` and ``rx`` bit/s on ``link``; directions weigh by their rates."""
    harm = 0.0
    if link.mice > 0:
        harm = (
            model.harm * link.mice * max(0.0, waiting(utilisation_with(link, tx, rx)) - waiting(link.utilisation))
        )
    slower = tx * slowdown(tx, link.tx, link.cap_tx, link.elephants)
    slower += rx * slowdown(rx, link.rx, link.cap_rx, link.elephants)
    return harm, model.slowdown * slower / (tx + rx)


def first_mouse_cost(link: LinkLoad, scarce: bool, model: CostModel = DEFAULT_COST_MODEL) -> float:
    """Cost of the first mouse on a link, where links without mice are ``scarce``."""
    return model.first_mouse if scarce and link.mice <= 0 else 0.0


def placement_cost(
    tx: float,
    rx: float,
    suffers: bool,
    link: LinkLoad,
    scarce: bool = False,
    *,
    model: CostModel = DEFAULT_COST_MODEL,
) -> PlacementCost:
    """Cost of a pod with elephants ``tx``, ``rx`` (bit/s), that ``suffers`` from waiting or not, on ``link``.

    ``scarce``: links without mice are no more than elephants need.
    """
    own = model.waiting * waiting(link.utilisation) if suffers else 0.0
    harm, slower = elephant_cost(tx, rx, link, model) if tx > 0 or rx > 0 else (0.0, 0.0)
    first_mouse = first_mouse_cost(link, scarce, model) if suffers and tx <= 0 and rx <= 0 else 0.0
    return PlacementCost(own, harm, slower, first_mouse)
