# SPDX-License-Identifier: Apache-2.0
"""The last decisions, as the two verbs made them.

Enters: what filter and prioritize had at hand when they answered. Leaves: the last ``KEPT`` decisions as JSON.
Guarantees: ``filtered`` and ``scored`` run between a request and its response, and take a constant few
operations: they keep references to what was computed anyway. ``digest`` turns those into a few lines, later and
elsewhere. At most ``UNREAD`` requests' lists are held until then; of more, the decision stays and its details
are counted as lost.

One decision is one pod's last attempt: kube-scheduler may ask about a pod again. Belongs to the event loop's
thread.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import orjson

from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.placement.tables import FilterAnswer, Scores
from footprint.declared import PlacementMode

KEPT: Final = 256
"""Decisions."""
UNREAD: Final = 8
"""Requests whose names and verdicts are held until ``digest``: at 5,000 candidates about 3 MB."""
NAMED: Final = 8
"""Nodes that are named in a decision: the best, and those that were rejected."""
FOLLOWED_SECONDS: Final = 600.0
"""How long a decision waits for its pod to be bound."""
MAX_TEXT: Final = 253
"""Characters of a name that are shown: the most that Kubernetes allows."""


def cut(text: str) -> str:
    """``text``, at most ``MAX_TEXT`` characters of it."""
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


@dataclass(slots=True)
class Decision:
    """One pod's last attempt."""

    number: int
    at: float
    """Seconds since 1970."""
    pod: PodInfo
    demand: Demand
    placement: PlacementMode
    candidates: int
    rejected: int = 0
    committed: str | None = None
    """The node that this replica counts the pod on from now on."""
    bound: str | None = None
    """Where the watch showed it."""
    change: int = 0
    details: Mapping[str, Any] = field(default_factory=dict)
    answer: FilterAnswer | None = None
    scores: Scores | None = None
    names: Sequence[str] = ()
    """Candidates that were scored."""

    def shown(self) -> dict[str, Any]:
        """As the page reads it."""
        pod, demand = self.pod, self.demand
        return {
            "number": self.number, "at": round(self.at, 3), "namespace": cut(pod.ns), "pod": cut(pod.name),
            "workload": cut(pod.workload), "class": demand.cls.value, "origin": demand.origin.value,
            "demand": demand.describe(), "placement": self.placement.value, "candidates": self.candidates,
            "rejected": self.rejected, "committed": self.committed and cut(self.committed),
            "bound": self.bound and cut(self.bound), **self.details,
        }  # fmt: skip


class Recorder:
    """See the module. ``clock`` is seconds since 1970."""

    def __init__(self, shadow: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.shadow, self._clock = shadow, clock
        self._kept: OrderedDict[str, Decision] = OrderedDict()
        """By the pod's UID, oldest first."""
        self._unread: deque[Decision] = deque()
        self._numbers = self.changes = 0
        self.lost_details = 0
        """Decisions whose lists were let go before anybody read them."""

    # Between a request and its response.

    def filtered(
        self, pod: PodInfo, demand: Demand, placement: PlacementMode, candidates: int, answer: FilterAnswer
    ) -> None:
        """The filter's answer."""
        decision = self._begin(pod, demand, placement, candidates)
        decision.rejected, decision.answer, decision.committed = answer.rejected, answer, answer.only
        self._hold(decision)

    def scored(
        self, pod: PodInfo, demand: Demand, placement: PlacementMode, names: Sequence[str], scores: Scores
    ) -> None:
        """The scores, after the filter's answer or without one."""
        decision = self._kept.get(pod.uid)
        if decision is None:
            decision = self._begin(pod, demand, placement, len(names))
        decision.names, decision.scores, decision.committed = names, scores, scores.chosen
        self._hold(decision)

    def _begin(self, pod: PodInfo, demand: Demand, placement: PlacementMode, candidates: int) -> Decision:
        self._numbers += 1
        made = Decision(self._numbers, self._clock(), pod, demand, placement, candidates)
        self._kept[pod.uid] = made
        self._kept.move_to_end(pod.uid)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return made

    def _hold(self, decision: Decision) -> None:
        if self._unread and self._unread[-1] is decision:
            return
        self._unread.append(decision)
        if len(self._unread) > UNREAD:
            self._let_go(self._unread.popleft())

    def _let_go(self, decision: Decision) -> None:
        if decision.answer is not None or decision.scores is not None:
            self.lost_details += 1
            decision.details = {**decision.details, "incomplete": True}
        decision.answer, decision.scores, decision.names = None, None, ()
        self._change(decision)

    def _change(self, decision: Decision) -> None:
        self.changes += 1
        decision.change = self.changes

    # Later.

    def digest(self) -> bool:
        """Turn one decision's lists into what is shown of them; False: there is none."""
        if not self._unread:
            return False
        decision = self._unread.popleft()
        details = dict(decision.details)
        if decision.answer is not None:
            details["why_not"] = [
                {"node": cut(node), "why": why[:500]}
                for node, why in orjson.loads(
                    b"{%b}" % b",".join(islice(decision.answer.reasons, NAMED))
                ).items()
            ]  # fmt: skip
        if decision.scores is not None:
            details |= _scored(decision.names, decision.scores)
        decision.details, decision.answer, decision.scores, decision.names = details, None, None, ()
        self._change(decision)
        return True

    def unbound(self) -> list[str]:
        """UIDs of pods that no watch showed on a node yet."""
        since = self._clock() - FOLLOWED_SECONDS
        return [uid for uid, one in self._kept.items() if one.bound is None and uid and one.at >= since]

    def bind(self, nodes: Mapping[str, str]) -> None:
        """Take in where pods went."""
        for uid, node in nodes.items():
            decision = self._kept.get(uid)
            if decision is not None and decision.bound != node:
                decision.bound = node
                self._change(decision)

    def since(self, change: int, most: int = KEPT) -> list[dict[str, Any]]:
        """The newest ``most`` of the decisions that changed after ``change``, oldest first. Those whose lists were
        not read yet come later."""
        found = [one for one in self._kept.values() if one.change > change]
        return [one.shown() for one in found[-most:]]


def _scored(names: Sequence[str], scores: Scores) -> dict[str, Any]:
    """How many candidates have which score, and the best of them by name."""
    if not scores.costs:
        return {}
    by_cost, found = scores.by_cost, Counter(scores.costs)
    counts: Counter[int] = Counter()
    for cost, times in found.items():
        counts[by_cost[cost]] += times
    top = max(counts)
    best = _first(names, scores.costs, {cost for cost in found if by_cost[cost] == top})
    return {"scores": {str(score): times for score, times in sorted(counts.items())}, "best": best}


def _first(
    names: Sequence[str], costs: Sequence[float | None], wanted: Collection[float | None]
) -> list[dict[str, Any]]:
    pairs = ((name, cost) for name, cost in zip(names, costs, strict=True) if cost in wanted)
    return [{"node": cut(name), "cost": cost} for name, cost in islice(pairs, NAMED)]
