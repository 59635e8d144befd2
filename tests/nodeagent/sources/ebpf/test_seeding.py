# SPDX-License-Identifier: Apache-2.0
"""What a dump of the table leaves in the seeds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nodeagent.sources.ctnetlink.samples import NO_COUNTERS, Sample
from nodeagent.sources.ebpf import seeding
from nodeagent.sources.ebpf.kernel.layout import Seed, SeedKey
from nodeagent.sources.ebpf.seeding import Seeder
from nodeagent.sources.tuples import FlowTuples

POD, PEER = b"\x0a\0\0\1", b"\xc0\0\2\x09"


class Table:
    """Stands for the sockets: one part of a dump, by key."""

    whole = True

    def __init__(self, *_: object) -> None: ...

    def dump(self, sink: Callable[[list[Sample]], None]) -> bool:
        sink(
            [
                (b"counted", 1, 3, 900, 2, 80),
                (b"uncounted", 2, NO_COUNTERS, NO_COUNTERS, NO_COUNTERS, NO_COUNTERS),
                (b"ping", 3, 1, 84, 1, 84),
            ]
        )
        return self.whole

    def close(self) -> None: ...


class Seeds:
    """Stands for the maps."""

    def __init__(self, room: int = 10) -> None:
        self.written: dict[int, Seed] = {}
        self._room = room

    def write_seed(self, key: SeedKey, seed: Seed) -> None:
        if len(self.written) >= self._room:
            raise OSError(7, "no room")
        self.written[key.source_port >> 8] = seed


def parsed(key: bytes) -> FlowTuples:
    """Ports, in the order of the keys' lengths, tell the connections apart."""
    return FlowTuples(1 if key == b"ping" else 6, POD, PEER, PEER, POD, len(key), 80, 80, len(key))


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "ConntrackSockets", Table)
    monkeypatch.setattr(seeding, "parse_key", parsed)


def seeder(seeds: Seeds) -> Seeder:
    return Seeder(seeds)  # type: ignore[arg-type]


def test_a_connection_without_counters_is_seeded_as_one_of_unknown_size() -> None:
    seeds = Seeds()
    made = seeder(seeds)
    assert made.dump()
    counted, uncounted = seeds.written[len(b"counted")], seeds.written[len(b"uncounted")]
    assert (list(counted.bytes), counted.unsized) == ([900, 80], 0)
    assert (list(uncounted.bytes), uncounted.unsized) == ([0, 0], 1)
    assert made.unsized == 1


def test_icmp_is_not_seeded_and_nothing_twice() -> None:
    seeds = Seeds()
    made = seeder(seeds)
    assert made.dump()
    first = dict(seeds.written)
    assert made.dump()
    assert seeds.written == first
    assert len(made) == len(first) == 2
    assert made.unsized == 1


def test_seeds_that_the_map_refused_leave_the_dump_incomplete() -> None:
    made = seeder(Seeds(room=1))
    assert not made.dump()
    assert (made.refused, len(made)) == (1, 1)


def test_a_dump_of_which_parts_are_missing_is_not_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Table, "whole", False)
    assert not seeder(Seeds()).dump()


def test_a_refused_dump_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "no")

    monkeypatch.setattr(seeding, "ConntrackSockets", refused)
    assert not seeder(Seeds()).dump()
