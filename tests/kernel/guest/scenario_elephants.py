"""Elephants and mice at once: each elephant is told once, ceases after it has stopped, and no mouse is told."""

from __future__ import annotations

import time
from contextlib import ExitStack

from nodeagent.sources.base import FlowThresholds
from tests.kernel.guest.measuring import THRESHOLDS, ElephantLog, Measuring
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


def test_elephants_are_flagged_once_each_and_no_mouse_is(measuring: Measuring) -> None:
    net, log = measuring.net, ElephantLog()
    with ExitStack() as stack:
        connections = [
            Connection(net.pod1, net.server, SERVER6, listen=SERVER6, port=PORT + 100),
            Connection(net.pod1, net.server, SERVICE4, listen=SERVER4, port=PORT + 101),
            Connection(net.pod3, net.server, SERVER4, listen=SERVER4, port=PORT + 102),
        ]
        streams = [stack.enter_context(Stream(connection, RATE)) for connection in connections]
        deadline = time.monotonic() + SECONDS
        mice = 0
        while time.monotonic() < deadline or len(log.flagged) < len(connections):
            assert time.monotonic() < deadline + 20, f"only {log.flagged} were flagged"
            with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as mouse:
                mouse.send(MOUSE)
                mouse.answer(MOUSE)
                mice += 1
            log.add(measuring.read())
        owners = measuring.owners()
        for stream in streams:
            stream.stop()
        stopped = time.monotonic()
        reading = measuring.until(lambda reading: not reading.elephants)
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
    assert reading.elephants == ()
    assert time.monotonic() - stopped >= THRESHOLDS.exit_hold * 0.9
    assert mice >= 3


def test_large_but_slow_is_no_elephant_and_becomes_one_when_the_threshold_is_lowered(measuring: Measuring) -> None:
    net, log = measuring.net, ElephantLog()
    with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        measuring.source.set_thresholds(FlowThresholds(elephant_bytes=2**20, elephant_rate=1e9, rate_window=0.4))
        with Stream(connection, RATE):
            for _ in range(8):
                time.sleep(0.25)
                log.add(measuring.read())
            assert log.flagged == {}
            measuring.source.set_thresholds(THRESHOLDS)
            reading = measuring.until(lambda reading: bool(reading.elephants))
            assert [elephant.owners for elephant in reading.elephants] == [("uid-1",)]
