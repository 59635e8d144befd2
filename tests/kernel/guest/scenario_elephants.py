"""Elephants and mice at once: each elephant is told once, ceases after it has stopped, and no mouse is told.

Each source is judged by itself: when it notices is its own affair, whom it names is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack

from nodeagent.sources.base import Counters, FlowThresholds
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


def test_elephants_are_flagged_once_each_and_no_mouse_is(measuring: Measuring) -> None:
    net = measuring.net
    measuring.set_thresholds(LENIENT)
    logs = {name: ElephantLog() for name in measuring.sources}
    with ExitStack() as stack:
        connections = [
            Connection(net.pod1, net.server, SERVER6, listen=SERVER6, port=PORT + 100),
            Connection(net.pod1, net.server, SERVICE4, listen=SERVER4, port=PORT + 101),
            Connection(net.pod3, net.server, SERVER4, listen=SERVER4, port=PORT + 102),
        ]
        streams = [stack.enter_context(Stream(connection, RATE)) for connection in connections]
        deadline = time.monotonic() + SECONDS
        mice, charged = 0, measuring.each()
        while time.monotonic() < deadline or mice < FEWEST_MICE or not seen_by_all(logs, charged):
            assert time.monotonic() < deadline + PATIENCE, {name: log.flagged for name, log in logs.items()}
            with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as mouse:
                mouse.send(MOUSE)
                mouse.answer(MOUSE)
                mice += 1
            look(measuring, logs)
            charged = measuring.each()
        for stream in streams:
            stream.stop()
        held = measuring.read()
        measuring.set_thresholds(THRESHOLDS)
        readings = measuring.until(lambda reading: not reading.elephants)
    for name, log in logs.items():
        judge(log, charged[name])
        assert len(held[name].elephants) == len(connections), "they are held for a while"
        assert readings[name].elephants == ()


def seen_by_all(logs: Mapping[str, ElephantLog], charged: Mapping[str, Owners]) -> bool:
    """Whether every source has seen the three of them, and each owner's elephants move."""
    return all(
        len(log.flagged) >= 3
        and all(charged[name].get(owner, Counters()).tx_elephant_bytes for owner in ("uid-1", "uid-3"))
        for name, log in logs.items()
    )


def look(measuring: Measuring, logs: Mapping[str, ElephantLog]) -> None:
    for name, reading in measuring.read().items():
        logs[name].add(reading)


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
        assert elephant.rate >= THRESHOLDS.elephant_rate * THRESHOLDS.exit_factor
    for counters in (owners["uid-1"], owners["uid-3"]):
        assert 0 < counters.tx_elephant_bytes < counters.tx_bytes


def test_large_but_slow_is_no_elephant_and_becomes_one_when_the_threshold_is_lowered(measuring: Measuring) -> None:
    net = measuring.net
    logs = {name: ElephantLog() for name in measuring.sources}
    with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        measuring.set_thresholds(FlowThresholds(elephant_bytes=2**20, elephant_rate=1e9, rate_window=0.4))
        with Stream(connection, RATE):
            for _ in range(8):
                time.sleep(0.25)
                look(measuring, logs)
            assert {name: log.flagged for name, log in logs.items()} == {name: {} for name in logs}
            measuring.set_thresholds(THRESHOLDS)
            readings = measuring.until(lambda reading: bool(reading.elephants))
    for reading in readings.values():
        assert [elephant.owners for elephant in reading.elephants] == [("uid-1",)]
