# SPDX-License-Identifier: Apache-2.0
"""Whether a footprint is worth a write of the Node, and what is written. Pure.

The API server sends every Node write to every watcher of Nodes, so writes have a budget. A token bucket holds
``BURST`` tokens and gains one per ``interval``; a write takes one. Any window of T seconds holds at most
``BURST + T / interval`` writes: one per interval in the long run. The burst lets an elephant's beginning be
written at once, before more pods are placed beside it.

- *Urgent* changes take any token: a pod turns elephant or mixed (at once, its class was held already); the
  elephants' share of the link moved by more than ``share_points``, or elephants appeared or ceased on a link
  of unknown capacity (held for ``hold`` seconds, and until the share has settled, for ``SETTLING`` seconds at
  most: what is written half-way would have to be written again).
- *Ordinary* changes (another class, a rate beyond the deadband, other reasons in ``bad``) are held, and wait
  for a whole interval and a random part of ``JITTER`` since the last write, so that agents started together
  do not write together.
- Without a change there is never a write: the heartbeat is the Lease.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any, Final

from footprint.classes import DEFAULT_THRESHOLDS, TrafficClass
from footprint.codec import encode
from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, NODE_SUMMARY
from footprint.models import CapacitySource, LinkRates, NodeFootprint, PodFootprint, Uplink
from footprint.summary import elephant_share, summary
from footprint.token_bucket import TokenBucket

BURST: Final = 3.0
"""Writes that may follow one another at once: an elephant's beginning, its settled share, its end."""
WRITE_INTERVAL: Final = 10.0
"""Seconds per write in the long run."""
FULL_BUDGET: Final = TokenBucket(BURST, WRITE_INTERVAL)
JITTER: Final = 0.2
"""Part of the interval, random for each ordinary write."""
LEARNED: Final = (CapacitySource.ESTIMATED, CapacitySource.ASSUMED)
"""Capacities that move a little all the time."""
SURE_STEP: Final = 0.2
"""Change of an estimate's confidence that is written."""
SETTLED: Final = 5
"""Points by which the elephant share may still move between two decisions and count as settled."""
SETTLING: Final = 3.0
"""Seconds after the hold; the rates' smoothing follows a step within that time."""


class Change(IntEnum):
    """How much two footprints differ."""

    NONE = 0
    ORDINARY = 1
    URGENT_HELD = 2
    URGENT = 3


@dataclass(frozen=True, slots=True)
class WritePolicy:
    interval: float = WRITE_INTERVAL
    """Mean seconds between writes."""
    hold: float = 1.0
    """Seconds a change must last."""
    deadband: float = 0.2
    """Relative change of a rate that counts."""
    rate_floor: float = 200e3
    """bit/s below which a change of a rate never counts ..."""
    rate_floor_share: float = 0.005
    """... or this part of the link's capacity, if that is more."""
    flow_floor: float = 2.0
    """New flows/s below which a change of that rate never counts."""
    flow_deadband: float = 0.5
    """Relative change of the new-flow rate that counts: it is noisier, and placement turns less on it."""
    share_points: int = 10
    """Points of the elephant share that make a change urgent."""
    elephant_rate: float = DEFAULT_THRESHOLDS.elephant_rate
    """bit/s of elephants that count as their presence where the link's capacity is not known."""


@dataclass(frozen=True, slots=True)
class PublishState:
    """What ``decide`` remembers. Times are the caller's monotonic seconds."""

    written: NodeFootprint | None = None
    """What was last handed to the writer."""
    written_at: float = 0.0
    budget: TokenBucket = FULL_BUDGET
    changed_since: float | None = None
    """Since when there has been a change, without a break."""
    urgent_since: float | None = None
    """Since when there has been an urgent one."""
    share: int = 0
    """Elephant share at the last decision."""
    settled: bool = True
    """Whether it had moved little until then."""


_ABSENT: Final = PodFootprint("", "", "", "", TrafficClass.UNKNOWN)
"""Stands for a pod before it came and after it went: without traffic and class."""


def _moved(old: float, new: float, deadband: float, floor: float) -> bool:
    return floor < abs(new - old) > deadband * max(old, new)


def _pairs(old: NodeFootprint, new: NodeFootprint) -> Iterator[tuple[PodFootprint, PodFootprint]]:
    """Each pod before and after."""
    before = {pod.uid: pod for pod in old.pods}
    for pod in new.pods:
        yield before.pop(pod.uid, _ABSENT), pod
    for pod in before.values():
        yield pod, _ABSENT


def _pod_moved(old: PodFootprint, new: PodFootprint, policy: WritePolicy, floor: float) -> bool:
    if old.cls is not new.cls and new.cls is not TrafficClass.UNKNOWN:
        return True
    if old.cls not in (TrafficClass.UNKNOWN, TrafficClass.QUIET) and new.cls is TrafficClass.UNKNOWN:
        return True  # it went, and it had traffic
    band = policy.deadband
    return (  # as ``_moved``, for every pod and decision
        floor < abs(new.tx - old.tx) > band * max(old.tx, new.tx)
        or floor < abs(new.rx - old.rx) > band * max(old.rx, new.rx)
        or floor < abs(new.etx - old.etx) > band * max(old.etx, new.etx)
        or floor < abs(new.erx - old.erx) > band * max(old.erx, new.erx)
        or policy.flow_floor < abs(new.nf - old.nf) > policy.flow_deadband * max(old.nf, new.nf)
    )


