# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.units import MAX_RATE, MIN_RATE, format_rate, parse_bandwidth, quantise


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("400M", 400e6), ("1.5G", 1.5e9), ("25000000", 25e6), ("100Mi", 100 * 2**20), ("10k", 10e3),
        (" 200 Mbit/s ", 200e6), ("1Gbps", 1e9), ("1000T", MAX_RATE),
    ],
)  # fmt: skip
def test_bandwidths_in_the_spellings_people_use(text: str, rate: float) -> None:
    assert parse_bandwidth(text) == rate


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "-1M",
        "0",
        "0.5",
        "0.000000001",
        "1e9",
        "NaN",
        "inf",
        "400 MB",
        "1001T",
        "٤M",
        "9" * 400,
        "1M1M",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as 400M|range of links"):
        parse_bandwidth(text)


@given(st.text())
def test_any_text_is_a_bandwidth_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert MIN_RATE <= parse_bandwidth(text) <= MAX_RATE


@pytest.mark.parametrize(
    ("value", "kept"),
    [(0, 0), (1234, 1200), (0.0456, 0.046), (99.6, 100), (-5, 0), (8.04, 8), (1.75e308, 1.7e308)],
)
def test_two_significant_digits_are_kept(value: float, kept: float) -> None:
    assert quantise(value) == kept


@given(st.floats())
def test_a_quantised_value_is_one_that_json_writers_take(value: float) -> None:
    assert orjson.loads(orjson.dumps(quantise(value))) == quantise(value)


@given(st.floats())
def test_quantising_twice_changes_nothing_and_moves_at_most_five_per_cent(value: float) -> None:
    once = quantise(value)
    assert quantise(once) == once
    if 1e-300 < value < 1e300:
        assert abs(once - value) <= 0.05 * value


@pytest.mark.parametrize(
    ("rate", "text"), [(8.1e9, "8.1 Gbit/s"), (162e6, "162 Mbit/s"), (0, "0 bit/s"), (1.234e3, "1.23 kbit/s")]
)
def test_rates_read_as_people_write_them(rate: float, text: str) -> None:
    assert format_rate(rate) == text
