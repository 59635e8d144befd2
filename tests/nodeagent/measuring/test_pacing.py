# SPDX-License-Identifier: Apache-2.0
"""When readings are taken, on a clock that the test turns."""

from __future__ import annotations

import threading
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.models import LinkRates, NodeFootprint
from nodeagent.agent import Agent
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.pacing import Pace, next_due
from nodeagent.metrics import LoopState, new_registry
from nodeagent.node.link import Link
from nodeagent.node.pods import LocalPod, PodStore
from nodeagent.publishing.decide import WritePolicy
from nodeagent.sources.base import Counters, Elephant, FlowThresholds, Locality, Reading


@pytest.mark.parametrize(
    ("due", "now", "expected"),
    [
        (10.0, 10.2, (11.0, 0)),
        (10.0, 11.0, (11.0, 0)),
        (10.0, 11.1, (12.0, 1)),
        (10.0, 13.0, (13.0, 2)),
        (10.0, 13.5, (14.0, 3)),
    ],
)
def test_readings_keep_an_absolute_schedule(due: float, now: float, expected: tuple[float, int]) -> None:
    assert next_due(due, now, 1.0) == expected


def test_without_elephants_readings_are_an_interval_apart() -> None:
    pace, taken = Pace(1.0, 100.0), []
    for _ in range(4):
        taken.append(pace.due)
        assert pace.took(pace.due, pace.due + 0.1, beginning=False) == 0
    assert taken == [100.0, 101.0, 102.0, 103.0]


def test_a_beginning_is_followed_up_and_the_schedule_stays() -> None:
    pace = Pace(1.0, 100.0)
    pace.took(100.0, 100.01, beginning=True)
    assert pace.due == 100.5
    pace.took(100.5, 100.51, beginning=True)  # another one: it waits its turn
    assert pace.due == 101.0


def test_what_the_source_tells_is_read_at_once_and_followed_up() -> None:
    pace = Pace(1.0, 100.0)
    pace.took(100.0, 100.01, beginning=False)
    pace.reported(100.3)
    assert (pace.due, pace.listen_from) == (100.3, 101.3)
    pace.took(100.3, 100.31, beginning=True)
    assert pace.due == 100.8
    pace.took(100.8, 100.81, beginning=False)
    assert pace.due == 102.0  # the one at 101 had nothing new to say


def test_an_end_that_the_source_tells_is_not_followed_up() -> None:
    pace = Pace(1.0, 100.0)
    pace.took(100.0, 100.01, beginning=False)
    pace.reported(100.3)
    pace.took(100.3, 100.31, beginning=False)
    assert pace.due == 101.0


def test_where_a_reading_takes_long_nothing_is_followed_up() -> None:
    pace = Pace(1.0, 100.0)
    assert pace.took(100.0, 100.7, beginning=True) == 0
    assert pace.due == 101.0


def test_readings_that_were_not_kept_are_counted() -> None:
    assert Pace(1.0, 100.0).took(100.0, 103.5, beginning=False) == 3


@given(
    interval=st.sampled_from([0.5, 1.0, 5.0]),
    steps=st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.floats(0, 0.3)), min_size=30, max_size=200),
)
def test_whatever_elephants_do_an_interval_holds_few_readings_and_never_none(
    interval: float, steps: list[tuple[float, bool, float]]
) -> None:
    pace, now, taken = Pace(interval, 50.0), 50.0, list[float]()
    for wait, beginning, lasts in steps:
        told = now + wait * interval
        if pace.listen_from <= told < pace.due:
            now = told
            pace.reported(now)
        now = max(now, pace.due)
        taken.append(now)
        began, now = now, now + lasts * interval
        pace.took(began, now, beginning=beginning)
    gaps = [(later - earlier) / interval for earlier, later in pairwise(taken)]
    assert max(gaps) <= 1.25 + 1e-6 + 0.3  # a reading's own time is waited for
    for first, start in enumerate(taken):
        within = [moment for moment in taken[first:] if moment < start + 10 * interval]
        assert len(within) <= 3 * 10 + 3


class Clock:
    """Turned by whoever waits; ``stop`` ends the loop at ``until``."""

    def __init__(self, until: float) -> None:
        self.now, self.until, self.stop = 1000.0, until, Stop(self)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        if self.now >= self.until:
            self.stop.set()


