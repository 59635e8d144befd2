# SPDX-License-Identifier: Apache-2.0
"""Which replica writes: one Lease, taken, renewed, and given up.

Enters: the Lease as the API shows it, and this process's monotonic clock. Leaves: what to do with it, and until
when this replica may write. The decisions are pure. Guarantees: two replicas write at the same time only if one
of them is halted between looking at its clock and sending, for longer than a third of ``DURATION``; then one
status may be written twice, and nothing is lost.

The Kubernetes client's own ``leaderelection`` is not used: it judges by the wall clock, which steps; it cannot be
stopped, nor run twice; it never gives a Lease up, so that every upgrade would leave nobody leading for a while.
This one judges as the project judges agents' heartbeats (``footprint.staleness``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from footprint.staleness import Freshness, LastRenewal, freshness, observe

DURATION: Final = 30.0
"""Seconds without a renewal after which another replica takes over: nothing is lost while nobody writes."""
RENEW: Final = 10.0
"""Seconds between renewals, and between looks of those who wait."""
WRITES_FOR: Final = DURATION * 2 / 3
"""Seconds after a renewal was begun in which its sender may write: less than others wait."""


class Step(Enum):
    WAIT = "wait"  # somebody else leads
    TAKE = "take"  # nobody does, or no longer
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class Candidacy:
    """What one replica remembers. Times are its monotonic seconds."""

    identity: str
    seen: LastRenewal | None = None
    writes_until: float = field(default=float("-inf"))

    def leads(self, now: float) -> bool:
        return now < self.writes_until


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def holder_of(lease: Mapping[str, Any]) -> str:
    """Who holds it; empty when it was given up, or never held."""
    return _text((lease.get("spec") or {}).get("holderIdentity"))


def decide(candidacy: Candidacy, lease: Mapping[str, Any], now: float) -> tuple[Candidacy, Step]:
    """What to do about ``lease``, read at ``now``."""
    holder = holder_of(lease)
    if holder == candidacy.identity:
        return candidacy, Step.RENEW
    marker = f"{holder} {_text((lease.get('spec') or {}).get('renewTime'))}"
    seen = observe(candidacy.seen, marker, now)
    free = not holder or freshness(seen, now, DURATION) is not Freshness.FRESH
    # Whatever we believed: the API says that somebody else holds it.
    return Candidacy(candidacy.identity, seen), Step.TAKE if free else Step.WAIT


def after_renewal(candidacy: Candidacy, begun: float) -> Candidacy:
    """After a renewal or a taking that was begun at ``begun`` and succeeded."""
    return Candidacy(candidacy.identity, None, begun + WRITES_FOR)


def claimed(lease: Mapping[str, Any], identity: str, moment: datetime) -> dict[str, Any]:
    """``lease`` as its new or old holder writes it. ``resourceVersion`` stays, so that only one of two
    succeeds."""
    spec = dict(lease.get("spec") or {})
    when = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if holder_of(lease) != identity:
        transitions = spec.get("leaseTransitions")
        spec["leaseTransitions"] = (transitions if isinstance(transitions, int) else 0) + 1
        spec["acquireTime"] = when
    spec |= {"holderIdentity": identity, "leaseDurationSeconds": int(DURATION), "renewTime": when}
    return {**lease, "spec": spec}


def given_up(lease: Mapping[str, Any]) -> dict[str, Any]:
    """``lease`` free for the next."""
    return {**lease, "spec": {**(lease.get("spec") or {}), "holderIdentity": ""}}
