# SPDX-License-Identifier: Apache-2.0
"""The lean sums of ``nodeagent.measuring.rates`` against the plain definition: one ``Mean`` for every figure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.units import MAX_RATE
from nodeagent.measuring.rates import (
    FLOWS_TAU,
    NOTHING,
    RATE_TAU,
    SHARE_TAU,
    Interval,
    Mean,
    OwnerRates,
    Totals,
    link_bits,
    weight,
)

SIZES = st.one_of(st.just(0), st.integers(0, 10**4), st.integers(0, 10**10), st.integers(0, 2**70))
STEPS = st.builds(Totals, SIZES, SIZES, st.just(0), st.just(0), SIZES, SIZES, SIZES, SIZES)


@dataclass
class Plain:
    """One owner, as the module's docstring says it."""

    link: list[Mean] = field(default_factory=lambda: [Mean(RATE_TAU) for _ in range(4)])
    local: Mean = field(default_factory=lambda: Mean(RATE_TAU))
    flows: Mean = field(default_factory=lambda: Mean(FLOWS_TAU))
    ended: Mean = field(default_factory=lambda: Mean(SHARE_TAU))
    mice: Mean = field(default_factory=lambda: Mean(SHARE_TAU))
    carrying: bool = False

    def add(self, step: Totals, seconds: float, elephants: int) -> None:
        rates = [min(size * 8.0 / seconds, MAX_RATE) for size in step]
        if self.carrying and not elephants:
            self.carrying = False
            self.link[0].restart(min(max(step.tx - step.etx, 0) * 8.0 / seconds, MAX_RATE))
            self.link[1].restart(min(max(step.rx - step.erx, 0) * 8.0 / seconds, MAX_RATE))
            self.link[2].restart(0.0)
            self.link[3].restart(0.0)
        else:
            if not self.carrying and elephants and step.etx + step.erx:
                self.carrying = True
                for mean in self.link:
                    mean.restart()
            for mean, rate in zip(self.link, rates[:4], strict=True):
                mean.add(rate, seconds)
        self.local.add(rates[4], seconds)
        self.flows.add(min(step.born / seconds, 1e9), seconds)
        self.ended.add(step.ended / seconds, seconds)
        self.mice.add(step.mice / seconds, seconds)


def added(owner: OwnerRates, step: Totals, seconds: float, elephants: int = 0) -> None:
    owner.add(step, link_bits(step, seconds), Interval.of(seconds), elephants, lasting=elephants > 0)


@given(
    samples=st.lists(
        st.tuples(
            st.one_of(st.just(NOTHING), STEPS),
            st.floats(0, 1),
            st.floats(0.01, 1000),
            st.sampled_from([0, 0, 1, 3]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_every_figure_is_its_own_mean_exactly(samples: list[tuple[Totals, float, float, int]]) -> None:
    owner, plain = OwnerRates(), Plain()
    for drawn, part, seconds, elephants in samples:
        step = drawn
        if elephants and drawn is not NOTHING:
            step = drawn._replace(etx=int(drawn.tx * part), erx=int(drawn.rx * part))
        added(owner, step, seconds, elephants)
        plain.add(step, seconds, elephants)
        assert list(owner.link) == [mean.value for mean in plain.link]
        assert (owner.local, owner.flows) == (plain.local.value, plain.flows.value)
        if plain.ended.total > 1e-9:
            assert owner.mice_share == min(plain.mice.total / plain.ended.total, 1.0)
        assert owner.carrying is plain.carrying


def test_what_an_idle_owner_adds_is_what_a_step_of_zeros_adds() -> None:
    idle, zeros = OwnerRates(), OwnerRates()
    for owner, nothing in ((idle, NOTHING), (zeros, Totals(0, 0, 0, 0, 0, 0, 0, 0))):
        added(owner, Totals(tx=10**6, born=3, ended=2, mice=1, local=9), 1.0)
        added(owner, nothing, 2.0)
    assert idle == zeros
    assert 0 < idle.link.tx < 8e6


@pytest.mark.parametrize("seconds", [1e-6, 0.5, 1.0, 3600.0])
def test_a_weight_is_the_part_of_the_mean_that_a_sample_replaces(seconds: float) -> None:
    assert weight(seconds, RATE_TAU) == pytest.approx(1 - math.exp(-seconds / RATE_TAU))


@given(before=STEPS, step=STEPS)
def test_what_was_added_is_the_difference_and_nothing_goes_backwards(before: Totals, step: Totals) -> None:
    after = Totals(*(a + b for a, b in zip(before, step, strict=True)))
    assert after.since(before) == step
    assert (before.since(after) is None) is any(step)


def test_elephants_that_never_last_an_interval_are_counted_from_the_second_on() -> None:
    owner = OwnerRates()
    short = Totals(tx=10**7, etx=8 * 10**6)
    owner.add(short, link_bits(short, 1.0), Interval.of(1.0), 1)
    assert (owner.link.etx, owner.carrying) == (0.0, False)
    owner.add(short, link_bits(short, 1.0), Interval.of(1.0), 1)
    assert owner.link.etx == pytest.approx(64e6)
    assert owner.link.tx == pytest.approx(80e6)
