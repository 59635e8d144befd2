# SPDX-License-Identifier: Apache-2.0
"""Watch without acting: compare what the extender would have answered with where pods really went.

Enters: the responses that acting would have given about each pod, then the snapshot that shows where it was bound.
Leaves: counts of outcomes. Guarantees: at most ``MAX_PENDING`` pods are remembered, one byte per node each, and
the oldest is dropped first; each pod has one outcome, and counts once among the collisions; no response changes.

A pod *would have been kept off* its node when the filter would have rejected that node. It *would have gone
elsewhere* when another candidate scored higher. Otherwise it *agreed*. Once measurement replaces prediction, the
pod *collided* if its link carries elephants to half or more and holds mice, the pod being one or the other. A pod
that was dropped before that is never judged.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeView, Snapshot
from extender.placement.node_verdict import MOUSE_LIMIT

MAX_PENDING: Final = 1000


class ShadowOutcome(StrEnum):
    """What became of a pod; the values are metric labels."""

    KEPT_OFF = "would-have-been-kept-off"
    ELSEWHERE = "would-have-gone-elsewhere"
    AGREED = "agreed"
    FORGOTTEN = "forgotten"


class Collided(StrEnum):
    """Whether a pod shares a busy link with the other kind; the values are metric labels."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"  # it ended, or nothing is known of its node
    NEVER_JUDGED = "never-judged"  # too many came after it


_COLLIDED: Final = {True: Collided.YES, False: Collided.NO, None: Collided.UNKNOWN}


class ShadowReport(BaseModel):
    """What acting would have done to the pods that were only watched."""

    model_config = ConfigDict(extra="forbid")

    pods: dict[ShadowOutcome, int] = Field(description="By outcome.")
    collided: dict[ShadowOutcome, int] = Field(
        description="Of these, the pods that share a busy link with the other kind."
    )
    avoidable_collisions: int = Field(description="Of these, the ones that acting would have sent elsewhere.")
    never_judged: int = Field(description="Pods with an outcome that were dropped before they were judged.")
    pending: int = Field(description="Pods that have no outcome yet, or are not judged yet.")


_ELSEWHERE: Final = 0
_REJECTED: Final = 1
_BEST: Final = 2
_OUTCOMES: Final = {
    _ELSEWHERE: ShadowOutcome.ELSEWHERE,
    _REJECTED: ShadowOutcome.KEPT_OFF,
    _BEST: ShadowOutcome.AGREED,
}

_SPARE: Final = 1000
"""Numbers that nodes which are gone may hold, beside as many as there are nodes."""


class WouldBe(NamedTuple):
    """The answers that acting would have given."""

    names: Sequence[str]
    """The candidates."""
    passed: Sequence[str]
    """Those that the filter lets pass; the very same list when all do."""
    best: Sequence[str]
    """Of these, the ones with the highest score."""


@dataclass(slots=True)
class _Pending:
    demand: Demand
    numbers: Mapping[str, int]
    marks: bytes
    """By the nodes' numbers."""
    unseen: int
    """The mark of nodes that came later."""
    outcome: ShadowOutcome | None = None
    node: str = ""
    judge_at: float = 0.0

    def mark(self, node: str) -> int:
        number = self.numbers.get(node, len(self.marks))
        return self.marks[number] if number < len(self.marks) else self.unseen


def collides(demand: Demand, view: NodeView) -> bool | None:
    """Whether the pod shares a busy link with the other kind; None when nothing is known of the node."""
    if not view.known:
        return None
    view = view.met_by(demand)
    busy = view.firm.utilisation >= MOUSE_LIMIT
    return busy and (demand.suffers or (demand.hurts and view.link.mice > 0))


