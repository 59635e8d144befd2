# SPDX-License-Identifier: Apache-2.0
"""What rtnetlink says of a link, and what two looks at it mean."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.node.capacity import ethtool, queues, signals
from nodeagent.node.capacity.queues import LinkStats, Queue, parse_queue, parse_stats, read_queues
from nodeagent.node.capacity.saturation import STANDING
from nodeagent.node.capacity.signals import Anatomy, Device, Signals, Step, step

ROOT, CHILD = 0xFFFFFFFF, 0x10001


def attribute(kind: int, value: bytes) -> bytes:
    size = 4 + len(value)
    return struct.pack("=HH", size, kind) + value + bytes(-size % 4)


def qdisc(index: int, kind: str, parent: int = ROOT, *, backlog: int = 0, drops: int = 0) -> bytes:
    """The body of a RTM_NEWQDISC."""
    figures = attribute(3, struct.pack("=IIIII", 1, backlog, drops, 0, 0))
    head = struct.pack("=BxxxiIII", 0, index, 0x10000, parent, 2)
    return head + attribute(1, kind.encode() + b"\0") + attribute(7, figures)


def test_a_queues_backlog_and_drops_are_read() -> None:
    assert parse_queue(qdisc(3, "htb", backlog=70_000, drops=5)) == Queue("htb", 1, 70_000, 5)


def test_only_the_roots_of_the_asked_interfaces_count_and_a_pacing_queue_below_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bodies = [
        qdisc(2, "noqueue"), qdisc(3, "mq", backlog=9000), qdisc(3, "fq", CHILD, backlog=9000),
        qdisc(4, "htb"), qdisc(4, "bfifo", CHILD, backlog=1), b"short",
    ]  # fmt: skip
    monkeypatch.setattr(queues, "dump", lambda *_: bodies)
    found = read_queues({3, 4, 5})
    assert {index: (queue.kind, queue.paced) for index, queue in found.items()} == {
        3: ("mq", True),
        4: ("htb", False),
    }


@given(st.binary(max_size=200))
def test_no_bytes_raise(body: bytes) -> None:
    parse_queue(body)
    parse_stats(body)


def test_drops_are_those_of_a_link_without_room_and_not_of_packets_that_nobody_wanted() -> None:
    figures = [0] * 24
    figures[0:4] = [1, 2, 3, 4]
    figures[6], figures[7], figures[11], figures[14], figures[15], figures[18] = 1000, 1, 10, 20, 30, 2
    body = struct.pack("=BxHiII", 0, 0, 3, 0, 0) + attribute(23, struct.pack("=24Q", *figures))
    assert parse_stats(body) == LinkStats(
        rx_packets=1, tx_packets=2, rx_bytes=3, tx_bytes=4, tx_drops=3, rx_drops=60
    )


QUIET = Signals(10.0, LinkStats(0, 0, 0, 0, 0, 0), 0, 5, 5)
BUSY = LinkStats(tx_bytes=1_014_000, rx_bytes=514_000, tx_packets=1000, rx_packets=1000, tx_drops=0, rx_drops=0)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (Signals(12.0, BUSY, 0, 5, 5), Step(2.0, 4e6, 2e6, False, False)),  # without Ethernet headers
        (Signals(12.0, BUSY, STANDING, 5, 5), Step(2.0, 4e6, 2e6, True, False)),
        (Signals(12.0, BUSY, STANDING - 1, 5, 5), Step(2.0, 4e6, 2e6, False, False)),
        (Signals(12.0, BUSY, 0, 6, 5), Step(2.0, 4e6, 2e6, True, False)),
        (Signals(12.0, BUSY, 0, 5, 6), Step(2.0, 4e6, 2e6, False, True)),
        (Signals(12.0, BUSY, 0, 4, 5), None),
        (Signals(10.0, BUSY, 0, 5, 5), None),
    ],
)
def test_packets_that_wait_or_were_held_back_make_a_step_busy(later: Signals, expected: Step | None) -> None:
    assert step(QUIET, later) == expected


def test_an_interface_whose_counters_began_anew_gives_no_step() -> None:
    assert step(replace(QUIET, own=BUSY), replace(QUIET, at=12.0)) is None


def test_the_providers_allowance_counts_in_the_direction_that_its_counter_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS's adapter is not here: its counters' names are, in the place where the driver's own stand."""
    counts = {"bw_in_allowance_exceeded": 7, "bw_out_allowance_exceeded": 11}
    monkeypatch.setattr(signals, "read_stats", lambda _: BUSY)
    monkeypatch.setattr(signals, "read_queues", lambda _: {})
    monkeypatch.setattr(ethtool, "values", lambda _name, wanted: {name: counts[name] for name in wanted})
    places = {name: place for place, name in enumerate(counts)}
    link = Anatomy("eth0", 2, 0.0, {"eth0": Device(2, places)})
    found = signals.read(link, 1.0)
    assert (found.tx_held, found.rx_held) == (11, 7)
