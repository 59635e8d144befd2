# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from footprint.token_bucket import TokenBucket

BURST = 20.0
pauses = st.lists(st.floats(0, 3600), min_size=1, max_size=100)


@given(pauses)
def test_a_bucket_never_allows_more_than_its_burst_and_rate(pauses: list[float]) -> None:
    bucket, now, spent = TokenBucket(BURST, 1.0, refilled_at=0.0), 0.0, 0
    for pause in pauses:
        now += pause
        bucket = bucket.refilled(now)
        spent += bucket.available
        bucket = bucket.taken(bucket.available)
        assert 0 <= bucket.tokens <= BURST
    assert spent <= BURST + now + 1e-6


def test_a_clock_that_stands_still_or_runs_back_gains_nothing() -> None:
    empty = TokenBucket(BURST, 1.0, 0.0, 100.0)
    assert empty.refilled(100.0).available == empty.refilled(50.0).available == 0
    assert empty.refilled(103.5).available == 3


@given(pauses, st.floats(0.1, 100))
def test_reserved_actions_never_come_faster_than_the_rate(pauses: list[float], interval: float) -> None:
    bucket, now, sent = TokenBucket(5, interval), 0.0, list[float]()
    for pause in pauses:
        now += pause
        bucket, wait = bucket.reserved(now)
        sent.append(now + wait)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= 5 + (sent[last] - sent[first]) / interval + 1e-6


def test_without_an_interval_nothing_ever_waits() -> None:
    bucket = TokenBucket(1, 0.0)
    for _ in range(100):
        bucket, wait = bucket.reserved(10.0)
        assert wait == 0.0
