# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from nodeagent.measuring.coverage import LOW_COVERAGE, Coverage
from nodeagent.node.link import LinkCounters


class Wire:
    """An interface that carries bytes of which conntrack counts a part."""

    def __init__(self) -> None:
        self.coverage, self.now, self.counted, self.carried = Coverage(), 10.0, 0, 0
        self.tick(0, 0)

    def tick(self, counted: int, carried: int, link: bool = True) -> None:
        self.now, self.counted, self.carried = self.now + 1, self.counted + counted, self.carried + carried
        self.coverage.advance(self.counted, LinkCounters(self.carried, 0) if link else None, self.now)

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


def test_counters_that_start_over_or_vanish_are_passed_over() -> None:
    wire = Wire()
    wire.run(60, 10**6, 10**6)
    wire.carried = 0
    wire.tick(10**6, 0)
    wire.tick(10**6, 10**6, link=False)
    wire.run(3, 10**6, 10**6)
    assert wire.coverage.ratio is not None
    assert abs(wire.coverage.ratio - 1) < 1e-9
