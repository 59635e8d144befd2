"""Watching without acting: what the extender would have said, held against where pods really went.

Enters: each pod's would-be answers, then the snapshot that shows where it was bound. Leaves: counts of outcomes.
Guarantees: at most ``MAX_PENDING`` pods are remembered, the longest waiting forgotten first and counted as such;
nothing here changes an answer.

A pod *would have been kept off* its node when the filter had rejected it, *would have gone elsewhere* when
another candidate scored higher, and *agreed* otherwise. Later, when the ledger believes measurement, its node
either does or does not hold mice on a link that elephants use to half or more, the pod being one of them: it
*collided* or not.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from extender.demand import Demand
from extender.filtering import MOUSE_LIMIT
from extender.pods import PodInfo
from extender.scoring import score_nodes
from extender.snapshot import NodeView, Snapshot

MAX_PENDING: Final = 1000


class Outcome(StrEnum):
    """What became of a pod; the values are metric labels."""

    KEPT_OFF = "would-have-been-kept-off"
    ELSEWHERE = "would-have-gone-elsewhere"
    AGREED = "agreed"
    FORGOTTEN = "forgotten"


@dataclass(slots=True)
class _Pending:
    demand: Demand
    rejected: frozenset[str] = frozenset()
    better: frozenset[str] = frozenset()
    """Candidates with the highest score."""
    outcome: Outcome | None = None
    node: str = ""
    judge_at: float = 0.0


def collides(demand: Demand, view: NodeView) -> bool | None:
    """Whether the pod shares a busy link with the other kind; None when nothing is known of the node."""
    if not view.known:
        return None
    busy = view.utilisation >= MOUSE_LIMIT
    return busy and (demand.suffers or (demand.hurts and view.link.mice > 0))


@dataclass(slots=True)
class Shadow:
    """See the module. ``hold`` is seconds between a bind and the judgement."""

    hold: float
    outcomes: Counter[str] = field(default_factory=Counter)
    """By outcome, when the pod was bound."""
    collisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By outcome and ``yes``, ``no`` or ``unknown``, ``hold`` later."""
    _pending: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)

    def asked(self, pod: PodInfo, demand: Demand, names: Sequence[str], rejected: Mapping[str, str],
              snapshot: Snapshot) -> None:  # fmt: skip
        """Remember the would-be answer for ``pod``."""
        if demand.neutral or not pod.uid:
            return
        passed = [name for name in names if name not in rejected]
        scores = score_nodes(passed, demand, snapshot)
        best = max(scores, default=0)
        better = frozenset(name for name, score in zip(passed, scores, strict=True) if score == best)
        self._pending.pop(pod.uid, None)
        self._pending[pod.uid] = _Pending(demand, frozenset(rejected), better)
        if len(self._pending) > MAX_PENDING:
            self._pending.popitem(last=False)
            self.outcomes[Outcome.FORGOTTEN.value] += 1

    def look(self, nodes: Mapping[str, str], snapshot: Snapshot, now: float) -> None:
        """Take in where pods are bound (``nodes``: UID to node, of pods that are) at ``now``, seconds."""
        for uid, pending in list(self._pending.items()):
            if pending.outcome is None and uid in nodes:
                self._bound(pending, nodes[uid], now)
            elif pending.outcome is not None and now >= pending.judge_at:
                verdict = collides(pending.demand, snapshot.view(pending.node)) if uid in nodes else None
                text = "unknown" if verdict is None else "yes" if verdict else "no"
                self.collisions[pending.outcome.value, text] += 1
                del self._pending[uid]

    def _bound(self, pending: _Pending, node: str, now: float) -> None:
        pending.node, pending.judge_at = node, now + self.hold
        pending.outcome = Outcome.AGREED if node in pending.better else Outcome.ELSEWHERE
        if node in pending.rejected:
            pending.outcome = Outcome.KEPT_OFF
        self.outcomes[pending.outcome.value] += 1

    def report(self) -> dict[str, object]:
        """For people: counts, and what they mean."""
        judged = [outcome for outcome in Outcome if outcome is not Outcome.FORGOTTEN]
        collided = {outcome.value: self.collisions[outcome, "yes"] for outcome in judged}
        return {
            "pods": dict(self.outcomes),
            "collided": collided,
            "avoidable_collisions": collided[Outcome.KEPT_OFF] + collided[Outcome.ELSEWHERE],
            "pending": len(self._pending),
        }

    @property
    def waiting(self) -> tuple[str, ...]:
        """UIDs of pods still of interest."""
        return tuple(self._pending)
