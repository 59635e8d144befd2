# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from lab.bench.scheduler.throughput import (
    HEAD_START,
    OWN_RULE,
    SETUPS,
    Kind,
    Round,
    Setup,
    crossing,
    order,
    ratio,
    summed,
)
from lab.controlplane import scheduler_config

PAGE = """# TYPE scheduler_schedule_attempts_total counter
scheduler_schedule_attempts_total{profile="a",result="scheduled"} 7
scheduler_schedule_attempts_total{profile="b",result="scheduled"} 5
scheduler_schedule_attempts_total{profile="a",result="unschedulable"} 3
"""


def test_samples_are_summed_by_their_labels() -> None:
    assert summed(PAGE, "scheduler_schedule_attempts_total", result="scheduled") == 12
    assert summed(PAGE, "another", result="scheduled") == 0


def test_a_counter_passes_a_value_between_two_looks() -> None:
    samples = [(10.0, 0.0), (11.0, 50.0), (12.0, 150.0)]
    assert crossing(samples, 100) == 11.5
    assert crossing(samples, 0) == 10.0
    assert crossing(samples, 1000) == 12.0


def test_only_the_time_after_the_head_start_counts() -> None:
    assert Round(Kind.WITH, HEAD_START + 400, 4.0, {}).per_second == 100


def test_every_kind_has_its_turn_and_none_is_always_first() -> None:
    kinds = order(2)
    assert sorted(kinds[: len(Kind)]) == sorted(kinds[len(Kind) :]) == sorted(Kind)
    assert kinds[0] is not kinds[len(Kind)]


def test_ratios_compare_rounds_of_one_cycle() -> None:
    seconds = {Kind.WITHOUT: 1.0, Kind.UNBATCHED: 1.5, Kind.WITH: 2.0}
    rounds = [
        Round(kind, HEAD_START + 100, seconds.get(kind, 3.0) * slower, {}) for slower in (1, 9) for kind in Kind
    ]
    assert ratio(rounds, Kind.WITH) == pytest.approx(0.5)
    assert ratio(rounds, Kind.WITH, Kind.UNBATCHED) == pytest.approx(0.75)


def test_kinds_differ_from_what_is_shipped_only_where_they_say_so() -> None:
    shipped = scheduler_config.shipped()
    assert shipped["percentageOfNodesToScore"] != OWN_RULE["percentageOfNodesToScore"]
    assert SETUPS[Kind.WITH] == Setup(extender=True)
    assert {kind for kind, setup in SETUPS.items() if setup.settings == OWN_RULE} == {
        Kind.WITHOUT, Kind.UNBATCHED, Kind.WITH_MORE,
    }  # fmt: skip
    assert SETUPS.keys() == set(Kind)
