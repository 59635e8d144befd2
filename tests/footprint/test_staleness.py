# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.staleness import Freshness, LastRenewal, freshness, observe, stale_after


def test_three_missed_renewals_are_stale() -> None:
    assert stale_after() == 180
    assert stale_after(10) == 30


@pytest.mark.parametrize(
    ("heartbeat", "now", "expected"),
    [
        (None, 0.0, Freshness.MISSING),
        (LastRenewal("7", 100.0), 100.0, Freshness.FRESH),
        (LastRenewal("7", 100.0), 280.0, Freshness.FRESH),
        (LastRenewal("7", 100.0), 280.1, Freshness.STALE),
    ],
)
def test_freshness_counts_from_the_last_change_seen(
    heartbeat: LastRenewal | None, now: float, expected: Freshness
) -> None:
    assert freshness(heartbeat, now, 180.0) is expected


def test_seeing_the_same_lease_again_is_no_sign_of_life() -> None:
    first = observe(None, "7", 100.0)
    assert observe(first, "7", 200.0) is first
    assert observe(first, "8", 200.0) == LastRenewal("8", 200.0)


@given(st.text(), st.text())
def test_markers_are_never_read_as_times(one: str, other: str) -> None:
    assert observe(observe(None, one, 1.0), other, 2.0).seen_at == (1.0 if one == other else 2.0)