@dataclass(slots=True)
class Shadow:
    """See the module. ``hold`` is seconds between a bind and the judgement."""

    hold: float
    outcomes: Counter[str] = field(default_factory=Counter)
    """By outcome, when the pod was bound."""
    collisions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By outcome and ``Collided``, ``hold`` later."""
    _pending: OrderedDict[str, _Pending] = field(default_factory=OrderedDict)
    _numbers: dict[str, int] = field(default_factory=dict)
    """Each node's place in the marks; only ever added to, so that marks made earlier stay right."""
    _seen: Snapshot | None = None

    def record_answers(self, pod: PodInfo, demand: Demand, answers: WouldBe, snapshot: Snapshot) -> None:
        """Remember the responses that acting would have given about ``pod``."""
        known = self._pending.get(pod.uid)
        if demand.neutral or not pod.uid or (known is not None and known.outcome is not None):
            return  # placement does not concern it, or it is bound already
        self._follow(snapshot)
        unseen = _BEST if any(name not in self._numbers for name in answers.best) else _ELSEWHERE
        self._pending[pod.uid] = _Pending(demand, self._numbers, self._marks(answers), unseen)
        self._pending.move_to_end(pod.uid)
        if len(self._pending) > MAX_PENDING:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Drop the oldest pod: it counts as forgotten, or as never judged if it has an outcome already."""
        _, oldest = self._pending.popitem(last=False)
        if oldest.outcome is None:
            self.outcomes[ShadowOutcome.FORGOTTEN.value] += 1
        else:
            self.collisions[oldest.outcome.value, Collided.NEVER_JUDGED.value] += 1

    def _follow(self, snapshot: Snapshot) -> None:
        """Number new nodes; number all again once most numbers belong to nodes that are gone."""
        if snapshot is self._seen:
            return
        changed = snapshot.changed_since(self._seen.version) if self._seen is not None else None
        self._seen = snapshot
        for name in snapshot.nodes if changed is None else changed:
            if name in snapshot.nodes:
                self._numbers.setdefault(name, len(self._numbers))
        if len(self._numbers) > 2 * len(snapshot.nodes) + _SPARE:
            self._numbers = {name: number for number, name in enumerate(snapshot.nodes)}

    def _marks(self, answers: WouldBe) -> bytes:
        names, passed, best = answers
        marks = bytearray(len(self._numbers))
        steps = [(_BEST, best)] if passed is names else [(_REJECTED, names), (_ELSEWHERE, passed), (_BEST, best)]
        for mark, found in steps:
            for number in map(self._numbers.get, found):
                if number is not None:
                    marks[number] = mark
        return bytes(marks)

    def follow_binds(self, nodes: Mapping[str, str], snapshot: Snapshot, now: float) -> None:
        """Take in where pods are bound at ``now`` (monotonic seconds). ``nodes`` maps the UIDs of bound pods to
        nodes."""
        for uid, pending in list(self._pending.items()):
            if pending.outcome is None and uid in nodes:
                self._bound(pending, nodes[uid], now)
            elif pending.outcome is not None and now >= pending.judge_at:
                verdict = collides(pending.demand, snapshot.view(pending.node)) if uid in nodes else None
                told = _COLLIDED[verdict]
                self.collisions[pending.outcome.value, told.value] += 1
                del self._pending[uid]

    def _bound(self, pending: _Pending, node: str, now: float) -> None:
        pending.node, pending.judge_at = node, now + self.hold
        pending.outcome = _OUTCOMES[pending.mark(node)]
        self.outcomes[pending.outcome.value] += 1

    def report(self) -> dict[str, object]:
        """For people: counts, and what they mean."""
        judged = [outcome for outcome in ShadowOutcome if outcome is not ShadowOutcome.FORGOTTEN]
        collided = {outcome.value: self.collisions[outcome, Collided.YES] for outcome in judged}
        return {
            "pods": dict(self.outcomes),
            "collided": collided,
            "avoidable_collisions": collided[ShadowOutcome.KEPT_OFF] + collided[ShadowOutcome.ELSEWHERE],
            "never_judged": sum(self.collisions[outcome, Collided.NEVER_JUDGED] for outcome in judged),
            "pending": len(self._pending),
        }

    @property
    def waiting(self) -> tuple[str, ...]:
        """UIDs of pods still of interest."""
        return tuple(self._pending)
