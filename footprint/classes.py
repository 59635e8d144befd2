# SPDX-License-Identifier: Apache-2.0
"""Traffic classes of pods and workloads, and the one rule that assigns them. Pure.

Enters: smoothed rates of one pod. Leaves: its class. Volume and sustained rate decide, never packet sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TrafficClass(StrEnum):
    """What a pod is to the network. The values are the wire's and the ``class`` annotation's spelling."""

    ELEPHANT = "elephant"  # bulk transfers carry most of its bytes
    MOUSE = "mouse"  # many short, small flows or small request/response exchanges
    MIXED = "mixed"  # both, neither dominating
    QUIET = "quiet"  # measured, and too little traffic to matter
    UNKNOWN = "unknown"  # not measured for long enough

    @property
    def hurts(self) -> bool:
        """Its own traffic makes others wait."""
        return self in (TrafficClass.ELEPHANT, TrafficClass.MIXED)

    @property
    def suffers(self) -> bool:
        """It is sensitive to waiting behind elephants."""
        return self in (TrafficClass.MOUSE, TrafficClass.MIXED)


@dataclass(frozen=True, slots=True)
class ClassThresholds:
    """The borders between classes. Rates in bit/s, shares 0-1."""

    elephant_rate: float = 10e6
    """Elephant traffic (EWMA over the link, busier direction) from which a pod counts as carrying elephants."""
    mixed_mice_rate: float = 1e6
    """Non-elephant traffic beside elephants from which the pod is mixed rather than elephant ..."""
    mixed_mice_share: float = 0.1
    """... if it is also at least this share of the pod's bytes."""
    quiet_rate: float = 2e3
    """Below this rate, and below ``quiet_flows``, a pod is quiet."""
    quiet_flows: float = 0.05
    """New flows per second below which a pod may be quiet."""


DEFAULT_THRESHOLDS = ClassThresholds()


def classify(
    *,
    rate: float,
    elephant_rate: float,
    new_flows: float,
    samples: int,
    thresholds: ClassThresholds = DEFAULT_THRESHOLDS,
) -> TrafficClass:
    """Class of a pod from smoothed values.

    ``rate`` is bit/s in the pod's busier direction, and ``elephant_rate`` the part of it that elephants carry now.
    ``new_flows`` is flows/s. ``samples`` is the number of intervals that the values rest on. Fewer than two
    samples make ``unknown``, because one interval shows no trend.
    """
    if samples < 2:
        return TrafficClass.UNKNOWN
    if elephant_rate >= thresholds.elephant_rate:
        rest = max(rate - elephant_rate, 0.0)
        mixed = rest >= thresholds.mixed_mice_rate and rest >= thresholds.mixed_mice_share * rate
        return TrafficClass.MIXED if mixed else TrafficClass.ELEPHANT
    if rate < thresholds.quiet_rate and new_flows < thresholds.quiet_flows:
        return TrafficClass.QUIET
    return TrafficClass.MOUSE
