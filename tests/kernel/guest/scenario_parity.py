# SPDX-License-Identifier: Apache-2.0
"""One programme of traffic, watched by every source at the same time: the same footprints, figure by figure.

The other scenarios on the shared node compare the sources as well (``Measuring.owners``); this one has everything
at once, elephants included, and lets an aggregator of its own make the footprints of each source's readings.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from footprint.classes import ClassThresholds, TrafficClass
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import HOST, Counters, Elephant
from tests.kernel.guest.measuring import LENIENT, PATIENCE, THRESHOLDS, Measuring, agreed
from tests.kernel.guest.network import (
    LOCALITY,
    MASQUERADED,
    NEAR_SERVICE4,
    POD1_4,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SILENT_PORTS,
)  # fmt: skip
from tests.kernel.guest.skips import assert_little_is_missing, may_be_short
from tests.kernel.guest.traffic import Connection, Stream, exchange, scatter

RATE = 3_000_000
MICE = 60
INTERVAL = 1.0
"""Seconds between readings, as the agent's."""
STEADY = 8
"""Readings over which rates are compared."""
TOLERANCE: Final = 0.1
"""Of a mean rate. The sources are read one after the other: what is carried meanwhile one of them sees an interval
later, which evens out but for the first and the last of the readings: an eighth of an interval's skew at most."""
ATTEMPTS: Final = 4
"""A guest that was stopped while one source was being read sends what it missed in a burst, which the sources see
an interval apart. A wrong rate stays wrong."""
NOTICED: Final = 3
"""Readings within which a source that polls calls a flow an elephant: one that sees its bytes, one that sees its
rate, and one that was under way. The hooks do at the packet."""

PODS: Final = {
    uid: LocalPod(
        uid, "tests", uid, f"Pod/{uid}", addresses=tuple(a for a, owner in LOCALITY.pods.items() if owner == uid)
    )
    for uid in sorted(set(LOCALITY.pods.values()))
}
LINK: Final = LinkRates(1e9, 1e9)
Rates = dict[str, dict[str, tuple[float, float]]]
"""Both of each pod, by source."""


class Footprints:
    """Every source's own, of readings that say to be of the same moments."""

    def __init__(self, measuring: Measuring) -> None:
        self._measuring = measuring
        thresholds = ClassThresholds(elephant_rate=THRESHOLDS.elephant_rate)
        self._aggregators = {name: Aggregator(name, thresholds=thresholds) for name in measuring.sources}
        self.elephants: dict[str, tuple[Elephant, ...]] = {}
        self.pods: dict[str, dict[str, PodFootprint]] = {}
        """The latest, by source and UID."""
        self.sent: list[dict[str, int]] = []
        """Bytes that the first source had charged each owner at each look."""

    def look(self, pods: dict[str, LocalPod] = PODS) -> dict[str, NodeFootprint | None]:
        now, made, readings = time.monotonic(), {}, {}
        for name, source in self._measuring.sources.items():
            readings[name] = reading = source.read(now)
            made[name] = node = self._aggregators[name].advance(reading, pods, LINK)
            self.pods[name] = {pod.uid: pod for pod in node.pods} if node else {}
            self.elephants[name] = reading.elephants
        first = next(iter(readings.values()))
        self.sent.append({uid: counters.tx_bytes for uid, counters in first.owners.items()})
        return made

    def judged(self) -> dict[str, dict[str, tuple[TrafficClass, int]]]:
        """Class and elephants of each pod, by source."""
        return {name: {uid: (pod.cls, pod.el) for uid, pod in pods.items()} for name, pods in self.pods.items()}

    def steady(self) -> Rates:
        """The means of both rates of each pod over the next readings, by source."""
        sums = {name: dict.fromkeys(PODS, (0.0, 0.0)) for name in self._aggregators}
        for _ in range(STEADY):
            time.sleep(INTERVAL)
            self.look()
            for name, pods in self.pods.items():
                for uid, pod in pods.items():
                    tx, etx = sums[name][uid]
                    sums[name][uid] = tx + pod.tx / STEADY, etx + pod.etx / STEADY
        return sums

    def moved(self, uid: str) -> int:
        """The most that the owner sent during as many readings as a source may take to notice."""
        sent = [look.get(uid, 0) for look in self.sent]
        return max(late - early for early, late in zip(sent, sent[NOTICED:], strict=False))


@contextmanager
def programme(measuring: Measuring) -> Iterator[None]:
    """Three elephants that go on, and what is over at once."""
    net = measuring.net
    with ExitStack() as stack:
        elephants = [
            Connection(net.pod1, net.server, SERVICE4, listen=SERVER4, port=PORT + 1),
            Connection(net.pod3, net.server, SERVER6, listen=SERVER6, port=PORT + 2),
            Connection(net.pod2, net.pod1, POD1_4, listen=POD1_4, port=PORT + 3),
        ]
        streams = [stack.enter_context(Stream(connection, RATE)) for connection in elephants]
        for client, target, port in ((net.pod1, SERVER4, PORT), (net.pod2, SERVER4, MASQUERADED)):
            with Connection(client, net.server, target, listen=SERVER4, port=port) as request:
                request.send(3_000)
                request.answer(30_000)
        exchange(net.pod2, net.pod1, NEAR_SERVICE4, listen=POD1_4, port=PORT, sizes=[200, 1200])
        exchange(net.node, net.server, SERVER4, listen=SERVER4, port=PORT, sizes=[700])
        first = SILENT_PORTS[0]
        scatter(net.pod1, SERVER4, ports=range(first, first + MICE), sizes=range(1, MICE + 1))
        yield
        for stream in streams:
            stream.stop()


