# SPDX-License-Identifier: Apache-2.0
"""Events about the Node itself: its link's capacity is not known or not understood, or much traffic is not seen.

Enters: what is published, reading by reading, and what the Node states that was not understood. Leaves: notices,
and their Events of events.k8s.io/v1. Pure. Guarantees: one notice of a kind in ``AGAIN`` seconds at most, whatever
comes and goes; at most ``MOST`` kinds are remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from footprint.cluster import events
from footprint.keys import NODE_LINK_CAPACITY
from footprint.models import NodeFootprint
from nodeagent.measuring.coverage import LOW_COVERAGE

HOLD: Final = 60.0
"""Seconds for which something must have been so."""
AGAIN: Final = 3600.0
"""Seconds, for which an API server keeps an Event."""
MOST: Final = 32
NOT_UNDERSTOOD: Final = "LinkCapacityNotUnderstood"
UNKNOWN: Final = "LinkCapacityUnknown"
LITTLE_SEEN: Final = "LowCoverage"
CONTROLLER: Final = "traffic-footprint-nodeagent"


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell."""

    reason: str
    note: str
    about: str = ""
    """What makes it another one of the same reason."""


def notices(footprint: NodeFootprint, misunderstood: Iterable[str]) -> Iterator[Notice]:
    """What is to be told of the node as it is now."""
    for problem in misunderstood:
        yield Notice(NOT_UNDERSTOOD, f"{problem}; it is treated as absent", problem)
    if not footprint.cap.busier:
        yield Notice(
            UNKNOWN,
            "nobody knows what the link carries, so pods are placed here as if nothing were known of it; "
            f"state it with the annotation {NODE_LINK_CAPACITY}, such as 10G",
        )
    if LOW_COVERAGE in footprint.bad:
        yield Notice(
            LITTLE_SEEN,
            f"the source {footprint.src} does not see most of what the link carries, so elephants may be missing; "
            "see `traffic-footprint-nodeagent preflight` on the node",
        )


@dataclass(slots=True)
class Notices:
    """State between readings."""

    _since: dict[tuple[str, str], float] = field(default_factory=dict)
    _told: dict[tuple[str, str], float] = field(default_factory=dict)

    def advance(self, footprint: NodeFootprint, misunderstood: Iterable[str], now: float) -> list[Notice]:
        """Those to be told now, at monotonic ``now``."""
        standing = {(one.reason, one.about): one for one in notices(footprint, misunderstood)}
        self._since = {key: self._since.get(key, now) for key in list(standing)[:MOST]}
        due = []
        for key, since in self._since.items():
            told = self._told.get(key)
            if now - since >= HOLD and (told is None or now - told >= AGAIN):
                self._told.pop(key, None)
                self._told[key] = now  # the newest last
                due.append(standing[key])
        while len(self._told) > MOST:
            del self._told[next(iter(self._told))]
        return due


def node_event(notice: Notice, node: str, uid: str, moment: datetime) -> dict[str, Any]:
    """The Event. Its name is the same for the same notice of the same Node, so that a restarted agent repeats
    nothing while the API server still has it."""
    return events.warning(
        events.Regarded("Node", node, uid), events.Reporter(CONTROLLER, node), action="MeasureLink",
        reason=notice.reason, note=notice.note, key=f"{notice.reason}\0{notice.about}", moment=moment,
    )  # fmt: skip
