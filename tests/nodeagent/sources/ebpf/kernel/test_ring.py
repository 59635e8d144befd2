# SPDX-License-Identifier: Apache-2.0
"""The ring buffer's records, laid out as the kernel lays them out."""

from __future__ import annotations

import mmap
import os
import select
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.sources.ebpf.kernel.ring import RingBuffer

SIZE = mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Poll:
    """Stands for epoll, which takes no plain file."""

    def register(self, *_: int) -> None: ...

    def close(self) -> None: ...


class Producer:
    """Writes as the kernel does, into a file that both map."""

    def __init__(self, path: Path) -> None:
        self._at = 0
        self._file = path.open("w+b")
        self._file.truncate(2 * mmap.PAGESIZE + 2 * SIZE)
        self.fd = self._file.fileno()

    def write(self, payload: bytes, flags: int = 0) -> None:
        record = struct.pack("=II", len(payload) | flags, 0) + payload
        for copy in (0, SIZE):  # the data is mapped twice in a row
            start = 2 * mmap.PAGESIZE + self._at % SIZE + copy
            os.pwrite(self.fd, record, start)
            over = self._at % SIZE + len(record) - SIZE
            if over > 0:
                os.pwrite(self.fd, record[-over:], 2 * mmap.PAGESIZE + copy)
        self._at += (len(record) + 7) & ~7
        os.pwrite(self.fd, struct.pack("=Q", self._at), mmap.PAGESIZE)

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Producer, RingBuffer]]:
    monkeypatch.setattr(select, "epoll", Poll)
    producer = Producer(tmp_path / "ring")
    consumer = RingBuffer(producer.fd, SIZE)
    yield producer, consumer
    consumer.close()
    producer.close()


def test_records_come_in_order_and_once(pair: tuple[Producer, RingBuffer]) -> None:
    producer, consumer = pair
    for payload in (b"one", b"three is longer", b""):
        producer.write(payload)
    assert list(consumer.records()) == [b"one", b"three is longer", b""]
    assert list(consumer.records()) == []


def test_a_record_that_is_being_written_is_waited_for(pair: tuple[Producer, RingBuffer]) -> None:
    producer, consumer = pair
    producer.write(b"done")
    producer.write(b"not yet", BUSY)
    producer.write(b"behind")
    assert list(consumer.records()) == [b"done"]


def test_a_discarded_record_is_passed_over(pair: tuple[Producer, RingBuffer]) -> None:
    producer, consumer = pair
    producer.write(b"gone", DISCARDED)
    producer.write(b"here")
    assert list(consumer.records()) == [b"here"]


def test_a_record_across_the_end_is_whole(pair: tuple[Producer, RingBuffer]) -> None:
    producer, consumer = pair
    payloads = [bytes([number]) * 900 for number in range(12)]  # nearly three times around
    for payload in payloads:
        producer.write(payload)
        assert list(consumer.records()) == [payload]
