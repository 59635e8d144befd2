# SPDX-License-Identifier: Apache-2.0
"""What the rebalancer remembers: since when moves are worth it, who was moved, what failed. Pure.

Enters: what each round found, what became of evictions, and ``now`` (own monotonic seconds). Leaves: the next
History, and whether a move may be made. Guarantees: no workload is moved twice within the cool-down; no node takes
part in two moves within the node's interval; evictions never exceed the budget; everything stops after failures or
while a moved workload's pods stay pending. All of it is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, TypeVar

from extender.model.pods import PodInfo, WorkloadKey
from extender.rebalancing.config import RebalanceConfig
from extender.rebalancing.gain import Misplaced, Reason, pending
from footprint.token_bucket import TokenBucket

MAX_REMEMBERED: Final = 4096
"""Workloads, and nodes, whose last move is remembered. The oldest go first; at one move a minute it is days."""
MAX_IN_FLIGHT: Final = 4
"""Evicted pods whose successors do not run yet."""
FORGET_IN_FLIGHT: Final = 3600.0
"""Seconds after which an eviction counts as done though its pod is still there: it takes very long to end."""
SEEN_WITHIN: Final = 20.0
"""Seconds within which a controller has made the evicted pod's successor, and the watch shows it."""
FAILURES: Final = 3
"""Failed evictions in a row after which everything stops."""
REFUSED_FOR: Final = 300.0
"""Seconds for which a workload is left alone after a PodDisruptionBudget refused: a rollout takes minutes."""
MOST_PATIENCE: Final = 4.0
HOUR: Final = 3600.0

K = TypeVar("K")


class Sent(NamedTuple):
    """An eviction whose pod's successor does not run yet."""

    uid: str
    workload: WorkloadKey
    at: float
    pending_since: float | None = None
    """Since when the workload has a pending pod."""
    unsure: bool = False
    """The request failed. Whether the API server evicted the pod all the same is not known."""


@dataclass(frozen=True, slots=True)
class History:
    """Times are own monotonic seconds."""

    since: Mapping[str, float] = field(default_factory=dict)
    """Pod UID → since when a move of it is worth it."""
    stayed: Mapping[str, float] = field(default_factory=dict)
    """Pod UID → when reading it in full last showed that it stays."""
    workloads: Mapping[WorkloadKey, float] = field(default_factory=dict)
    """Workload → its last move."""
    nodes: Mapping[str, float] = field(default_factory=dict)
    """Node → the last move from or to it."""
    refused: Mapping[WorkloadKey, float] = field(default_factory=dict)
    """Workload → until when it is left alone because its budget refused."""
    in_flight: tuple[Sent, ...] = ()
    budget: TokenBucket = field(default_factory=lambda: TokenBucket(1.0, 60.0))
    failures: int = 0
    """Failed evictions since the last one that succeeded."""
    halted_until: float = -math.inf
    halted_why: str = ""


class Wait(NamedTuple):
    """Why a move is not made now."""

    reason: Reason
    detail: str


def beginning(config: RebalanceConfig, now: float) -> History:
    """The memory of a replica that just took over: it sees all anew, and moves nothing before ``sustain``."""
    interval = 60.0 / config.per_minute if config.per_minute > 0 else math.inf
    first = 1.0 if config.per_minute > 0 else 0.0
    return History(budget=TokenBucket(max(1.0, config.per_minute), interval, first, now))


def interrupted(history: History) -> History:
    """While this replica may not act: its look at the cluster is broken off, what it did still counts."""
    return replace(history, since={}, stayed={})


def patience(share: float, age: float) -> float:
    """How many times longer a move of such a pod must have been worth it, 1-4.

    One more for a pod that fills its link with a transfer that it would begin anew. One more for each power of ten
    of hours that it runs: after an hour 0.3, after a day 1.4, after a month 2.9.
    """
    return min(1.0 + min(max(share, 0.0), 1.0) + math.log10(1.0 + max(age, 0.0) / HOUR), MOST_PATIENCE)


def observed(history: History, misplaced: Iterable[Misplaced], now: float) -> History:
    """After a round in which moves of ``misplaced`` were worth it, and no others: their time begins anew."""
    since = {found.pod.uid: history.since.get(found.pod.uid, now) for found in misplaced}
    return replace(history, since=since, stayed={uid: at for uid, at in history.stayed.items() if uid in since})


def waits(history: History, found: Misplaced, age: float, now: float, config: RebalanceConfig) -> Wait | None:
    """Why ``found``, whose pod is ``age`` seconds old, is not moved now; None when it may be."""
    return next(_waits(history, found, age, now, config), None)


