# SPDX-License-Identifier: Apache-2.0
"""Costs to kube-scheduler's 0-10.

Enters: candidate names, a demand and the snapshot. Leaves: one integer per name, in the order they came, higher
is better. Pure. Guarantees: integers 0-10 only; equal scores unless costs differ materially, so that spreading
stays with kube-scheduler's own plugins; a node nothing is known of scores in the middle.
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
"""For unknown nodes, and for all when nothing speaks for one over another."""

MATERIAL: Final = 0.25
"""Costs closer than this are equal: the wait at 20 % utilisation, which nobody notices and averaging blurs."""


def score_table(costs: Collection[float]) -> dict[float, int]:
    """The score of each of ``costs`` where these are all the costs there are.

    Waiting spans orders of magnitude: on a logarithmic scale one terrible node does not make a free and a busy
    one look alike. The cheapest gets 10, the dearest 0.
    """
    if not costs or max(costs) - min(costs) < MATERIAL:
        return dict.fromkeys(costs, NEUTRAL)
    low, high = math.log1p(min(costs)), math.log1p(max(costs))
    scale = BEST / (high - low)
    return {cost: round((high - math.log1p(cost)) * scale) for cost in costs}


def to_scores(costs: Sequence[float | None]) -> list[int]:
    """Scores of ``costs``, in their order; None is a node nothing is known of."""
    table = score_table({cost for cost in costs if cost is not None})
    return [NEUTRAL if cost is None else table[cost] for cost in costs]


def score_nodes(names: Sequence[str], demand: Demand, snapshot: Snapshot) -> list[int]:
    """One score per name, for a pod that placement may touch."""
    if demand.neutral:
        return [NEUTRAL] * len(names)
    nodes, scarce = snapshot.nodes, snapshot.scarce
    views = [nodes.get(name) for name in names]
    return to_scores([None if view is None else judge(demand, view, scarce).cost for view in views])
