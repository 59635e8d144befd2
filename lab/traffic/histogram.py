# SPDX-License-Identifier: Apache-2.0
"""Latencies in log-linear buckets, so that histograms of many clients merge exactly: pure functions.

A bucket's width is at most 1/64 of its values, so a value is known to better than 1 %. A histogram is a mapping
from bucket to count; as JSON its keys are texts, which every function here takes as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

SUBBUCKETS: Final = 64
"""Buckets in each power of two; below 2 * SUBBUCKETS microseconds every value has a bucket of its own."""


def bucket(microseconds: int) -> int:
    """The bucket of a value; negative ones (a clock's granularity) count as 0."""
    if microseconds < 2 * SUBBUCKETS:
        return max(0, microseconds)
    shift = microseconds.bit_length() - SUBBUCKETS.bit_length()
    return SUBBUCKETS * shift + (microseconds >> shift)


def midpoint(index: int) -> float:
    """The value, in microseconds, that stands for everything in a bucket."""
    if index < 2 * SUBBUCKETS:
        return float(index)
    shift = index // SUBBUCKETS - 1
    return float(((index - SUBBUCKETS * shift) << shift) + ((1 << shift) - 1) / 2)


def merge(histograms: Iterable[Mapping[Any, int]]) -> dict[int, int]:
    """One histogram of all values."""
    merged: dict[int, int] = {}
    for histogram in histograms:
        for index, count in histogram.items():
            merged[int(index)] = merged.get(int(index), 0) + count
    return merged


def quantile(histogram: Mapping[Any, int], q: float) -> float | None:
    """The value, in microseconds, that a share ``q`` (0..1) of all values does not exceed; None without values."""
    total = sum(histogram.values())
    if total == 0:
        return None
    wanted, seen = max(1.0, q * total), 0
    index = 0
    for index, count in sorted((int(index), count) for index, count in histogram.items()):
        seen += count
        if seen >= wanted - 1e-9 * total:
            return midpoint(index)
    return midpoint(index)


def cumulative(histogram: Mapping[Any, int]) -> list[tuple[float, float]]:
    """Points (microseconds, share of values up to there) for a plot."""
    total, seen = sum(histogram.values()), 0
    points = []
    for index, count in sorted((int(index), count) for index, count in histogram.items()):
        seen += count
        points.append((midpoint(index), seen / total))
    return points
