# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from nodeagent.measuring.coverage import LOW_COVERAGE, Coverage, Coverages


class Wire:
    """An interface that carries bytes of which conntrack counts a part."""

    def __init__(self) -> None:
        self.coverage = Coverage()

    def tick(self, counted: int, carried: int) -> None:
        self.coverage.advance(counted * 8, carried * 8, 1.0)

    def run(self, seconds: int, counted: int, carried: int) -> None:
        for _ in range(seconds):
            self.tick(counted, carried)


def test_all_that_is_carried_is_counted() -> None:
    wire = Wire()
    wire.run(60, 10**6, 10**6)
    assert wire.coverage.ratio is not None
    assert abs(wire.coverage.ratio - 1) < 1e-9
    assert wire.coverage.reasons == ()


def test_a_bypassed_conntrack_is_a_reason_after_half_a_minute_until_it_is_well_again() -> None:
    wire = Wire()
    wire.run(25, 10**5, 10**6)
    assert not wire.coverage.low
    wire.run(15, 10**5, 10**6)
    assert wire.coverage.reasons == (LOW_COVERAGE,)
    wire.run(300, 10**6, 10**6)
    assert not wire.coverage.low


def test_an_idle_link_tells_nothing() -> None:
    wire = Wire()
    wire.run(120, 0, 1000)
    assert wire.coverage.ratio is None
    assert wire.coverage.reasons == ()


def test_more_that_is_counted_than_carried_stays_visible() -> None:
    wire = Wire()
    wire.run(60, 2 * 10**6, 10**6)
    assert wire.coverage.ratio is not None
    assert abs(wire.coverage.ratio - 2) < 1e-9


def several(seconds: int, counted: dict[str, float], carried: dict[str, float]) -> Coverages:
    found = Coverages()
    for _ in range(seconds):
        found.advance(counted, carried, 1.0)
    return found


def test_a_second_uplink_that_conntrack_does_not_see_is_a_reason_though_most_of_all_traffic_is_seen() -> None:
    found = several(60, {"eth0": 80e6, "eth1": 0}, {"eth0": 80e6, "eth1": 40e6})
    assert not found.all.low
    assert found.reasons == (LOW_COVERAGE,)
    assert found.ratios == {"eth0": 1.0, "eth1": 0.0}


def test_mice_that_are_booked_on_another_uplink_are_none() -> None:
    found = several(60, {"eth0": 120e6, "eth1": 0}, {"eth0": 80e6, "eth1": 40e6})
    assert found.reasons == ()
    assert several(60, {"eth0": 110e6, "eth1": 0}, {"eth0": 80e6, "eth1": 40e6}).reasons == ()
