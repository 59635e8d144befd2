# SPDX-License-Identifier: Apache-2.0
"""Full or not, flat tops, and what full links of every kind teach."""

from __future__ import annotations

import itertools
from typing import Final

import pytest

from lab.bench.agent.capacity import learn
from lab.bench.agent.simulated_links import LINKS, carried
from nodeagent.node.capacity.direction import Direction
from nodeagent.node.capacity.estimator import STRONG, WEAK, WEAK_LIMIT, Estimator
from nodeagent.node.capacity.flat_top import FlatTop
from nodeagent.node.capacity.resolve import FIRM
from nodeagent.node.capacity.saturation import IDLE

BY_NAME: Final = {link.name: link for link in LINKS}


def after(readings: str, seconds: float = 1.0) -> list[bool]:
    """Full or not after each reading: ``x`` busy, ``.`` not."""
    state, found = IDLE, []
    for reading in readings:
        state = state.after(reading == "x", seconds)
        found.append(state.full)
    return found


def test_a_queue_at_three_readings_is_a_full_link_and_one_is_not() -> None:
    assert after("x....x..x....xx")[-1] is False
    assert after("xxx") == [False, False, True]


def test_a_full_link_stays_full_over_a_gap_and_not_for_long() -> None:
    assert after("xxxxxxxxxx..x......") == [False] * 2 + [True] * 15 + [False] * 2


@pytest.mark.parametrize("readings", ["x." * 60, "x.." * 60, "xx.." * 30])
def test_a_link_that_queues_half_of_the_time_never_flaps(readings: str) -> None:
    found = after(readings)
    assert sum(a is not b for a, b in itertools.pairwise(found)) <= 1


def test_readings_close_together_do_not_make_a_link_full_sooner() -> None:
    assert after("x" * 10, 0.25).count(True) == 0
    assert after("x" * 12, 0.25)[-1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("link", "minutes", "most"),
    [
        ("steady", 1, 0.03),
        ("bursting by credit", 60, 0.03),
        ("shared", 10, 0.05),
        ("raised after 15 minutes", 60, 0.03),
    ],
)
def test_a_links_capacity_is_learned_whatever_kind_of_link_it_is(
    link: str, minutes: int, most: float, seed: int
) -> None:
    [learned] = learn(BY_NAME[link], [minutes], seed)
    assert learned.error is not None
    assert abs(learned.error) <= most


@pytest.mark.parametrize("seed", range(5))
def test_the_largest_rate_ever_seen_is_fooled_by_a_burst_for_ever(seed: int) -> None:
    [learned] = learn(BY_NAME["bursting by credit"], [60], seed)
    assert learned.largest_error > 10


@pytest.mark.parametrize("seed", range(5))
def test_a_link_that_was_never_full_teaches_nothing_firm(seed: int) -> None:
    [learned] = learn(BY_NAME["never full"], [60], seed)
    assert learned.sure < FIRM / 2


def test_confidence_rises_as_more_is_seen() -> None:
    found = [learned.sure for learned in learn(BY_NAME["steady"], [1, 2, 5])]
    assert found == sorted(found)
    assert found[0] > FIRM


def test_a_link_that_is_held_to_its_baseline_is_full_while_the_estimate_still_lags() -> None:
    direction = Direction()
    for second, (rate, busy) in enumerate(carried(BY_NAME["bursting by credit"], 1, 400)):
        direction.after(rate, 1.0, busy=busy, now=float(second))
    assert direction.saturation.full
    assert direction.used < 1e9 < direction.learned.rate


def test_an_estimate_goes_on_from_what_was_published() -> None:
    before = Estimator()
    before.add(1e9, 30, STRONG)
    restored = Estimator()
    restored.restore(before.rate, before.sure)
    assert restored.rate == pytest.approx(before.rate, rel=0.02)
    assert restored.sure == pytest.approx(before.sure, abs=0.02)


@pytest.mark.parametrize(("rate", "sure"), [(0, 0.5), (1e9, 0), (1e9, -1), (1e9, 7)])
def test_nothing_is_restored_from_what_is_no_estimate(rate: float, sure: float) -> None:
    restored = Estimator()
    restored.restore(rate, sure)
    assert (restored.rate, restored.sure) == (0, 0)


def test_flat_tops_alone_are_never_firm() -> None:
    found = Estimator()
    for _ in range(10_000):
        found.add(1e9, 1, WEAK)
    assert found.rate == pytest.approx(1e9, rel=0.02)
    assert found.sure == WEAK_LIMIT < FIRM


def test_a_broken_link_teaches_nothing() -> None:
    found = Estimator()
    found.add(1000.0, 60, STRONG)
    found.add(1e9, 0, STRONG)
    assert found.rate == 0


def flat(rates: list[float], *, elephants: float = 1.0, flows: int = 2) -> list[bool]:
    top = FlatTop()
    return [top.after(r, r * elephants, flows, float(second)) for second, r in enumerate(rates)]


def test_elephants_that_carry_the_same_together_are_a_flat_top() -> None:
    rates = [1e9, 1.01e9, 0.99e9, 1e9, 1.02e9, 1e9, 1e9, 1e9]
    assert flat(rates) == [False] * 7 + [True]
    assert flat(rates, flows=1)[-1] is False
    assert flat(rates, elephants=0.4)[-1] is False
    assert flat([*rates[:-1], 1.1e9])[-1] is False
    assert flat([0.0] * 10)[-1] is False


def test_a_flat_top_teaches_upward_and_does_not_make_a_link_full() -> None:
    direction = Direction()
    for second in range(60):
        direction.after(2e9, 1.0, busy=False, elephants=2e9, flows=3, now=float(second))
    assert direction.learned.rate == pytest.approx(2e9, rel=0.02)
    assert not direction.saturation.full
