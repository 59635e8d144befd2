# SPDX-License-Identifier: Apache-2.0
"""Turn costs into kube-scheduler's scores of 0-10.

Enters: candidate names, a demand and the snapshot. Leaves: one integer per name, in the order they came; higher is
better. Pure. Guarantees: scores differ only where costs differ materially, so that spreading stays with
kube-scheduler's own plugins; an unknown node scores in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from extender.model.demand import Demand
from extender.model.snapshot import Snapshot
from extender.placement.node_verdict import judge

BEST: Final = 10
NEUTRAL: Final = 5
"""For unknown nodes, and for all nodes when their costs are equal."""

MATERIAL: Final = 0.25
"""Costs closer than this count as equal: the wait at 20 % utilisation, which nobody notices."""


def score_table(costs: Collection[float]) -> dict[float, int]:
    """The score of each of ``costs`` where these are all the costs there are.

    The scale is logarithmic, because waiting spans orders of magnitude: one very costly node must not make a free
    and a busy node look alike. The cheapest node gets 10, the most expensive 0.
    """
    if not costs or max(costs) - min(costs) < MATERIAL:
        return dict.fromkeys(costs, NEUTRAL)
    low, high = math.log1p(min(costs)), math.log1p(max(costs))
    scale = BEST / (high - low)
    return {cost: round((high - math.log1p(cost)) * scale) for cost in costs}


def to_scores(costs: Sequence[float | None]) -> list[int]:
    """Scores of ``costs``, in their order; None is an unknown node."""
    table = score_table({cost for cost in costs if cost is not None})
    return [NEUTRAL if cost is None else table[cost] for cost in costs]


def score_nodes(names: Sequence[str], demand: Demand, snapshot: Snapshot) -> list[int]:
    """One score per name, for a pod that placement may touch."""
    if demand.neutral:
        return [NEUTRAL] * len(names)
    nodes, scarce = snapshot.nodes, snapshot.scarce
    views = [nodes.get(name) for name in names]
    return to_scores([None if view is None else judge(demand, view, scarce).cost for view in views])
