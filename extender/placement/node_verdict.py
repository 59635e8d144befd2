# SPDX-License-Identifier: Apache-2.0
"""What one node means for a demand: a reason against it, and a cost.

Enters: a demand and one node's view. Leaves: a Judgement. Pure. Guarantees: no exception leaves ``judge``. A node
whose numbers cannot be handled counts as unknown, and changes nothing for the others.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from extender.model.cost import (
    DEFAULT_COST_MODEL,
    SATURATED,
    CostModel,
    elephant_cost,
    first_mouse_cost,
    utilisation_with,
)
from extender.model.demand import Demand
from extender.model.snapshot import NodeView
from footprint.units import format_rate, quantise

MOUSE_LIMIT: Final = 0.5
"""Elephant share from which a link does not suit mice. There the mean wait is one service time (W(0.5) = 1), and
it grows fast (W(0.8) = 4)."""

ENOUGH: Final = 0.9
"""Part of what an elephant wants, or of a whole usable link, that its node must have free at least."""


class Judgement(NamedTuple):
    """One node's part in filter and prioritize."""

    known: bool
    """False: the node passes the filter and scores in the middle."""
    reason: str | None = None
    """Why the node does not suit; None when it does, or is not known."""
    cost: float | None = None
    """``comparable_cost``; None when the node is not known."""
    error: str = ""
    """What went wrong with this node; empty when nothing did."""


UNKNOWN: Final = Judgement(False)


def _too_little_free(demand: Demand, view: NodeView) -> str | None:
    link = view.firm
    for wanted, used, capacity in ((demand.tx, link.tx, link.cap_tx), (demand.rx, link.rx, link.cap_rx)):
        if wanted <= 0 or capacity <= 0 or used <= 0:
            continue
        usable = SATURATED * capacity
        if usable - used < ENOUGH * min(wanted, usable):
            return f"{view.load}, too little is left for another {format_rate(wanted)}"
    return None


def _mice_would_wait(demand: Demand, view: NodeView) -> str | None:
    link = view.firm
    if link.mice <= 0:
        return None
    after = utilisation_with(link, demand.tx, demand.rx)
    if after < MOUSE_LIMIT:
        return None
    pods = f"{view.mouse_pods} pod{' with mice flows lives' if view.mouse_pods == 1 else 's with mice flows live'}"
    return f"{pods} here, elephants would use {round(100 * min(after, 1.0))} percent of the link with this pod"


def unsuitable(demand: Demand, view: NodeView) -> str | None:
    """Why ``view`` does not suit ``demand``, or None when it does or nothing firm is known."""
    if not view.known or demand.neutral:
        return None
    if demand.suffers and view.firm.utilisation >= MOUSE_LIMIT:
        return view.load
    if not demand.hurts:
        return None
    return _mice_would_wait(demand, view) or _too_little_free(demand, view)


def node_cost(
    demand: Demand, view: NodeView, scarce: bool = False, model: CostModel = DEFAULT_COST_MODEL
) -> float:
    """Cost of ``demand`` on a known node, in service times (``extender.model.cost.placement_cost``)."""
    cost = model.waiting * view.waiting if demand.suffers else 0.0
    if demand.hurts:
        return cost + sum(elephant_cost(demand.tx, demand.rx, view.link, model))
    return cost + first_mouse_cost(view.link, scarce, model)


def comparable_cost(
    demand: Demand, view: NodeView, scarce: bool = False, model: CostModel = DEFAULT_COST_MODEL
) -> float | None:
    """``node_cost`` as candidates are compared by it; None when nothing is known of the node.

    Two significant digits, like the rates that costs are computed from: more would compare noise. So there are few
    distinct costs, however many nodes there are.
    """
    return quantise(node_cost(demand, view, scarce, model)) if view.known else None


def judge(
    demand: Demand, view: NodeView, scarce: bool = False, model: CostModel = DEFAULT_COST_MODEL
) -> Judgement:
    """The verdict on one node."""
    if not view.known:
        return UNKNOWN
    view = view.met_by(demand)
    try:
        return Judgement(True, unsuitable(demand, view), comparable_cost(demand, view, scarce, model))
    except Exception as error:  # whatever it is, it must stay with this node
        return UNKNOWN._replace(error=f"{type(error).__name__}: {error}")