def _shown(elephants: tuple[Elephant, ...]) -> set[tuple[tuple[str, ...], str, str]]:
    return {(tuple(sorted(elephant.owners)), elephant.source, elephant.destination) for elephant in elephants}


def _all_alike(figures: dict[str, object]) -> bool:
    first, *others = figures.values()
    return all(other == first for other in others)


def _settled(footprints: Footprints) -> bool:
    judged = footprints.judged()
    return (
        _all_alike(dict(judged))
        and all(TrafficClass.UNKNOWN not in dict(pods.values()) for pods in judged.values())
        and all(len(found) == 3 for found in footprints.elephants.values())
    )


def test_every_source_makes_the_same_footprints_of_the_same_traffic(measuring: Measuring) -> None:
    measuring.set_thresholds(LENIENT)
    footprints = Footprints(measuring)
    footprints.look()
    with programme(measuring):
        deadline = time.monotonic() + PATIENCE
        while not _settled(footprints) and time.monotonic() < deadline:
            time.sleep(INTERVAL)
            footprints.look()
        rates = [footprints.steady()]
        while not _alike(rates[-1]) and len(rates) < ATTEMPTS:
            rates.append(footprints.steady())
        running, elephants = footprints.judged(), dict(footprints.elephants)
    truth = measuring.truth()
    before = measuring.each()  # elephants too end in no source before this
    measuring.net.flush()
    measuring.ended(MICE + 2)  # the mice, a request, an elephant
    footprints.look()
    taught = {
        name: {pod.uid: pod for pod in node.ended} if node else {}
        for name, node in footprints.look(pods={}).items()
    }
    each, lost = measuring.each(), measuring.lost()
    short = {name for name in each if may_be_short(name, lost[name])}
    # Bytes, packets, births, ends, mice and sizes of every owner.
    owners = agreed({name: found for name, found in each.items() if name not in short})
    for name in short:
        assert_little_is_missing(each[name], owners)
    assert {name: kinds for name, kinds in lost.items() if kinds and name not in short} == {}
    assert set(owners) == {"uid-1", "uid-2", "uid-3", HOST}
    assert owners["uid-1"].mice_ended == MICE + 1  # and the request
    assert owners["uid-1"].local_bytes == owners["uid-2"].local_bytes > 0
    assert sum(owner.tx_bytes for owner in owners.values()) == truth["out_uplink"]
    assert sum(owner.rx_bytes for owner in owners.values()) == truth["in_uplink"]

    shown = {name: _shown(found) for name, found in elephants.items()}
    assert _all_alike(dict(shown)), shown
    assert [len(found) for found in shown.values()] == [3] * len(shown)
    assert _all_alike(dict(running)), running
    (judged, *_), (learned, *_) = running.values(), taught.values()
    assert {uid: count for uid, (_, count) in judged.items()} == {"uid-1": 1, "uid-2": 0, "uid-3": 1}
    assert all(judged[uid][0] in (TrafficClass.ELEPHANT, TrafficClass.MIXED) for uid in ("uid-1", "uid-3"))
    assert not judged["uid-2"][0].hurts
    assert learned.keys() == set(PODS)
    for name, pods in taught.items():
        assert {uid: pod.el for uid, pod in pods.items()} == {uid: pod.el for uid, pod in learned.items()}, name
        shares = {uid: pod.ms for uid, pod in learned.items()}
        few = 2 / MICE if name in short else 0.0
        assert {uid: pod.ms for uid, pod in pods.items()} == pytest.approx(shares, rel=0, abs=few), name
    assert _alike(rates[-1]), rates
    _compare_elephants(footprints, before)


def _alike(rates: Rates) -> bool:
    """Whether all sources have the same rates, those of elephants being an elephant's."""
    (first, *others) = rates.values()
    return all(first[uid][1] > THRESHOLDS.elephant_rate for uid in ("uid-1", "uid-3")) and all(
        means == pytest.approx(first[uid], rel=TOLERANCE, abs=1e4)
        for found in others
        for uid, means in found.items()
    )


def _compare_elephants(footprints: Footprints, each: dict[str, dict[str, Counters]]) -> None:
    """Sources notice an elephant at different moments: they may differ by what it carried in between."""
    for uid in ("uid-1", "uid-3"):
        sent = {name: owners[uid].tx_elephant_bytes for name, owners in each.items()}
        late = footprints.moved(uid)
        assert max(sent.values()) - min(sent.values()) <= late, (uid, sent, late)
        assert min(sent.values()) > late, "too little to compare"
    for name, owners in each.items():
        assert owners["uid-2"].tx_elephant_bytes == owners["uid-2"].rx_elephant_bytes == 0, name
