# SPDX-License-Identifier: Apache-2.0
"""When a flow becomes an elephant in the kernel, and when it stops being one. Times in jiffies, 250 a second."""

from __future__ import annotations

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.base import FlowThresholds
from nodeagent.sources.ebpf.kernel.layout import ORIGINAL, PACE_SLOW, REPLY, Config, FlowEntry
from nodeagent.sources.ebpf.values import configure

TICK = 0.004
SECOND = 250
NONE, BECAME, CEASED = 0, 1, 2
MIB = 2**20
RATE = 1_250_000
"""Bytes a second that make an elephant by default."""


class Run:
    """One flow, packet by packet."""

    def __init__(self, helpers: ctypes.CDLL, start: int = 0, thresholds: FlowThresholds | None = None) -> None:
        self._helpers, self.now = helpers, start
        self.flow, self.config = FlowEntry(window=start % 2**32), Config()
        configure(self.config, thresholds or FlowThresholds(), TICK)

    def packet(self, size: int, direction: int = ORIGINAL) -> list[int]:
        """What the packet brought about."""
        flow, config = ctypes.byref(self.flow), ctypes.byref(self.config)
        turns = [self._helpers.test_open_window(flow, ctypes.c_uint32(self.now % 2**32), config)]
        self.flow.bytes[direction] += size
        turns.append(self._helpers.test_judge(flow, config))
        return [turn for turn in turns if turn]

    def at_rate(self, rate: float, seconds: float, direction: int = ORIGINAL) -> list[tuple[int, int]]:
        """(jiffy, turn) of everything that happens while packets come every 20 ms."""
        happened = []
        for _ in range(round(seconds * 50)):
            self.now += SECOND // 50
            happened += [(self.now, turn) for turn in self.packet(round(rate / 50), direction)]
        return happened


def test_a_fast_flow_is_an_elephant_with_the_byte_that_makes_it_large(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    while run.flow.bytes[ORIGINAL] < 10 * MIB:
        run.now += 1
        turns = run.packet(64 * 1024)
    assert turns == [BECAME]
    assert run.now < SECOND  # within the first window


def test_a_large_flow_below_the_rate_is_none(helpers: ctypes.CDLL) -> None:
    assert Run(helpers).at_rate(RATE * 0.9, 60) == []


def test_a_flow_just_above_the_rate_is_one_once_it_is_large(helpers: ctypes.CDLL) -> None:
    happened = Run(helpers).at_rate(RATE * 1.1, 20)
    assert [turn for _, turn in happened] == [BECAME]
    large = 10 * MIB / (RATE * 1.1) * SECOND
    assert large <= happened[0][0] <= large + 1.1 * SECOND


def test_the_reply_direction_makes_an_elephant_as_well(helpers: ctypes.CDLL) -> None:
    assert [turn for _, turn in Run(helpers).at_rate(RATE * 3, 8, REPLY)] == [BECAME]


def test_neither_direction_alone_sustaining_the_rate_makes_none(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    for _ in range(3000):
        run.now += 5
        assert run.packet(round(RATE * 0.6 / 50)) == []
        assert run.packet(round(RATE * 0.6 / 50), REPLY) == []


def test_one_burst_in_an_idle_large_flow_makes_none_below_the_rate(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    for _ in range(100):  # a burst of less than a window's worth, once a minute
        run.now += 60 * SECOND
        assert run.packet(RATE - 100) == []


def test_it_ceases_after_the_hold_below_the_exit_rate(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    run.at_rate(RATE * 4, 4)
    assert run.flow.elephant
    slow = run.now
    happened = run.at_rate(RATE * 0.3, 10)
    assert [turn for _, turn in happened] == [CEASED]
    assert 5 * SECOND <= happened[0][0] - slow <= 7.1 * SECOND


def test_a_rate_between_exit_and_entry_keeps_it(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    run.at_rate(RATE * 4, 4)
    assert run.at_rate(RATE * 0.7, 30) == []
    assert run.flow.elephant


def test_a_break_in_the_slowness_starts_the_hold_again(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    run.at_rate(RATE * 4, 4)
    for _ in range(5):
        assert run.at_rate(RATE * 0.1, 3.5) == []
        assert run.at_rate(RATE * 2, 2.2) == []
    assert not run.flow.pace & PACE_SLOW


def test_a_flow_that_returns_after_silence_has_ceased_and_begins_again(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    run.at_rate(RATE * 4, 4)
    run.now += 20 * SECOND
    assert run.packet(1000) == [CEASED]
    assert [turn for _, turn in run.at_rate(RATE * 4, 2)] == [BECAME]


def test_time_may_wrap(helpers: ctypes.CDLL) -> None:
    run = Run(helpers, start=2**32 - SECOND)
    assert [turn for _, turn in run.at_rate(RATE * 2, 8)] == [BECAME]


def test_another_processors_later_look_at_the_clock_closes_no_window(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    run.at_rate(RATE * 4, 4)
    run.flow.window = opened = run.now + 1  # by that processor, a moment ago
    assert run.packet(1000) == []
    assert (run.flow.window, run.flow.elephant, run.flow.pace & PACE_SLOW) == (opened, 1, 0)


def test_thresholds_may_change_in_mid_flow(helpers: ctypes.CDLL) -> None:
    run = Run(helpers)
    assert run.at_rate(RATE * 0.5, 30) == []
    configure(run.config, FlowThresholds(elephant_rate=4e6), TICK)
    assert [turn for _, turn in run.at_rate(RATE * 0.5, 3)] == [BECAME]


@given(
    start=st.integers(0, 2**32 - 1),
    packets=st.lists(st.tuples(st.integers(0, 2**31), st.integers(0, 2**32 - 1), st.integers(0, 1)), max_size=60),
)
def test_beginnings_and_ends_alternate_whatever_comes(
    helpers: ctypes.CDLL, start: int, packets: list[tuple[int, int, int]]
) -> None:
    run, last = Run(helpers, start), CEASED
    for pause, size, direction in packets:
        run.now += pause
        for turn in run.packet(size, direction):
            assert turn != last
            last = turn
    assert bool(run.flow.elephant) == (last == BECAME)
