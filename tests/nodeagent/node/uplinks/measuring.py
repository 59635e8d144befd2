# SPDX-License-Identifier: Apache-2.0
"""The agent's own way from packets to a footprint, beside what the node's rules counted, smoothed alike.

By the time of a reading all packets of the second have arrived.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

import pytest

from footprint.models import LinkRates, NodeFootprint, Uplink
from lab.network import netns
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.meter import Meter
from nodeagent.measuring.rates import RATE_TAU, Mean
from nodeagent.node.link import Link
from nodeagent.node.pods import LocalPod
from nodeagent.node.uplinks.finding import find_uplinks
from nodeagent.sources.base import FlowSource, FlowThresholds, Reading
from nodeagent.sources.ctnetlink import CtnetlinkSource
from tests.nodeagent.node.uplinks.network import POD1, POD2, Network

THRESHOLDS: Final = FlowThresholds(elephant_bytes=1_000_000, elephant_rate=4e6)
BYTES: Final = 3_000_000
"""A second's: 24 Mbit/s."""
TRUE: Final = 0.02
"""Largest difference from what the node's rules counted."""
_ACKNOWLEDGEMENTS: Final = 20e3
"""bit/s of a direction that carries nothing else. Their number varies from second to second."""


class Sender(Protocol):
    """A connection whose ``send`` returns once all bytes arrived."""

    def send(self, size: int) -> None: ...


Clock = Callable[[], float]


class Seconds:
    """A second passes at each look."""

    def __init__(self) -> None:
        self._now = time.monotonic()

    def __call__(self) -> float:
        self._now += 1.0
        return self._now


class Pods:
    """The two pods."""

    def __init__(self) -> None:
        self._told = False

    def changed(self) -> bool:
        before, self._told = self._told, True
        return not before

    def living_here(self, _: frozenset[bytes]) -> Mapping[str, LocalPod]:
        addresses = {"u1": POD1, "u2": POD2}
        return {
            uid: LocalPod(uid, "shop", uid, "Job/j", addresses=(socket.inet_aton(address),))
            for uid, address in addresses.items()
        }


class Measuring:
    """The agent's own way from packets to a footprint, beside the rules' counters smoothed alike."""

    def __init__(self, net: Network, source: FlowSource, uplink: str | None, clock: Clock) -> None:
        self.net, self.source, self._clock = net, source, clock
        self.now = clock()
        with netns.entered(net.node):
            self.source.open()
            self.meter = Meter(
                self.source, pods=Pods(), aggregator=Aggregator(source.name), find_link=lambda: self.find(uplink)
            )
        self.before = net.counted()
        self.truth: dict[str, Mean] = {}
        self.told: NodeFootprint | None = None
        self.reading = Reading(self.now, 0, {})

    @staticmethod
    def find(uplink: str | None) -> Link:
        return find_uplinks(uplink, 1e9)

    def second(self, *pairs: Sender) -> None:
        """Every pair carries ``BYTES``, and a reading is taken."""
        for pair in pairs:
            pair.send(BYTES)
        self._settled()
        before, self.now = self.now, self._clock()
        with netns.entered(self.net.node):
            measured = self.meter.measure(self.now)
        self.reading, self.told = measured.reading, measured.footprint
        counted, seconds = self.net.counted(), self.now - before
        for name, size in counted.items():
            self.truth.setdefault(name, Mean(RATE_TAU)).add((size - self.before[name]) * 8.0 / seconds, seconds)
        self.before = counted

    def _settled(self) -> None:
        before = self.net.counted()
        while True:
            time.sleep(0.06)  # longer than TCP delays an acknowledgement
            after = self.net.counted()
            if after == before:
                return
            before = after

    def run(self, seconds: int, *pairs: Sender) -> NodeFootprint:
        for _ in range(seconds):
            self.second(*pairs)
        assert self.told is not None
        return self.told

    def carried(self, name: str) -> LinkRates:
        """bit/s, by the rules."""
        return LinkRates(self.truth[f"out_{name}"].value, self.truth[f"in_{name}"].value)


@contextmanager
def measuring(
    net: Network, uplink: str | None = None, *, source: FlowSource | None = None, clock: Clock | None = None
) -> Iterator[Measuring]:
    """With ctnetlink and seconds that pass at once, unless told otherwise."""
    chosen = source or CtnetlinkSource(THRESHOLDS)
    made = Measuring(net, chosen, uplink, clock or Seconds())
    try:
        yield made
    finally:
        chosen.close()


def by_name(told: NodeFootprint) -> dict[str, Uplink]:
    return {link.name: link for link in told.uplinks}


def is_true(said: LinkRates, truth: LinkRates) -> None:
    assert said.tx == pytest.approx(truth.tx, rel=TRUE, abs=_ACKNOWLEDGEMENTS)
    assert said.rx == pytest.approx(truth.rx, rel=TRUE, abs=_ACKNOWLEDGEMENTS)


def is_quiet(link: Uplink) -> None:
    assert link.el == LinkRates()
    assert link.used.busier < 2e4, "neighbour discovery alone"
