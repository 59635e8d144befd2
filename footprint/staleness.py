# SPDX-License-Identifier: Apache-2.0
"""Decide whether a node's footprint is fresh: one rule for filter and score. Pure.

Enters: changes of the node's Lease as the reader sees them, and the reader's own monotonic time. Leaves: fresh,
stale or missing. Guarantees: the clocks of two machines are never compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LEASE_RENEW_SECONDS: Final = 60.0
"""Seconds between an agent's renewals of its Lease. A dead agent shows within minutes, and the API server gets one
small write per node and minute."""

STALE_AFTER_MISSED: Final = 3


class Freshness(StrEnum):
    """Named states; only FRESH is used for filtering or scoring, the others mean "unknown" (neutral)."""

    FRESH = "fresh"
    STALE = "stale"  # the agent stopped renewing
    MISSING = "missing"  # never seen a Lease for this node


@dataclass(frozen=True, slots=True)
class LastRenewal:
    """What was last seen of one node's Lease."""

    marker: str
    """Anything that changes with each renewal; the Lease's resourceVersion or renewTime, never read as a time."""
    seen_at: float
    """Reader's monotonic seconds when ``marker`` last changed."""


def observe(previous: LastRenewal | None, marker: str, now: float) -> LastRenewal:
    """The heartbeat after seeing ``marker`` at ``now``: only a change counts as a sign of life."""
    if previous is not None and previous.marker == marker:
        return previous
    return LastRenewal(marker, now)


def stale_after(renew_seconds: float = LEASE_RENEW_SECONDS) -> float:
    """Seconds without a renewal after which data is stale."""
    return renew_seconds * STALE_AFTER_MISSED


def freshness(heartbeat: LastRenewal | None, now: float, after: float) -> Freshness:
    """State of a node's data at ``now``; stale once ``after`` seconds passed since the last sign of life."""
    if heartbeat is None:
        return Freshness.MISSING
    return Freshness.STALE if now - heartbeat.seen_at > after else Freshness.FRESH
