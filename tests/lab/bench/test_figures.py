# SPDX-License-Identifier: Apache-2.0
"""What benchmarks say of repeated measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.bench.figures import delays, percentile, spread

VALUES = st.lists(st.floats(0, 1e6), min_size=1, max_size=300)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.99, 7.0),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 201)), 0.99, 198),
        (list(range(1, 31)), 0.99, 30),  # below a hundred values it is the most
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([3.0, 1.0, 2.0], 0.0, 1.0),
        ([3.0, 1.0, 2.0], 1.0, 3.0),
    ],
)
def test_a_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_of_nothing_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(values=VALUES, share=st.floats(0, 1))
def test_enough_values_do_not_exceed_a_percentile(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


@given(values=VALUES)
def test_figures_are_in_order(values: list[float]) -> None:
    told, shown = delays(values), spread(values)
    assert told["p50"] <= told["p99"] <= told["most"]
    assert told["count"] == len(values)
    assert shown["least"] <= shown["median"] <= shown["most"]
