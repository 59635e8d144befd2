# SPDX-License-Identifier: Apache-2.0
"""A network that begins to send packets past conntrack while pods talk, and an agent that has to notice it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from lab.network import netns
from nodeagent.measuring.coverage import LOW_COVERAGE
from nodeagent.measuring.totals import PODS, TrafficTotals
from nodeagent.sources.base import UNATTRIBUTED
from nodeagent.sources.cgroup import root
from nodeagent.sources.changing import PATIENCE, TRIAL, ChangingSource
from tests.kernel.guest.datapath import device, redirecting
from tests.kernel.guest.sources import AT_SOCKETS
from tests.kernel.guest.traffic import Connection
from tests.nodeagent.node.uplinks.measuring import Measuring, measuring
from tests.nodeagent.node.uplinks.network import POD1, POD2, SERVER, Network

STEP: Final = 12.0
"""Seconds that pass from reading to reading."""
WHILE: Final = 10
"""Readings in which the coverage settles."""
LONG: Final = 40
"""Readings in which something must have happened."""


class Steps:
    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        self._now += STEP
        return self._now


@contextmanager
def sockets_of_the_node(name: str) -> Iterator[Path]:
    """The cgroup of the node's own sockets: those of the world are on this machine too."""
    group = root.find(None) / name
    group.mkdir()
    try:
        yield group
    finally:
        group.rmdir()


class Running:
    """What the agent does with each reading."""

    def __init__(self, found: Measuring, source: ChangingSource) -> None:
        self.found, self.source = found, source
        self.totals = TrafficTotals()
        self.sent = 0
        """Bytes that the pod's device sent while the source in use could see them."""
        self._device = device(found.net.pod1)[0]

    @property
    def coverage(self) -> float:
        return self.found.meter.links.coverage.all.ratio or 0.0

    def reading(self, pair: Connection, *, seen: bool) -> bool:
        """Whether the source was changed after it."""
        self.found.second(pair)
        self.totals.advance(self.found.reading)
        before, self._device = self._device, device(self.found.net.pod1)[0]
        self.sent += (self._device - before) if seen else 0
        judged = self.found.meter.links.coverage.all
        with netns.entered(self.found.net.node):
            return self.source.reconsider(judged.ratio, self.found.now, low=judged.low)


def changes_to_the_sockets(net: Network, sockets: Path, source: ChangingSource) -> None:
    """A pod sends over one connection, and programs at its device begin to redirect. The agent's coverage falls.
    It changes by itself and stays so, and nothing counts twice."""
    with measuring(net, source=source, clock=Steps()) as found:
        found.second()  # which tells the source whose addresses are here
        running = Running(found, source)
        with Connection(net.pod1, net.world, SERVER, listen=SERVER, port=8000, group=sockets) as pair:
            for _ in range(WHILE):
                assert not running.reading(pair, seen=True)
            assert running.coverage == pytest.approx(1.0, abs=0.05)
            with redirecting(net.node, {"pod1": POD1, "pod2": POD2}, "eth0"):
                _bypassed(running, pair)
                assert source.name == AT_SOCKETS
                until = found.now + TRIAL + 2 * STEP
                while found.now < until:
                    assert not running.reading(pair, seen=True), "it stays"
                assert running.coverage > 0.95
                assert found.told is not None
                assert LOW_COVERAGE not in found.told.bad
    counted = running.totals.sums
    assert counted[PODS].tx == pytest.approx(running.sent, rel=0.02)
    assert counted[PODS].tx <= running.sent, "the old connection's bytes are not counted anew"
    assert counted[UNATTRIBUTED].tx == 0
    assert (source.changes, source.name) == (1, AT_SOCKETS)


def _bypassed(running: Running, pair: Connection) -> None:
    """The readings until the source is changed."""
    readings = 1
    while not running.reading(pair, seen=False):
        readings += 1
        assert readings < LONG, (running.coverage, running.found.told)
    assert readings * STEP > PATIENCE
    assert running.coverage < 0.5
    assert running.found.told is not None
    assert LOW_COVERAGE in running.found.told.bad
