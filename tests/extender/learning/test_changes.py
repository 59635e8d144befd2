# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.learning.changes import Urgency, urgency
from extender.model.profile import Profile, Rates
from extender.model.trafficfootprint import Record, decode_record, status_of
from footprint.classes import TrafficClass
from tests.extender.builders import M
from tests.extender.learning.builders import NOW, profile, record

MOUSE = TrafficClass.MOUSE


def written(held: Profile, seen: float = NOW) -> Record:
    return record(written=held, seen=seen)


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (profile(), profile(), None),
        (profile(150 * M), profile(180 * M), None),  # 17 percent of the larger
        (profile(150 * M), profile(220 * M), Urgency.MOVED),  # 32
        (profile(150 * M), profile(100 * M), Urgency.MOVED),
        (profile(2 * M), profile(2.9 * M), None),  # below 1 Mbit/s
        (profile(2 * M), profile(3.1 * M), Urgency.MOVED),
        (profile(), profile(cls=TrafficClass.MIXED), Urgency.CLASS),
        (profile(cls=MOUSE), replace(profile(cls=MOUSE), mice=1.2), None),
        (profile(cls=MOUSE), replace(profile(cls=MOUSE), mice=1.5), Urgency.MOVED),
        (profile(samples=2), profile(samples=3), None),  # 40 percent, then 50
        (profile(samples=2), profile(samples=5), Urgency.MOVED),  # 40, then 62
        (profile(samples=100), profile(samples=100_000), None),
        (profile(), replace(profile(), tx=Rates(150 * M, 300 * M)), Urgency.MOVED),
        (profile(), replace(profile(), rx=Rates(20 * M, 20 * M)), Urgency.MOVED),
        (profile(), replace(profile(), flows=1e6), None),  # told along with something else
    ],
)
def test_only_what_placement_would_notice_is_written(before: Profile, after: Profile, why: Urgency | None) -> None:
    assert urgency(written(before), after, NOW + 60, 0.5) is why


def test_what_is_not_written_yet_comes_first() -> None:
    assert urgency(None, profile(), NOW, 0.0) is Urgency.NEW
    assert urgency(record(), profile(), NOW, 0.0) is Urgency.NEW
    assert min(Urgency) is Urgency.NEW


@pytest.mark.parametrize(
    ("draw", "hours", "due"), [(0.0, 4.4, False), (0.0, 4.6, True), (0.99, 5.8, False), (0.99, 6.1, True)]
)
def test_a_sighting_is_repeated_at_the_workloads_own_time(draw: float, hours: float, due: bool) -> None:
    found = urgency(written(profile()), profile(), NOW + hours * 3600, draw)
    assert found is (Urgency.SEEN if due else None)


def test_a_sighting_from_the_future_is_put_right() -> None:
    assert urgency(written(profile(), seen=NOW + 90 * 86400), profile(), NOW, 0.5) is Urgency.SEEN


values = st.floats(0, 1e15)
anything = st.builds(
    lambda cls, tx, rx, mice, flows, samples: Profile(
        samples, cls, 1, 1.0, 0.0, Rates(*sorted(tx)), Rates(*sorted(rx)), mice, flows
    ),
    st.sampled_from([cls for cls in TrafficClass if cls is not TrafficClass.UNKNOWN]),
    st.tuples(values, values), st.tuples(values, values), st.floats(0, 100), st.floats(0, 1e9),
    st.integers(1, 10**9),
)  # fmt: skip


@given(anything)
def test_what_was_just_written_is_never_written_again(held: Profile) -> None:
    obj = {
        "metadata": {"name": "n", "namespace": "shop"}, "spec": {"workload": "CronJob/backup"},
        "status": status_of(held, NOW),
    }  # fmt: skip
    assert urgency(decode_record(obj), held, NOW + 60, 0.5) is None
