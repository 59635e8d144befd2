# SPDX-License-Identifier: Apache-2.0
"""One scenario's view of the sources that watch its node: what each counted since the scenario began.

All see the same packets, so all must tell the same: ``owners`` compares them before it answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Final

from nodeagent.sources.base import Counters, Elephant, FlowSource, FlowThresholds, Locality, LossKind, Reading
from tests.kernel.guest.network import LOCALITY, Network

THRESHOLDS: Final = FlowThresholds(
    elephant_bytes=2 * 2**20, elephant_rate=4e6, rate_window=0.4, exit_factor=0.5, exit_hold=1.0
)
"""An emulated processor is slow: elephants are smaller here than on a real node."""
LENIENT: Final = replace(THRESHOLDS, exit_hold=120.0)
"""An elephant remains one though the machine has no time for it for a while, as loaded machines do."""
PATIENCE: Final = 60.0
"""Seconds after which a state that was to come did not."""

Owners = dict[str, Counters]


class Measuring:
    """Begins when made: with an empty connection table, every pod where it belongs."""

    def __init__(self, sources: Mapping[str, FlowSource], net: Network) -> None:
        self.sources, self.net = sources, net
        self.set_locality(LOCALITY)
        self.set_thresholds(THRESHOLDS)
        net.quiet()
        net.flush()
        self._truth = net.counted()
        self._before = self.read()

    def set_locality(self, locality: Locality) -> None:
        for source in self.sources.values():
            source.set_locality(locality)

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        for source in self.sources.values():
            source.set_thresholds(thresholds)

    def read(self) -> dict[str, Reading]:
        """A reading of each source."""
        return {name: source.read(time.monotonic()) for name, source in self.sources.items()}

    def each(self) -> dict[str, Owners]:
        """What each source charged each owner since the beginning; owners without any change are left out."""
        return {name: since(self._before[name], reading) for name, reading in self.read().items()}

    def owners(self) -> Owners:
        """What every source alike charged; without what depends on the moment at which each one looks."""
        return agreed(self.each())

    def truth(self) -> dict[str, int]:
        """IP bytes since the beginning as the node's rules counted them, once all is quiet."""
        self.net.quiet()
        return {name: value - self._truth[name] for name, value in self.net.counted().items()}

    def lost(self) -> dict[str, dict[LossKind, int]]:
        """Losses of each source since the beginning."""
        return {name: self._lost_since(name, reading) for name, reading in self.read().items()}

    def ended(self, flows: int, owner: str = "uid-1") -> dict[str, tuple[Counters, int]]:
        """Of each source, the owner's counters and the number of losses, once it has seen ``flows`` end or counts
        them as lost; as they are when it does not in time.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            found = {
                name: (
                    since(self._before[name], reading).get(owner, Counters()),
                    sum(self._lost_since(name, reading).values()),
                )
                for name, reading in self.read().items()
            }
            if all(counters.flows_ended + lost >= flows for counters, lost in found.values()):
                return found
            if time.monotonic() >= deadline:
                return found
            time.sleep(0.2)

    def _lost_since(self, name: str, reading: Reading) -> dict[LossKind, int]:
        before = self._before[name].lost
        found = {kind: count - before.get(kind, 0) for kind, count in reading.lost.items()}
        return {kind: count for kind, count in found.items() if count}

    def until(self, holds: Callable[[Reading], bool], interval: float = 0.2) -> dict[str, Reading]:
        """The first readings for which ``holds``, of all sources; the last ones when none do in time."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.read()
            if all(holds(reading) for reading in found.values()) or time.monotonic() >= deadline:
                return found
            time.sleep(interval)


class ElephantLog:
    """How often each flow became an elephant, over one source's readings, and each at its fastest."""

    def __init__(self) -> None:
        self.flagged: dict[str, int] = {}
        self.seen: dict[str, Elephant] = {}
        self._now: set[str] = set()

    def add(self, reading: Reading) -> None:
        now = {f"{elephant.source} {elephant.destination}": elephant for elephant in reading.elephants}
        for flow in now.keys() - self._now:
            self.flagged[flow] = self.flagged.get(flow, 0) + 1
        for flow, elephant in now.items():
            self.seen[flow] = max(elephant, self.seen.get(flow, elephant), key=lambda one: one.rate)
        self._now = set(now)


def since(before: Reading, after: Reading) -> Owners:
    """The difference of two readings of one epoch."""
    assert before.epoch == after.epoch
    found = {
        owner: _difference(counters, before.owners.get(owner, Counters()))
        for owner, counters in after.owners.items()
    }
    return {owner: counters for owner, counters in found.items() if counters != Counters()}


def agreed(found: Mapping[str, Owners]) -> Owners:
    """The figures that all sources have in common, which must be all that are comparable."""
    comparable = {
        name: {owner: _timeless(counters) for owner, counters in owners.items()} for name, owners in found.items()
    }
    (first, expected), *others = comparable.items()
    for name, owners in others:
        assert owners == expected, f"{name} (left) and {first} (right) saw the same packets"
    return expected


def _timeless(counters: Counters) -> Counters:
    """A source that polls learns later that a flow is an elephant, or has ended."""
    return replace(counters, tx_elephant_bytes=0, rx_elephant_bytes=0, lifetimes=Counters().lifetimes)


def _difference(after: Counters, before: Counters) -> Counters:
    result = Counters()
    for field in fields(Counters):
        new, old = getattr(after, field.name), getattr(before, field.name)
        moved = [a - b for a, b in zip(new, old, strict=True)] if isinstance(new, list) else new - old
        setattr(result, field.name, moved)
    return result
