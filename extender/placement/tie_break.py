# SPDX-License-Identifier: Apache-2.0
"""One node for one pod: scores whose best is a single node, so that it is known where the pod will go.

Enters: scores, and the pod's UID. Leaves: the scores with one best node, and that node. Pure, and the same for
the same question, whoever answers: among equally good nodes a hash of the pod takes one, so that different pods
choose differently. Elephants are committed, since two of them on one link cost both; mice only while elephants are
known, since a burst of them would take every link at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from extender.model.demand import Demand
from extender.model.snapshot import Snapshot
from extender.placement.node_verdict import judge
from extender.placement.scoring import BEST


def pick(uid: str, equals: int) -> int:
    """Which of so many equally good nodes, in the order they were sent, the pod takes."""
    return zlib.crc32(uid.encode("utf-8", "surrogatepass")) % equals


def break_tie(names: Sequence[str], scores: Sequence[int], uid: str) -> tuple[list[int], str | None]:
    """Scores in the order of ``names`` with exactly one highest, and its node; None without candidates.

    Among the best, one is lifted above the others by one point, or the others are lowered where they have all.
    """
    if not names:
        return [], None
    top = max(scores)
    best = [name for name, score in zip(names, scores, strict=True) if score == top]
    chosen = best[pick(uid, len(best))]
    if top < BEST:
        return [score + (name == chosen) for name, score in zip(names, scores, strict=True)], chosen
    return [score - (score == top and name != chosen) for name, score in zip(names, scores, strict=True)], chosen


def needs_tie_break(demand: Demand, snapshot: Snapshot) -> bool:
    """Whether it matters where the pod goes before its bind is seen: an elephant always takes a link; a mouse may
    take one of the last without mice."""
    return demand.hurts or (demand.suffers and snapshot.elephants_known)


def break_tie_if_known(
    names: Sequence[str], scores: list[int], uid: str, demand: Demand, snapshot: Snapshot
) -> tuple[list[int], str | None]:
    """``break_tie``, unless it would choose a node of which nothing is known: nothing speaks for that one."""
    committed, chosen = break_tie(names, scores, uid)
    if chosen is None or not judge(demand, snapshot.view(chosen), snapshot.scarce).known:
        return scores, None
    return committed, chosen
