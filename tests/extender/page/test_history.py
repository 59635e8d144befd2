# SPDX-License-Identifier: Apache-2.0
"""The last hour in memory."""

from __future__ import annotations

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.page.history import STEPS, UNKNOWN, History, code_rate, code_share, rate_of, share_of

NODES = 5000


def test_what_was_before_the_start_is_not_known() -> None:
    history = History(1, 10)
    history.put("a", 3, [7])
    assert history.read("a", 3) == [[UNKNOWN] * (STEPS - 1) + [7]]


def test_steps_that_nobody_saw_stay_unknown_also_after_an_hour() -> None:
    history = History(2, 10)
    history.put("a", 0, [1, 2])
    history.put("a", 4, [3, 4])
    first, second = history.read("a", 5)
    assert first[-6:] == [1, UNKNOWN, UNKNOWN, UNKNOWN, 3, UNKNOWN]
    assert second[-6:] == [2, UNKNOWN, UNKNOWN, UNKNOWN, 4, UNKNOWN]
    history.put("a", 3 * STEPS, [5, 6])
    assert history.read("a", 3 * STEPS) == [[UNKNOWN] * (STEPS - 1) + [5], [UNKNOWN] * (STEPS - 1) + [6]]


def test_an_unknown_thing_has_an_unknown_hour() -> None:
    assert History(1, 10).read("nobody", 9) == [[UNKNOWN] * STEPS]


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(0, 254)), min_size=1, max_size=60))
def test_a_ring_is_a_list_of_which_the_last_hour_is_left(writes: list[tuple[int, int]]) -> None:
    history, step, kept = History(1, 1), 0, dict[int, int]()
    for wait, value in writes:
        step += wait
        history.put("a", step, [value])
        kept[step] = value
    assert history.read("a", step + 2) == [[kept.get(past, UNKNOWN) for past in range(step + 3 - STEPS, step + 3)]]


def test_there_are_no_more_rings_than_allowed_and_old_ones_go() -> None:
    history = History(1, 2)
    for name in "abc":
        history.put(name, 0, [1])
    assert (len(history), history.left_out) == (2, 1)
    history.put("b", STEPS, [1])
    history.forget_old(STEPS)
    history.put("c", STEPS, [9])
    assert history.read("a", STEPS)[0] == [UNKNOWN] * STEPS
    assert history.read("c", STEPS)[0][-1] == 9


def test_five_thousand_nodes_take_as_much_as_the_module_says() -> None:
    names = [f"node-{number}" for number in range(NODES)]
    tracemalloc.start()
    history = History(4, 10_000)
    for step in range(3):
        for name in names:
            history.put(name, step, (1, 2, 3, 4))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert history.size == NODES * 480
    assert taken < 4_500_000, taken


@pytest.mark.parametrize(
    ("used", "capacity", "shown"),
    [(0, 100, 0.0), (50, 100, 0.5), (100, 100, 1.0), (300, 100, 1.0), (-1, 100, 0.0), (1, 0, None)],
)
def test_shares_keep_half_a_percent(used: float, capacity: float, shown: float | None) -> None:
    assert share_of(code_share(used, capacity)) == shown


@given(st.floats(2e3, 1e15))
def test_rates_keep_six_percent(rate: float) -> None:
    shown = rate_of(code_rate(rate))
    assert shown is not None
    assert rate / 1.07 < shown < rate * 1.07


def test_the_ends_of_the_scale() -> None:
    assert [rate_of(code_rate(rate)) for rate in (0.0, 999.0)] == [0.0, 0.0]
    assert code_rate(sys.float_info.max) == UNKNOWN - 1
    assert rate_of(UNKNOWN) is None