class Stop(threading.Event):
    """Waits on the clock instead."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if not self.is_set():
            self._clock.sleep(timeout)
        return self.is_set()


class Elephants:
    """A pod whose flows become elephants of 40 Mbit/s at given moments; ``tells``: as the eBPF source does."""

    name = "test"
    keep = pinned = False
    cost = 0.004

    def __init__(self, clock: Clock, begins: list[float], *, tells: bool) -> None:
        self._clock, self._begins, self._tells = clock, begins, tells
        self._untold = sorted(begins)
        self._since: dict[float, float] = {}
        self.read_at: list[float] = []

    def open(self) -> None: ...
    def close(self) -> None: ...
    def set_thresholds(self, thresholds: FlowThresholds) -> None: ...
    def set_locality(self, locality: Locality) -> None: ...

    def wait(self, timeout: float) -> bool:
        if self._tells and self._untold and self._untold[0] <= self._clock.now + timeout:
            self._clock.sleep(max(self._untold[0] - self._clock.now, 1e-6))
            return True
        self._clock.sleep(timeout)
        return False

    def read(self, now: float) -> Reading:
        """Bytes count as an elephant's from its beginning where the kernel notices, else from the reading on."""
        self.read_at.append(now)
        self._untold = [at for at in self._untold if at > now]
        for at in self._begins:
            if at <= now:
                self._since.setdefault(at, at if self._tells else now)
        carried = int(sum((now - since) * 5e6 for since in self._since.values()))
        sent = int(sum(max(now - at + 1, 0) * 5e6 for at in self._begins))
        self._clock.sleep(self.cost)
        flows = tuple(
            Elephant(("u",), 6, f"a:{at}", "b:1", bytes=sent, rate=4e7, since=since)
            for at, since in self._since.items()
        )
        return Reading(now, 1, {"u": Counters(tx_bytes=sent, tx_elephant_bytes=carried)}, flows)


class Writer:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.written: list[tuple[float, NodeFootprint]] = []
        self.took: list[float] = []
        """From the crossings to the writes."""

    def submit(self, footprint: NodeFootprint, crossings: tuple[float, ...] = ()) -> None:
        self.written.append((self._clock.now, footprint))
        self.took += [self._clock.now - moment for moment in crossings]

    def close(self, _timeout: float) -> bool:
        return True


class Nobody:
    def offer(self, pods: object) -> None: ...
    def tell(self, notices: object) -> None: ...


def ran(begins: list[float], *, tells: bool, seconds: float = 40.0) -> tuple[Elephants, Writer]:
    clock = Clock(1000.0 + seconds)
    source, writer, synced, store = (
        Elephants(clock, begins, tells=tells),
        Writer(clock),
        threading.Event(),
        PodStore(),
    )
    synced.set()
    store.replace([LocalPod("u", "d", "u", "Job/j", "Running", addresses=(b"\n\0\0\1",))])
    other: Any = writer, Nobody()
    agent = Agent(
        source=source, store=store, synced=synced, writer=other[0], reporter=other[1],
        aggregator=Aggregator("test"), policy=WritePolicy(), find_link=lambda: Link(None, LinkRates(1e9, 1e9)),
        figures=LoopState(), durations=new_registry()[1], poll_interval=1.0, clock=clock,
    )  # fmt: skip
    agent.run(clock.stop)
    return source, writer


def known(writer: Writer) -> float:
    """When the pod was first written as one that carries elephants."""
    return next(at for at, node in writer.written for pod in node.pods if pod.cls.hurts)


@pytest.mark.parametrize("phase", [0.001, 0.2, 0.45, 0.501, 0.7, 0.999])
def test_an_elephant_that_the_kernel_tells_of_is_written_within_half_a_second(phase: float) -> None:
    source, writer = ran([1020 + phase], tells=True)
    assert any(at == pytest.approx(1020 + phase, abs=0.001) for at in source.read_at)
    assert known(writer) - (1020 + phase) <= 0.52
    [took] = writer.took
    assert took <= 0.52


@pytest.mark.parametrize("phase", [0.001, 0.2, 0.45, 0.501, 0.7, 0.999])
def test_an_elephant_found_by_reading_is_written_half_a_second_after_that(phase: float) -> None:
    _, writer = ran([1020 + phase], tells=False)
    assert known(writer) == pytest.approx(1021.5, abs=0.02)


def test_without_elephants_the_loop_reads_once_a_second_and_hears_a_stop_soon() -> None:
    source, _ = ran([], tells=True, seconds=10.1)
    assert source.read_at[:10] == pytest.approx([1000.0 + second for second in range(10)])
    assert source.read_at[-1] <= 1010.1 + 0.25 + 1e-6  # the last one, on the way out


def test_elephants_that_begin_all_the_time_cost_three_readings_a_second_at_most() -> None:
    source, writer = ran([1010 + 0.01 * n for n in range(2000)], tells=True)
    assert len(source.read_at) <= 3 * 40 + 2
    assert len(writer.written) <= 3 + 40 / 10 + 1


def test_the_second_elephant_of_a_second_is_read_within_another() -> None:
    source, writer = ran([1020.3, 1020.7], tells=True)
    assert known(writer) == pytest.approx(1020.8, abs=0.02)
    assert [at for at in source.read_at if 1020 <= at < 1023] == pytest.approx([1020.0, 1020.3, 1020.8, 1022.0])
