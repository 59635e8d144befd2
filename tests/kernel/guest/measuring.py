"""One scenario's view of a source that several share: what it counted since the scenario began."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from typing import Final

from nodeagent.sources.base import Counters, Elephant, FlowSource, FlowThresholds, LossKind, Reading
from tests.kernel.guest.network import LOCALITY, Network

THRESHOLDS: Final = FlowThresholds(
    elephant_bytes=2 * 2**20, elephant_rate=4e6, rate_window=0.4, exit_factor=0.5, exit_hold=1.0
)
"""An emulated processor is slow: elephants are smaller here than on a real node."""
PATIENCE: Final = 30.0
"""Seconds after which a state that was to come did not."""


class Measuring:
    """Begins when made: with an empty connection table, every pod where it belongs."""

    def __init__(self, source: FlowSource, net: Network) -> None:
        self.source, self.net = source, net
        source.set_locality(LOCALITY)
        source.set_thresholds(THRESHOLDS)
        net.quiet()
        net.flush()
        self._truth = net.counted()
        self._before = self.read()

    def read(self) -> Reading:
        return self.source.read(time.monotonic())

    def owners(self) -> dict[str, Counters]:
        """What each owner was charged since the beginning; owners without any change are left out."""
        return self.since(self._before, self.read())

    def since(self, before: Reading, after: Reading) -> dict[str, Counters]:
        """The difference of two readings of one epoch."""
        assert before.epoch == after.epoch
        found = {
            owner: _difference(counters, before.owners.get(owner, Counters()))
            for owner, counters in after.owners.items()
        }
        return {owner: counters for owner, counters in found.items() if counters != Counters()}

    def truth(self) -> dict[str, int]:
        """IP bytes since the beginning as the node's rules counted them, once all is quiet."""
        self.net.quiet()
        return {name: value - self._truth[name] for name, value in self.net.counted().items()}

    def lost(self) -> dict[LossKind, int]:
        """Losses since the beginning."""
        found = {kind: count - self._before.lost.get(kind, 0) for kind, count in self.read().lost.items()}
        return {kind: count for kind, count in found.items() if count}

    def until(self, holds: Callable[[Reading], bool], interval: float = 0.2) -> Reading:
        """The first reading for which ``holds``; the last one when none does in time."""
        deadline = time.monotonic() + PATIENCE
        while not holds(reading := self.read()) and time.monotonic() < deadline:
            time.sleep(interval)
        return reading


class ElephantLog:
    """How often each flow became an elephant, over the readings shown."""

    def __init__(self) -> None:
        self.flagged: dict[str, int] = {}
        self.seen: dict[str, Elephant] = {}
        self._now: set[str] = set()

    def add(self, reading: Reading) -> None:
        now = {f"{elephant.source} {elephant.destination}": elephant for elephant in reading.elephants}
        for flow in now.keys() - self._now:
            self.flagged[flow] = self.flagged.get(flow, 0) + 1
        self.seen |= now
        self._now = set(now)


def _difference(after: Counters, before: Counters) -> Counters:
    result = Counters()
    for field in fields(Counters):
        new, old = getattr(after, field.name), getattr(before, field.name)
        moved = [a - b for a, b in zip(new, old, strict=True)] if isinstance(new, list) else new - old
        setattr(result, field.name, moved)
    return result
