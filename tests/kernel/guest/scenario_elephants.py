# SPDX-License-Identifier: Apache-2.0
"""Elephants and mice at once: each elephant is told once, ceases after it has stopped, and no mouse is told.

Each source is judged by itself: when it notices is its own affair, whom it names is not.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from nodeagent.sources.base import Counters, FlowThresholds, Reading
from nodeagent.sources.ebpf.kernel.layout import EVENT_BECAME, ElephantEvent
from nodeagent.sources.ebpf.source import EbpfSource
from nodeagent.sources.ebpf.values import endpoint
from tests.kernel.guest.measuring import LENIENT, PATIENCE, THRESHOLDS, ElephantLog, Measuring, Owners
from tests.kernel.guest.network import (
    POD1_4,
    POD1_6,
    POD3_4,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
)  # fmt: skip
from tests.kernel.guest.traffic import Connection, Stream

RATE = 3_000_000
"""Bytes a second of an elephant: six times the threshold's rate."""
SECONDS = 4.0
MOUSE = 20_000
FEWEST_MICE = 3
LARGE = 2**20
WATCHED = 3.0
"""Seconds, at least, over which each elephant's rates are compared with what its connection carried."""
TOLERANCE = 0.3
"""Of what it carried: the first and the last rate may each be of a window (0.4 s) that lies half beside them, what
is carried while one source after the other is read counts in the next interval, and headers count as well."""


@dataclass
class Gauge:
    """One elephant of one source: its rates, each over the time since the reading before, against its bytes."""

    looked_at: float
    carried: int
    watched: float = 0.0
    told: float = 0.0
    moved: int = 0

    def add(self, rate: float, now: float, carried: int) -> None:
        elapsed = now - self.looked_at
        self.watched += elapsed
        self.told += rate / 8 * elapsed
        self.moved += carried - self.carried
        self.looked_at, self.carried = now, carried

    def agrees(self) -> bool:
        return self.told == pytest.approx(self.moved, rel=TOLERANCE)


@dataclass
class Gauges:
    """Every elephant of one source, by its port. ``told`` and ``moved`` are of the same time."""

    streams: Mapping[str, Stream]
    found: dict[str, Gauge] = field(default_factory=dict)

    def add(self, reading: Reading) -> None:
        for elephant in reading.elephants:
            port = elephant.destination.rpartition(":")[2]
            carried = self.streams[port].received
            if port in self.found:
                self.found[port].add(elephant.rate, reading.taken_at, carried)
            else:
                self.found[port] = Gauge(reading.taken_at, carried)

    def enough(self) -> bool:
        """Watched for long enough. A guest that was stopped for a moment sends what it missed in a burst, which is
        counted before its receiver has read it: the share of such a moment falls with time, a wrong rate stays."""
        return len(self.found) == len(self.streams) and all(
            gauge.watched >= WATCHED and gauge.agrees() for gauge in self.found.values()
        )


