# SPDX-License-Identifier: Apache-2.0
"""log2 buckets, computed without a branch."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.ctnetlink.accounts import bucket
from nodeagent.sources.ebpf.kernel.layout import Histograms


@given(value=st.integers(0, 2**63 - 1))
def test_bit_length_is_pythons(helpers: ctypes.CDLL, value: int) -> None:
    assert helpers.test_bit_length(value) == value.bit_length()


@given(value=st.integers(0, 2**64 - 1))
def test_a_bucket_is_the_one_the_other_source_counts_in(helpers: ctypes.CDLL, value: int) -> None:
    assert helpers.test_bucket_of(value) == bucket(value)


@pytest.mark.parametrize("exponent", range(63))
def test_buckets_change_at_powers_of_two(helpers: ctypes.CDLL, exponent: int) -> None:
    assert helpers.test_bucket_of(2**exponent) == bucket(2**exponent)
    assert helpers.test_bucket_of(2**exponent - 1) == bucket(2**exponent - 1)


def test_an_ended_flow_is_one_size_and_one_lifetime(helpers: ctypes.CDLL) -> None:
    histograms = Histograms()
    helpers.test_count_end(ctypes.byref(histograms), 1500, 3_000_000)
    assert sum(histograms.sizes) == sum(histograms.lifetimes) == 1
    assert histograms.sizes[11] == 1
    assert histograms.lifetimes[2] == 1