def _urgent(old: NodeFootprint, new: NodeFootprint, policy: WritePolicy) -> bool:
    if new.elephant_utilisation is None:
        present, was = (max(node.el.tx, node.el.rx) >= policy.elephant_rate for node in (new, old))
        return present is not was
    return abs(elephant_share(new) - elephant_share(old)) > policy.share_points


def change(old: NodeFootprint, new: NodeFootprint, policy: WritePolicy) -> Change:
    """How much ``new`` differs from ``old``. The end of an ended pod's retention is no change."""
    floor = max(policy.rate_floor, policy.rate_floor_share * new.cap.busier)
    moved = False
    for before, after in _pairs(old, new):
        if after.cls is not before.cls and after.cls.hurts and not before.cls.hurts:
            return Change.URGENT
        moved = moved or _pod_moved(before, after, policy, floor)
    if _urgent(old, new, policy):
        return Change.URGENT_HELD
    if moved:
        return Change.ORDINARY
    if _words(old) != _words(new) or _learned_moved(old, new, policy):
        return Change.ORDINARY
    if {pod.uid for pod in new.ended} - {pod.uid for pod in old.ended}:
        return Change.ORDINARY
    links = zip(old.uplinks, new.uplinks, strict=True)  # the same ones, as their words are equal
    rest = ((old.un, new.un), (old.host, new.host), (old.el, new.el), *((a.el, b.el) for a, b in links))
    moved = any(
        _moved(getattr(a, way), getattr(b, way), policy.deadband, floor) for a, b in rest for way in ("tx", "rx")
    )
    return Change.ORDINARY if moved else Change.NONE


def _words(node: NodeFootprint) -> tuple[object, ...]:
    """What counts whenever it changes. A capacity does where somebody or a driver states it."""
    links = tuple((link.name, _stated(link), link.by, link.full) for link in node.uplinks)
    return node.bad, node.src, _stated(node), node.up, node.by, node.full, links


def _stated(link: NodeFootprint | Uplink) -> LinkRates | None:
    return None if link.by in LEARNED else link.cap


def _learned_moved(old: NodeFootprint, new: NodeFootprint, policy: WritePolicy) -> bool:
    """Whether an estimated capacity moved by more than the deadband, or its confidence by a good part."""
    links: list[tuple[NodeFootprint, NodeFootprint] | tuple[Uplink, Uplink]]
    links = [(old, new), *zip(old.uplinks, new.uplinks, strict=True)]
    return any(
        abs(after.sure - before.sure) >= SURE_STEP
        or any(
            _moved(getattr(before.cap, way), getattr(after.cap, way), policy.deadband, policy.rate_floor)
            for way in ("tx", "rx")
        )
        for before, after in links
        if after.by in LEARNED
    )


def _due(state: PublishState, found: Change, now: float, policy: WritePolicy, draw: float) -> bool:
    if state.written is None or found is Change.URGENT:
        return True
    if state.urgent_since is not None:
        return now - state.urgent_since >= policy.hold + (0.0 if state.settled else SETTLING)
    if state.changed_since is None or now - state.changed_since < policy.hold:
        return False
    return now - state.written_at >= policy.interval * (1 + JITTER * draw)


def decide(
    state: PublishState, footprint: NodeFootprint, now: float, policy: WritePolicy, draw: float
) -> tuple[PublishState, bool]:
    """The next state, and whether ``footprint`` is to be written now.

    ``draw`` is a random number of [0, 1) that stays the same until the next write.
    """
    found = Change.URGENT if state.written is None else change(state.written, footprint, policy)
    share = elephant_share(footprint)
    state = replace(
        state,
        budget=replace(state.budget, interval=policy.interval).refilled(now),
        share=share,
        settled=abs(share - state.share) <= SETTLED,
        changed_since=_since(state.changed_since, found is not Change.NONE, now),
        urgent_since=_since(state.urgent_since, found >= Change.URGENT_HELD, now),
    )
    if found is Change.NONE or state.budget.available < 1 or not _due(state, found, now, policy, draw):
        return state, False
    return PublishState(footprint, now, state.budget.taken(), share=share), True


def _since(since: float | None, lasts: bool, now: float) -> float | None:
    return (now if since is None else since) if lasts else None


def content(footprint: NodeFootprint) -> dict[str, str]:
    """The three annotations."""
    encoded = encode(footprint)
    return {
        NODE_FOOTPRINT: encoded.text,
        NODE_SUMMARY: summary(replace(footprint, cut=footprint.cut + encoded.cut)),
        NODE_ELEPHANT_SHARE: str(elephant_share(footprint)),
    }


def merge_patch(annotations: dict[str, str]) -> dict[str, Any]:
    """The one merge-patch that carries them."""
    return {"metadata": {"annotations": annotations}}