def record_beginnings(source: EbpfSource, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the kernel told of the beginning of each elephant, as a reading or anybody takes the events."""
    told: Counter[str] = Counter()
    take = source.events

    def events() -> list[ElephantEvent]:
        taken = take()
        for event in taken:
            if event.kind == EVENT_BECAME:
                told[endpoint(event.responder, event.responder_port)] += 1
        return taken

    monkeypatch.setattr(source, "events", events)
    return told


def test_elephants_are_flagged_once_each_and_no_mouse_is(
    measuring: Measuring, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = measuring.net
    begun = {
        name: record_beginnings(source, monkeypatch)
        for name, source in measuring.sources.items()
        if isinstance(source, EbpfSource)
    }
    measuring.set_thresholds(LENIENT)
    logs = {name: ElephantLog() for name in measuring.sources}
    with ExitStack() as stack:
        connections = [
            Connection(net.pod1, net.server, SERVER6, listen=SERVER6, port=PORT + 100),
            Connection(net.pod1, net.server, SERVICE4, listen=SERVER4, port=PORT + 101),
            Connection(net.pod3, net.server, SERVER4, listen=SERVER4, port=PORT + 102),
        ]
        streams = [stack.enter_context(Stream(connection, RATE)) for connection in connections]
        gauges = {name: Gauges(dict(zip(("8100", "8101", "8102"), streams, strict=True))) for name in logs}
        deadline = time.monotonic() + SECONDS
        mice, charged = 0, measuring.each()
        while (
            time.monotonic() < deadline
            or mice < FEWEST_MICE
            or not seen_by_all(logs, charged)
            or not all(gauge.enough() for gauge in gauges.values())
        ):
            assert time.monotonic() < deadline + 2 * PATIENCE, (
                {name: log.flagged for name, log in logs.items()},
                {name: gauge.found for name, gauge in gauges.items()},
            )
            with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as mouse:
                mouse.send(MOUSE)
                mouse.answer(MOUSE)
                mice += 1
            look(measuring, logs, gauges)
            charged = measuring.each()
        for stream in streams:
            stream.stop()
        held = measuring.read()
        measuring.set_thresholds(THRESHOLDS)
        readings = measuring.until(lambda reading: not reading.elephants)
    for name, log in logs.items():
        judge(log, charged[name])
        for port, gauge in gauges[name].found.items():
            assert gauge.agrees(), (name, port, gauge)
        assert len(held[name].elephants) == len(connections), "they are held for a while"
        assert readings[name].elephants == ()
    for name, told in begun.items():
        assert told == {flow.rpartition(" ")[2]: 1 for flow in logs[name].flagged}, name


def seen_by_all(logs: Mapping[str, ElephantLog], charged: Mapping[str, Owners]) -> bool:
    """Whether every source has seen the three of them, and each owner's elephants move."""
    return all(
        len(log.flagged) >= 3
        and all(charged[name].get(owner, Counters()).tx_elephant_bytes for owner in ("uid-1", "uid-3"))
        for name, log in logs.items()
    )


def look(
    measuring: Measuring, logs: Mapping[str, ElephantLog], gauges: Mapping[str, Gauges] | None = None
) -> None:
    for name, source in measuring.sources.items():
        reading = source.read(time.monotonic())
        logs[name].add(reading)
        if gauges is not None:
            gauges[name].add(reading)


def judge(log: ElephantLog, owners: Owners) -> None:
    assert set(log.flagged.values()) == {1}
    found = {elephant.destination.rpartition(":")[2]: elephant for elephant in log.seen.values()}
    assert {port: elephant.owners for port, elephant in found.items()} == {
        "8100": ("uid-1",), "8101": ("uid-1",), "8102": ("uid-3",),
    }  # fmt: skip
    assert found["8101"].destination == f"{SERVER4}:8101"
    assert [found[port].source.rpartition(":")[0].strip("[]") for port in ("8100", "8101", "8102")] == [
        POD1_6, POD1_4, POD3_4,
    ]  # fmt: skip
    for elephant in found.values():
        assert elephant.bytes >= THRESHOLDS.elephant_bytes
    for counters in (owners["uid-1"], owners["uid-3"]):
        assert 0 < counters.tx_elephant_bytes < counters.tx_bytes


def test_large_but_slow_is_no_elephant_and_becomes_one_when_the_threshold_is_lowered(measuring: Measuring) -> None:
    net = measuring.net
    logs = {name: ElephantLog() for name in measuring.sources}
    with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        measuring.set_thresholds(FlowThresholds(elephant_bytes=LARGE, elephant_rate=1e9, rate_window=0.4))
        with Stream(connection, RATE) as stream:
            deadline = time.monotonic() + PATIENCE
            while stream.received < 4 * LARGE and time.monotonic() < deadline:
                time.sleep(0.25)
                look(measuring, logs)
            look(measuring, logs)
            for name, owners in measuring.each().items():
                assert owners["uid-1"].tx_bytes > 4 * LARGE, name  # by bytes alone it would be one
            assert {name: log.flagged for name, log in logs.items()} == {name: {} for name in logs}
            measuring.set_thresholds(THRESHOLDS)
            readings = measuring.until(lambda reading: bool(reading.elephants))
    for reading in readings.values():
        assert [elephant.owners for elephant in reading.elephants] == [("uid-1",)]
