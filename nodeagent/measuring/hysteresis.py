# SPDX-License-Identifier: Apache-2.0
"""Hysteresis of a pod's class: how long another class must last before it is published. Pure.

Enters: the class that ``footprint.classes.classify`` finds at each sample. Leaves: the class to publish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from footprint.classes import TrafficClass

ONSET_HOLD: Final = 0.0
"""Seconds. An elephant is published at once: its flow has already shown volume and a sustained rate, and placement
gains most from knowing early."""
SETTLE_HOLD: Final = 5.0
"""Seconds between other classes; longer than the rates' means take to settle after a change."""
FIRST_HOLD: Final = 2.0
"""Seconds before a new pod is a mouse: an elephant's first megabytes look like one."""
LEAVE_HOLD: Final = 15.0
"""Seconds before an elephant pod is none any more: bulk work pauses between files."""
QUIET_HOLD: Final = 30.0
"""Seconds before a pod is quiet: mice come in bursts."""
FIRST_QUIET_HOLD: Final = 10.0
"""Seconds before a new pod is quiet: programs start before they talk."""


@dataclass(frozen=True, slots=True)
class ClassState:
    """The settled class, and the class of the last samples."""

    cls: TrafficClass = TrafficClass.UNKNOWN
    shows: TrafficClass = TrafficClass.UNKNOWN
    since: float = 0.0
    """When ``shows`` began to show, in the caller's seconds."""


def hold(believed: TrafficClass, shows: TrafficClass) -> float:
    """Seconds that ``shows`` must last before it is published."""
    if shows.hurts and not believed.hurts:
        return ONSET_HOLD
    if believed is TrafficClass.UNKNOWN:
        return FIRST_QUIET_HOLD if shows is TrafficClass.QUIET else FIRST_HOLD
    if shows is TrafficClass.QUIET:
        return QUIET_HOLD
    if believed.hurts and not shows.hurts:
        return LEAVE_HOLD
    return SETTLE_HOLD


def observe(state: ClassState, shows: TrafficClass, now: float) -> ClassState:
    """The state after a sample of class ``shows`` at ``now``. A known class never becomes ``unknown`` again."""
    if shows is TrafficClass.UNKNOWN or shows is state.shows is state.cls:
        return state
    since = state.since if shows is state.shows else now
    if now - since >= hold(state.cls, shows):
        return ClassState(shows, shows, since)
    return state if shows is state.shows else ClassState(state.cls, shows, since)
