# SPDX-License-Identifier: Apache-2.0
"""Statistics that benchmarks report of repeated measurements. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that ``share`` (0-1) of them do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("no values, so no percentile")
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def delays(values: Sequence[float]) -> dict[str, float]:
    """Count, median, 99th percentile, maximum; seconds to 0.1 ms. Below 100 values the last two are equal."""
    return {
        "count": len(values),
        "p50": round(statistics.median(values), 4),
        "p99": round(percentile(values, 0.99), 4),
        "most": round(max(values), 4),
    }


def spread(values: Sequence[float], digits: int = 2) -> dict[str, float]:
    """Median, minimum and maximum."""
    return {
        "median": round(statistics.median(values), digits),
        "least": round(min(values), digits),
        "most": round(max(values), digits),
    }
