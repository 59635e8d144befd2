# SPDX-License-Identifier: Apache-2.0
"""Readings → the node's footprint.

Enters: successive readings, the node's pods, the link's capacity. Leaves: a ``NodeFootprint``, or None while there
are too few readings. Guarantees: no clock and no I/O; time is the readings' own. No rate comes from one reading,
across epochs, or from counters that went backwards (counted in ``refused``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from footprint.classes import DEFAULT_THRESHOLDS, ClassThresholds
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from footprint.units import MAX_RATE
from nodeagent.measuring.lifetimes import PodLife
from nodeagent.measuring.rates import NOTHING, Interval, LinkBits, OwnerRates, Totals, link_bits
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Counters, LossKind, Reading

LOSS_MEMORY: Final = 60.0
"""Seconds that a loss stays among the reasons in ``bad``. A person has time to see it, and one overrun does not
switch the reason on and off."""
ENDED_LIMIT: Final = 100
"""Ended pods kept in all ..."""
ENDED_PER_WORKLOAD: Final = 3
"""... and of one workload. Fifteen runs of a job teach no more than three."""
_INTERVALS: Final = 2
_SAME_MOMENT: Final = 1e-6
"""Seconds within which two moments count as one: rounding differs."""


@dataclass(frozen=True, slots=True)
class _Ended:
    at: float
    footprint: PodFootprint


class Counted(NamedTuple):
    """Bytes counted over the link, before any correction. Cumulative, like the sum of a link's own counters."""

    tx: int = 0
    """Of all owners but UNATTRIBUTED, and CARRIER, whose bytes others have already."""
    rx: int = 0
    unattributed: int = 0
    """Both directions: which is sent and which received is convention alone (``nodeagent.sources.base``)."""
    etx: int = 0
    """The part of ``tx`` that elephants carried."""
    erx: int = 0

    @property
    def all(self) -> int:
        return self.tx + self.rx + self.unattributed


class Scale(NamedTuple):
    """Part of what was counted that is believed, per direction."""

    tx: float = 1.0
    rx: float = 1.0


AS_COUNTED: Final = Scale()


