# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.cost import (
    CEILING,
    DEFAULT_COST_MODEL,
    LONGEST,
    LinkLoad,
    placement_cost,
    slowdown,
    utilisation_with,
    waiting,
)
from footprint.units import MAX_RATE, MIN_RATE
from tests.extender.builders import LINK, M

SLOWDOWN = DEFAULT_COST_MODEL.slowdown


@pytest.mark.parametrize(
    ("u", "expected"),
    [
        (0.0, 0.0),
        (0.2, 0.25),  # 0.2 / 0.8
        (0.5, 1.0),  # 0.5 / 0.5
        (0.8, 4.0),  # 0.8 / 0.2
        (0.89, 0.89 / 0.11),  # just below saturation the formula still holds
        (0.9, 19.0),  # saturated: 0.95 / 0.05
        (0.99, 19.0),
        (7.0, 19.0),  # more expected than fits
        (-0.1, 0.0),
    ],
)
def test_a_mouse_waits_u_over_one_minus_u_until_the_link_is_full(u: float, expected: float) -> None:
    assert waiting(u) == pytest.approx(expected)


@given(st.floats(0, 10), st.floats(0, 10))
def test_waiting_never_falls_as_elephants_grow(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert 0 <= waiting(low) <= waiting(high) <= CEILING / (1 - CEILING) + 1e-9


def test_the_busier_direction_decides() -> None:
    link = LinkLoad(LINK, LINK, tx=20 * M, rx=100 * M)
    assert link.utilisation == 0.5
    assert utilisation_with(link, 120 * M, 0.0) == pytest.approx(0.7)  # tx becomes the busier one


def test_a_direction_of_unknown_capacity_costs_nothing() -> None:
    link = LinkLoad(LINK, 0.0, tx=20 * M, rx=500 * M, elephants=1)
    assert link.utilisation == pytest.approx(0.1)
    assert slowdown(100 * M, link.rx, link.cap_rx, 1) == 0.0


@pytest.mark.parametrize(
    ("wanted", "used", "elephants", "expected"),
    [
        (100, 0, 0, 0.0),  # 180 usable, 100 wanted
        (270, 0, 0, 0.5),  # 180 carried of 270: half as long again, with nobody there
        (80, 100, 1, 0.0),  # 80 are free
        (180, 180, 1, 2.0),  # 90 each: both take twice as long
        (180, 190, 1, 2.0),  # no link carries more than 180
        (90, 180, 1, 1.0),  # gets all it wants; the other keeps 90 of 180
        (180, 180, 2, 3.0),  # 60 of 180 adds 2; two keep 120 of 180, which adds 2 * 0.5
        (180, 180, 0, 2.0),  # the node's own elephants count as one
        (0, 190, 1, 0.0),
        (1e9, 180, 1, LONGEST),
    ],
)
def test_transfers_take_longer_by_what_a_link_cannot_carry(
    wanted: float, used: float, elephants: int, expected: float
) -> None:
    assert slowdown(wanted * M, used * M, LINK, elephants) == pytest.approx(expected)


@given(st.floats(1, 1e12), st.floats(0, 1e12), st.floats(0, 1e12), st.integers(0, 100))
def test_a_fuller_link_never_slows_less(wanted: float, one: float, other: float, elephants: int) -> None:
    low, high = sorted((one, other))
    if low > 0:  # an empty link has no elephants to share with
        assert (
            slowdown(wanted, low, LINK, elephants) <= slowdown(wanted, high, LINK, elephants) * (1 + 1e-9) + 1e-9
        )


@pytest.mark.parametrize(
    ("tx", "suffers", "link", "own", "harm", "slower"),
    [
        # A mouse on a half-used link waits one service time, whatever lives beside it.
        (0, True, LinkLoad(LINK, LINK, tx=100 * M, elephants=1, mice=5), 1.0, 0.0, 0.0),
        # 100 M on an empty link with three mice: 3 * (W(0.5) - W(0)) = 3.
        (100, False, LinkLoad(LINK, LINK, mice=3), 0.0, 3.0, 0.0),
        # 60 M more beside 100 M: W(0.8) - W(0.5) = 4 - 1, for two mice 6; 80 M are free.
        (60, False, LinkLoad(LINK, LINK, tx=100 * M, elephants=1, mice=2), 0.0, 6.0, 0.0),
        # On a full link no mouse waits longer than before, but both elephants take twice as long: 15 * 2.
        (
            180,
            False,
            LinkLoad(LINK, LINK, tx=190 * M, elephants=1, mice=2),
            0.0,
            0.0,
            2 * SLOWDOWN,
        ),
        # Mixed: its own mice wait W(0.5) = 1; its 40 M raise one mouse from 1 to W(0.7) = 7/3.
        (40, True, LinkLoad(LINK, LINK, tx=100 * M, elephants=1, mice=1), 1.0, 4 / 3, 0.0),
        (0, False, LinkLoad(LINK, LINK, tx=190 * M, mice=9), 0.0, 0.0, 0.0),
    ],
)
def test_the_terms_of_a_placement(
    *, tx: float, suffers: bool, link: LinkLoad, own: float, harm: float, slower: float
) -> None:
    cost = placement_cost(tx * M, 0.0, suffers, link)
    assert (cost.waiting, cost.harm, cost.slowdown) == pytest.approx((own, harm, slower))
    assert cost.total == pytest.approx(own + harm + slower)


def test_an_elephant_joins_another_rather_than_two_mice_and_one_mouse_rather_than_another() -> None:
    taken = placement_cost(180 * M, 0.0, False, LinkLoad(LINK, LINK, tx=180 * M, elephants=1)).total
    assert placement_cost(180 * M, 0.0, False, LinkLoad(LINK, LINK, mice=1)).total < taken
    assert placement_cost(180 * M, 0.0, False, LinkLoad(LINK, LINK, mice=2)).total > taken


rates = st.floats(0, 1e15)
capacities = st.just(0.0) | st.floats(MIN_RATE, MAX_RATE)
links = st.builds(LinkLoad, capacities, capacities, rates, rates, st.integers(0, 1000), st.floats(0, 1e4))


@given(rates, rates, st.booleans(), links)
def test_costs_are_finite_and_never_negative(tx: float, rx: float, suffers: bool, link: LinkLoad) -> None:
    cost = placement_cost(tx, rx, suffers, link)
    assert all(0 <= term < 1e7 for term in (cost.waiting, cost.harm, cost.slowdown))
