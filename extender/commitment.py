"""One node for one pod: scores whose best is a single node, so that it is known where the pod will go.

Enters: scores, and the pod's UID. Leaves: the scores with one best node, and that node. Pure, and the same for
the same pod and candidates, whoever answers: equally good nodes are told apart by a hash of pod and node
(rendezvous hashing), so that different pods choose differently. Elephants are committed, since two of them on one
link cost both; mice only while elephants are known, since a burst of them would take every link at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from extender.scoring import BEST


def hashed(text: str) -> int:
    """32 bits of a node's name or a pod's UID, the same on every machine."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def draw(uid_hash: int, name_hash: int) -> int:
    """What a pod draws at a node: among equals the highest wins. Knuth's factor parts neighbouring hashes."""
    return ((uid_hash ^ name_hash) * 2654435761) & 0xFFFFFFFF


def commit(names: Sequence[str], scores: Sequence[int], uid: str) -> tuple[list[int], str | None]:
    """Scores in the order of ``names`` with exactly one highest, and its node; None without candidates.

    Among the best, one is lifted above the others by one point, or the others are lowered where they have all.
    """
    if not names:
        return [], None
    top, pod = max(scores), hashed(uid)
    best = [name for name, score in zip(names, scores, strict=True) if score == top]
    chosen = max(best, key=lambda name: (draw(pod, hashed(name)), name))
    if top < BEST:
        return [score + (name == chosen) for name, score in zip(names, scores, strict=True)], chosen
    return [score - (score == top and name != chosen) for name, score in zip(names, scores, strict=True)], chosen