class Aggregator:
    """State between readings; see the module."""

    def __init__(
        self, source: str, *, retention: float = 900.0, thresholds: ClassThresholds = DEFAULT_THRESHOLDS
    ) -> None:
        self.source, self._retention, self._thresholds = source, retention, thresholds
        self._previous: tuple[float, int] | None = None  # taken_at, epoch
        self._seen: dict[str, tuple[Counters, Totals]] = {}
        self._lives: dict[str, PodLife] = {}
        self._others = {HOST: OwnerRates(), UNATTRIBUTED: OwnerRates()}
        self._ended: list[_Ended] = []
        self._losses: dict[LossKind, int] = {}
        self._lost_at: dict[LossKind, float] = {}
        self._intervals = 0
        self.refused = 0
        """Samples refused because a counter went backwards, or time did."""
        self.counted = Counted()
        self.sampled: float | None = None
        """Seconds of the last interval; None when the last reading gave no rates."""
        self.restarted = False
        """An owner's means began anew in the last interval: an elephant began or ended."""

    def restore(self, ended: Iterable[PodFootprint], now: float) -> None:
        """Take over what an earlier process published of ended pods; their retention starts over at ``now``."""
        self._ended = _bounded([_Ended(now, footprint) for footprint in ended])

    def advance(
        self,
        reading: Reading,
        pods: Mapping[str, LocalPod],
        capacity: LinkRates,
        *,
        bad: tuple[str, ...] = (),
        scale: Scale = AS_COUNTED,
    ) -> NodeFootprint | None:
        """Add one reading. ``pods``: those known now, by UID. ``bad``: more reasons for the footprint. ``scale``:
        how much of it is believed."""
        self._note_losses(reading)
        self.sampled = seconds = self._seconds_since_previous(reading)
        steps = self._steps(reading.owners)
        if seconds is not None:
            self._count(steps)
            before = {owner for owner, rates in self._rates() if rates.carrying}
            self._sample(reading, _scaled(steps, scale), pods, Interval.of(seconds))
            self.restarted = before != {owner for owner, rates in self._rates() if rates.carrying}
        self._settle(pods, reading.taken_at)
        return self._footprint(reading.taken_at, capacity, bad) if self._intervals >= _INTERVALS else None

    def _seconds_since_previous(self, reading: Reading) -> float | None:
        """Seconds since the previous reading of the same epoch; None when no rate may be taken."""
        previous, self._previous = self._previous, (reading.taken_at, reading.epoch)
        if previous is None or previous[1] != reading.epoch:
            return None
        seconds = reading.taken_at - previous[0]
        if seconds <= 0:
            self.refused += 1
            return None
        self._intervals += 1
        return seconds

    def _steps(self, owners: Mapping[str, Counters]) -> dict[str, Totals | None]:
        """What each owner added since the previous reading; None where a counter went backwards.

        A new owner began at zero within the epoch. An owner that is idle or not reported is left out.
        """
        before, self._seen = self._seen, {}
        steps: dict[str, Totals | None] = {}
        for owner, counters in owners.items():
            known = before.get(owner)
            if known is not None and known[0] is counters:
                self._seen[owner] = known
                continue
            totals = Totals.of(counters)
            self._seen[owner] = (counters, totals)
            steps[owner] = totals.since(known[1] if known is not None else NOTHING)
        return steps

    def _count(self, steps: Mapping[str, Totals | None]) -> None:
        tx, rx, unattributed, etx, erx = self.counted
        for owner, step in steps.items():
            if step is None:
                self.refused += 1
            elif owner == CARRIER:
                continue
            elif owner == UNATTRIBUTED:
                unattributed += step.tx + step.rx
            else:
                tx, rx, etx, erx = tx + step.tx, rx + step.rx, etx + step.etx, erx + step.erx
        self.counted = Counted(tx, rx, unattributed, etx, erx)

    def _rates(self) -> Iterator[tuple[str, OwnerRates]]:
        yield from self._others.items()
        for uid, life in self._lives.items():
            yield uid, life.rates

    def rates_with_elephants(self) -> dict[str, LinkBits]:
        """bit/s of each owner that has elephants."""
        return {owner: rates.link for owner, rates in self._rates() if rates.link.etx or rates.link.erx}

    def _sample(
        self,
        reading: Reading,
        steps: Mapping[str, Totals | None],
        pods: Mapping[str, LocalPod],
        interval: Interval,
    ) -> None:
        now, began = reading.taken_at, reading.taken_at - interval.seconds
        elephants = [(owner, flow) for flow in reading.elephants if not flow.local for owner in set(flow.owners)]
        flows = Counter(owner for owner, _ in elephants)
        lasting = {owner for owner, flow in elephants if flow.since <= began + _SAME_MOMENT}
        for owner, rates in self._others.items():
            if (step := steps.get(owner, NOTHING)) is not None:
                bits = link_bits(step, interval.seconds)
                rates.add(step, bits, interval, flows.get(owner, 0), lasting=owner in lasting)
        for uid in [uid for uid, life in self._lives.items() if life.info.sharing and uid not in reading.owners]:
            del self._lives[uid]  # another source counts now, for which it is part of the host
        for uid, pod in pods.items():
            known = bool(pod.measured and pod.addresses) or (pod.sharing and uid in reading.owners)
            if known and uid not in self._lives:
                self._lives[uid] = PodLife(pod)
        for uid, life in self._lives.items():
            life.info = pods.get(uid, life.info)
            if (step := steps.get(uid, NOTHING)) is not None:
                life.add(
                    step, interval, elephants=flows.get(uid, 0), lasting=uid in lasting, now=now,
                    thresholds=self._thresholds,
                )  # fmt: skip

    def _settle(self, pods: Mapping[str, LocalPod], now: float) -> None:
        """Move pods that ended to the ended ones, and drop those whose retention is over."""
        ended = [uid for uid in self._lives if uid not in pods or pods[uid].ended]
        for uid in ended:
            footprint = self._lives.pop(uid).ended()
            if footprint is not None and self._retention > 0:
                self._ended.append(_Ended(now, footprint))
        lasting = [e for e in self._ended if now - e.at < self._retention]
        if ended or len(lasting) != len(self._ended):
            self._ended = _bounded(lasting)

    def _note_losses(self, reading: Reading) -> None:
        for kind, count in reading.lost.items():
            if count > self._losses.get(kind, 0):
                self._lost_at[kind] = reading.taken_at
            self._losses[kind] = count

    def _footprint(self, now: float, capacity: LinkRates, bad: tuple[str, ...]) -> NodeFootprint:
        recent = {kind.value for kind, at in self._lost_at.items() if now - at < LOSS_MEMORY}
        pods = (life.running() for life in self._lives.values())
        return NodeFootprint(
            src=self.source,
            cap=capacity,
            pods=tuple(pod for pod in pods if pod is not None),
            ended=tuple(e.footprint for e in self._ended),
            el=self._elephants(),
            un=_all(self._others[UNATTRIBUTED]),
            host=_all(self._others[HOST]),
            local=self._local(),
            bad=tuple(sorted(recent | set(bad))),
        )

    def _elephants(self) -> LinkRates:
        """bit/s of all owners together."""
        tx = rx = 0.0
        for _, rates in self._rates():
            tx += rates.link.etx
            rx += rates.link.erx
        return LinkRates(min(tx, MAX_RATE), min(rx, MAX_RATE))

    def _local(self) -> float:
        """bit/s between two ends on this node.

        Both pods' figures hold each byte between two pods, so this takes half of their sum. A byte between a pod
        and the node is in the pod's figures alone, and counts half here.
        """
        pods = sum(life.rates.local for life in self._lives.values())
        return min(pods / 2 + self._others[HOST].local, MAX_RATE)


def _scaled(steps: dict[str, Totals | None], scale: Scale) -> dict[str, Totals | None]:
    """``steps`` with as many bytes over the link as are believed."""
    if scale == AS_COUNTED:
        return steps
    tx, rx = scale

    def scaled(step: Totals) -> Totals:
        return step._replace(
            tx=round(step.tx * tx), rx=round(step.rx * rx), etx=round(step.etx * tx), erx=round(step.erx * rx)
        )

    return {owner: None if step is None else scaled(step) for owner, step in steps.items()}


def _all(rates: OwnerRates) -> LinkRates:
    return LinkRates(rates.link.tx, rates.link.rx)


def _bounded(ended: list[_Ended]) -> list[_Ended]:
    """The latest of each workload, and of all; oldest first."""
    kept: list[_Ended] = []
    copies: Counter[tuple[str, str]] = Counter()
    for entry in reversed(ended):
        workload = (entry.footprint.ns, entry.footprint.wl)
        copies[workload] += 1
        if copies[workload] <= ENDED_PER_WORKLOAD and len(kept) < ENDED_LIMIT:
            kept.append(entry)
    return kept[::-1]
