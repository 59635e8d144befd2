# SPDX-License-Identifier: Apache-2.0
"""The learner's intervals and limits: plain values, made from the settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LearnerConfig:
    """See ``extender.settings`` for why each default."""

    interval: float = 30.0
    """Seconds between two samples of every workload."""
    retention: float = 30 * 86400.0
    """Seconds without a sighting after which an object is deleted."""
    capacity: int = 5000
    """Objects that the learner creates at most."""
