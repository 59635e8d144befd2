# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from lab.traffic import histogram

values = st.lists(st.integers(0, 10**9), min_size=1, max_size=200)


def of(microseconds: list[int]) -> dict[int, int]:
    counted: dict[int, int] = {}
    for value in microseconds:
        index = histogram.bucket(value)
        counted[index] = counted.get(index, 0) + 1
    return counted


@given(st.integers(0, 10**12))
def test_a_buckets_midpoint_is_within_one_percent_of_every_value_in_it(value: int) -> None:
    assert math.isclose(histogram.midpoint(histogram.bucket(value)), value, rel_tol=0.01, abs_tol=0.5)


@given(st.integers(0, 10**12), st.integers(0, 10**12))
def test_buckets_keep_the_order_of_values(one: int, other: int) -> None:
    low, high = sorted((one, other))
    assert histogram.bucket(low) <= histogram.bucket(high)


@given(values, st.floats(0, 1))
def test_a_quantile_is_within_one_percent_of_the_true_one(microseconds: list[int], q: float) -> None:
    ordered = sorted(microseconds)
    true = ordered[max(1, math.ceil(q * len(ordered) - 1e-9)) - 1]
    found = histogram.quantile(of(microseconds), q)
    assert found is not None
    assert math.isclose(found, true, rel_tol=0.01, abs_tol=0.5)


@given(values, values)
def test_merging_equals_counting_together_also_after_json(one: list[int], other: list[int]) -> None:
    through_json = json.loads(json.dumps({str(index): count for index, count in of(other).items()}))
    assert histogram.merge([of(one), through_json]) == of(one + other)


def test_small_values_are_exact() -> None:
    assert [histogram.midpoint(histogram.bucket(value)) for value in range(128)] == list(range(128))


def test_a_clock_that_went_back_counts_as_no_time() -> None:
    assert histogram.bucket(-5) == 0


def test_nothing_has_no_quantile() -> None:
    assert histogram.quantile({}, 0.5) is None


def test_cumulative_shares_end_at_one() -> None:
    points = histogram.cumulative(of([1, 2, 3, 1000]))
    assert [share for _, share in points] == [0.25, 0.5, 0.75, 1.0]
