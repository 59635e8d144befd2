# SPDX-License-Identifier: Apache-2.0
"""Is a node's footprint still worth believing? The one rule, for filter and score alike.

Judged by the reader's own monotonic clock since it last *saw* the node's Lease change, never by comparing the
clocks of two machines. Pure: every call takes ``now``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LEASE_RENEW_SECONDS: Final = 60.0
"""How often an agent renews its Lease: often enough to notice a dead agent within minutes, and one small write
per node and minute for the API server."""

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
