# SPDX-License-Identifier: Apache-2.0
"""Break ties between equally good nodes, so that the extender knows where the pod will go.

Enters: scores, and the pod's UID. Leaves: the scores with a single best node, and that node. Pure, and the same on
every replica: a hash of the UID chooses, so that different pods choose differently. Elephants need a tie break,
because two of them on one link slow each other. Mice need one only while elephants are known, because a burst of
mice would take every free link at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from extender.model.demand import Demand
from extender.model.snapshot import Snapshot
from extender.placement.node_verdict import judge
from extender.placement.scoring import BEST


def pick(uid: str, equals: int) -> int:
    """Index of the node that the pod takes among ``equals`` equally good ones, in the order they were sent."""
    return zlib.crc32(uid.encode("utf-8", "surrogatepass")) % equals


def break_tie(names: Sequence[str], scores: Sequence[int], uid: str) -> tuple[list[int], str | None]:
    """Scores in the order of ``names`` with exactly one highest, and its node; None without candidates.

    One of the best nodes gains a point. Where the best have 10 already, the others lose one.
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
    """Whether later requests must know where the pod goes before its bind is seen. An elephant always takes a
    link; a mouse may take one of the last links without mice."""
    return demand.hurts or (demand.suffers and snapshot.elephants_known)


def break_tie_if_known(
    names: Sequence[str], scores: list[int], uid: str, demand: Demand, snapshot: Snapshot
) -> tuple[list[int], str | None]:
    """``break_tie``, unless it would choose an unknown node: then the scores stay as they are."""
    committed, chosen = break_tie(names, scores, uid)
    if chosen is None or not judge(demand, snapshot.view(chosen), snapshot.scarce).known:
        return scores, None
    return committed, chosen
