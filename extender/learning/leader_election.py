# SPDX-License-Identifier: Apache-2.0
"""Elect the replica that writes: one Lease is taken, renewed and given up. Pure.

Enters: the Lease as the API shows it, and this process's monotonic clock. Leaves: what to do with the Lease, and
until when this replica may write. Guarantees: two replicas write at the same time only if one of them is suspended
between reading its clock and sending, for longer than a third of ``DURATION``. Then one status may be written
twice, and nothing is lost.

The Kubernetes client's own ``leaderelection`` does not fit. It compares wall clocks, which step. It cannot be
stopped or run twice. It never gives a Lease up, so every upgrade would leave the cluster without a leader for a
while. This election compares Leases as the project compares agents' heartbeats (``footprint.staleness``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from footprint.staleness import Freshness, LastRenewal, freshness, observe

DURATION: Final = 30.0
"""Seconds without a renewal after which another replica takes over. Nothing is lost while no replica writes."""
RENEW: Final = 10.0
"""Seconds between renewals, and between checks of replicas that wait."""
WRITES_FOR: Final = DURATION * 2 / 3
"""Seconds from the begin of a renewal in which its sender may write: less than others wait."""


class Step(Enum):
    WAIT = "wait"  # another replica leads
    TAKE = "take"  # no replica leads, or the leader is silent
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
    """The holder of ``lease``; empty when it was given up, or never held."""
    return _text((lease.get("spec") or {}).get("holderIdentity"))


def decide(candidacy: Candidacy, lease: Mapping[str, Any], now: float) -> tuple[Candidacy, Step]:
    """What to do about ``lease``, read at ``now``."""
    holder = holder_of(lease)
    if holder == candidacy.identity:
        return candidacy, Step.RENEW
    marker = f"{holder} {_text((lease.get('spec') or {}).get('renewTime'))}"
    seen = observe(candidacy.seen, marker, now)
    free = not holder or freshness(seen, now, DURATION) is not Freshness.FRESH
    # The API says that another replica holds the Lease, so this one stops leading.
    return Candidacy(candidacy.identity, seen), Step.TAKE if free else Step.WAIT


def after_renewal(candidacy: Candidacy, begun: float) -> Candidacy:
    """The candidacy after a request that was begun at ``begun`` took or renewed the Lease."""
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
    """``lease`` without a holder."""
    return {**lease, "spec": {**(lease.get("spec") or {}), "holderIdentity": ""}}
