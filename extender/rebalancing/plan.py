# SPDX-License-Identifier: Apache-2.0
"""One round: from what a look at the cluster has shown to the moves that may be made now. Pure.

Enters: a survey, the history, a function that examines one pod, and ``now``. Leaves: a Plan, and the history after
the look. Guarantees: each move is within every limit, also beside the other moves of the same plan; at most
``MAX_EXAMINED`` pods are examined, so a round's requests to the API are bounded; of more, each has its turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from extender.rebalancing.config import RebalanceConfig
from extender.rebalancing.gain import Misplaced, Reason, Refusal, Survey
from extender.rebalancing.history import History, Wait, moved, node_waits, observed, waits

MAX_EXAMINED: Final = 16
"""Pods read in full in one round."""
MAX_REFUSALS: Final = 512
"""Refusals that a plan tells; of more, those of the worst nodes."""


class Examined(NamedTuple):
    """What reading a pod and its better nodes in full has shown."""

    refusal: Wait | None
    target: str = ""
    """The cheapest node that passes the pod's constraints."""
    cost: float = 0.0
    """There, in service times."""
    age: float = 0.0
    """Of the pod, seconds."""


Examine = Callable[[Misplaced, Collection[str]], Examined]
"""Reads a pod in full; of its targets those in the collection are passed over."""


class Move(NamedTuple):
    """An eviction that is worth it, and where kube-scheduler is expected to place the pod anew."""

    found: Misplaced
    target: str
    cost: float
    """At the target, in service times."""

    @property
    def gain(self) -> float:
        return self.found.cost - self.cost

    def describe(self) -> str:
        """For people, without what a format string would take for a verb."""
        here, there = f"{self.found.cost:.1f} on {self.found.node}", f"{self.cost:.1f} on {self.target}"
        return f"costs {here} and would cost {there}: {self.found.reason}"


@dataclass(frozen=True, slots=True)
class Plan:
    moves: tuple[Move, ...] = ()
    """Due now, the largest gain first."""
    refused: tuple[Refusal, ...] = ()
    troubled: int = 0
    misplaced: int = 0
    gain: float = 0.0
    """Summed over the moves."""


def plan(
    found: Survey, history: History, examine: Examine, now: float, config: RebalanceConfig,
    *, most: int = MAX_EXAMINED,
) -> tuple[Plan, History]:  # fmt: skip
    """The plan at ``now``. The history notes what was seen; ``history.moved`` notes a move once it was made.
    ``most``: pods that ``examine`` is asked about."""
    history = after = observed(history, found.misplaced, now)
    moves: list[Move] = []
    refused: list[Refusal] = []
    ready = [one.pod.uid for one in found.misplaced if waits(history, one, config.cooldown, now, config) is None]
    turns, stayed = _turns(ready, history, most), dict(history.stayed)
    for one in found.misplaced:
        # What waits although the pod were just old enough need not be read.
        wait = waits(after, one, config.cooldown, now, config)
        if wait is None and one.pod.uid not in turns:
            wait = Wait(Reason.LIMIT, "enough pods are examined in this round, its turn comes")
        if wait is None:
            busy = {name for name, _ in one.targets if node_waits(after, name, now, config) > 0}
            seen = examine(one, busy)
            wait = seen.refusal or waits(after, one, seen.age, now, config)
            if wait is not None:
                stayed[one.pod.uid] = now
            else:
                moves.append(Move(one, seen.target, seen.cost))
                after = moved(after, one, seen.target, now)
        if wait is not None:
            refused.append(Refusal(one.pod, one.node, wait.reason, wait.detail))
    told = (*refused, *found.refused)[:MAX_REFUSALS]
    gain = sum(move.gain for move in moves)
    return Plan(tuple(moves), told, found.troubled, len(found.misplaced), gain), replace(history, stayed=stayed)


def _turns(ready: Iterable[str], history: History, most: int) -> set[str]:
    """UIDs of the pods that are read in this round: those first that were never found to stay, then those of which
    that was longest ago. Else the same few, such as pods that nobody let be moved, would take every turn."""
    return set(sorted(ready, key=lambda uid: history.stayed.get(uid, -math.inf))[:most])


def first_fit(
    found: Misplaced, busy: Collection[str], price: float, obstacle: Callable[[str], str | None]
) -> tuple[str, float] | str:
    """The cheapest target that ``obstacle`` lets pass, and its cost; else why there is none."""
    why = ""
    for name, cost in found.targets:
        if found.cost - cost < price:
            break
        if name in busy:
            why = why or f"{name}: had a move lately"
            continue
        if (problem := obstacle(name)) is None:
            return name, cost
        why = why or f"{name}: {problem}"
    return why or "no node costs less"
