# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from nodeagent.publishing.crossings import MOST, Crossings
from nodeagent.publishing.decide import SETTLING


def test_a_crossing_belongs_to_the_write_that_comes_next() -> None:
    crossings = Crossings(1.0)
    crossings.begun([10.0, 11.0])
    assert crossings.take() == (10.0, 11.0)
    assert crossings.take() == ()


def test_one_that_changes_nothing_worth_a_write_is_dropped_after_its_time_to_do_so() -> None:
    crossings = Crossings(1.0)
    crossings.begun([10.0, 12.0])
    crossings.settle(10.5)
    assert crossings.take() == (10.0, 12.0)
    crossings.begun([10.0, 12.0])
    crossings.settle(10.0 + 1.0 + SETTLING)
    assert crossings.take() == (12.0,)


def test_they_are_bounded() -> None:
    crossings = Crossings(1.0)
    crossings.begun(range(2 * MOST))
    assert crossings.take() == tuple(range(MOST, 2 * MOST))