def _waits(
    history: History, found: Misplaced, age: float, now: float, config: RebalanceConfig
) -> Iterator[Wait]:  # fmt: skip
    if now < history.halted_until:
        yield Wait(Reason.HALTED, f"stopped: {history.halted_why}")
    worth, needed = now - history.since.get(found.pod.uid, now), config.sustain * patience(found.share, age)
    if worth < needed:
        yield Wait(Reason.NOT_YET, f"worth it for {worth:.0f} s of {needed:.0f} s")
    if (left := _left(history.workloads.get(found.pod.key), config.cooldown, now)) > 0:
        yield Wait(Reason.COOLING_DOWN, f"its workload was moved lately, or that failed, {left:.0f} s to go")
    if age < config.cooldown:
        yield Wait(Reason.COOLING_DOWN, f"it was made lately, {config.cooldown - age:.0f} s to go")
    if (left := history.refused.get(found.pod.key, now) - now) > 0:
        yield Wait(Reason.REFUSED, f"its PodDisruptionBudget refused, tried again in {left:.0f} s")
    if (left := node_waits(history, found.node, now, config)) > 0:
        yield Wait(Reason.COOLING_DOWN, f"{found.node} had a move lately, {left:.0f} s to go")
    if len(history.in_flight) >= MAX_IN_FLIGHT:
        yield Wait(Reason.LIMIT, f"{len(history.in_flight)} moved pods do not run yet")
    if any(sent.workload == found.pod.key for sent in history.in_flight):
        yield Wait(Reason.LIMIT, "a moved pod of its workload does not run yet")
    if history.budget.refilled(now).available < 1:
        yield Wait(Reason.LIMIT, f"no more than {config.per_minute:g} moves a minute")


def node_waits(history: History, node: str, now: float, config: RebalanceConfig) -> float:
    """Seconds until ``node`` may take part in a move."""
    return _left(history.nodes.get(node), config.node_interval, now)


def _left(at: float | None, interval: float, now: float) -> float:
    return at + interval - now if at is not None else 0.0


def moved(history: History, found: Misplaced, target: str, now: float, *, unsure: bool = False) -> History:
    """After an eviction that was granted, or one that is planned and counts in the same round; ``unsure``: or one
    that may have been granted."""
    since = {uid: at for uid, at in history.since.items() if uid != found.pod.uid}
    return replace(
        history, since=since, workloads=_with(history.workloads, {found.pod.key: now}),
        nodes=_with(history.nodes, {found.node: now, target: now}),
        in_flight=(*history.in_flight, Sent(found.pod.uid, found.pod.key, now, unsure=unsure)),
        budget=history.budget.refilled(now).taken(), failures=0,
    )  # fmt: skip


def refused(history: History, workload: WorkloadKey, now: float) -> History:
    """After a PodDisruptionBudget refused."""
    live = {key: until for key, until in history.refused.items() if until > now}
    return replace(history, refused=_with(live, {workload: now + REFUSED_FOR}))


def failed(
    history: History, found: Misplaced, why: str, now: float, config: RebalanceConfig,
    *, target: str, fatal: bool = False,
) -> History:  # fmt: skip
    """After an eviction that failed otherwise. ``fatal``: the next one would fail as well.

    It counts as a move in every limit. A response that was lost says nothing of what the API server did, and a
    workload whose evictions always fail must not be tried before all others each time.
    """
    failures = history.failures + 1
    after = replace(moved(history, found, target, now, unsure=True), failures=failures)
    return halted(after, why, now, config) if fatal or failures >= FAILURES else after


def halted(history: History, why: str, now: float, config: RebalanceConfig) -> History:
    """Everything stops for a while. What was worth it must be so anew."""
    return replace(history, halted_until=now + config.halt, halted_why=why, failures=0, since={})


def settled(
    history: History, pods: Mapping[WorkloadKey, Collection[PodInfo]], now: float, config: RebalanceConfig
) -> History:
    """After looking at the ``pods`` of the workloads that were moved."""
    still = []
    for sent in history.in_flight:
        there = [pod for pod in pods.get(sent.workload, ()) if not pod.ended]
        waiting = pending(there)
        gone = all(pod.uid != sent.uid or (sent.unsure and not pod.deleting) for pod in there)
        since = (now if sent.pending_since is None else sent.pending_since) if waiting else None
        if since is not None and now - since >= config.pending_limit:
            name = "/".join(sent.workload)
            why = f"pods of {name} have been pending for {now - since:.0f} s since one was moved"
            return replace(halted(history, why, now, config), in_flight=())
        done = gone and not waiting and now - sent.at >= SEEN_WITHIN
        if not done and now - sent.at < FORGET_IN_FLIGHT:
            still.append(sent._replace(pending_since=since))
    return replace(history, in_flight=tuple(still))


def _with(before: Mapping[K, float], new: Mapping[K, float]) -> dict[K, float]:
    """Both, newest last, without the oldest of too many."""
    after = {key: at for key, at in before.items() if key not in new} | dict(new)
    return dict(list(after.items())[-MAX_REMEMBERED:])
