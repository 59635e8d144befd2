# SPDX-License-Identifier: Apache-2.0
"""Which flows have been idle for too long, and how the program is told."""

from __future__ import annotations

import re
import struct

import pytest

from nodeagent.sources.cgroup import idle
from nodeagent.sources.ebpf.compiling.build import sources
from nodeagent.sources.ebpf.kernel.layout import FlowEntry

TICK = 0.004
NOW = 10_000_000


def records(*flows: tuple[int, float, bool], clock: int = NOW) -> dict[int, tuple[int, int]]:
    """Limit and forgetting by key: 1, 2, ... for flows of protocol, seconds without a packet, answered."""
    keys = b"".join(struct.pack("=Q", number) for number, _ in enumerate(flows, 1))
    values = b"".join(
        bytes(FlowEntry(
            bytes=(100, 100 if answered else 0), protocol=protocol,
            window=(clock - round(age / TICK)) & 0xFFFF_FFFF,
        ))
        for protocol, age, answered in flows
    )  # fmt: skip
    found = (struct.unpack("=QII", record) for record in idle.overdue(keys, values, clock, TICK))
    return {key: (limit, forgets) for key, limit, forgets in found}


@pytest.mark.parametrize(
    ("protocol", "answered", "seconds"),
    [
        (idle.UDP, False, 30), (idle.UDP, True, 120), (idle.SCTP, True, 210), (1, True, 30), (58, False, 30),
        (47, True, 600), (idle.TCP, True, 3600),
    ],
    ids=["UDP", "answered UDP", "SCTP", "ICMP", "ICMPv6", "GRE", "TCP"],
)  # fmt: skip
def test_each_kind_of_flow_has_conntracks_time(protocol: int, answered: bool, seconds: int) -> None:
    found = records((protocol, seconds - 1, answered), (protocol, seconds + 1, answered))
    assert found == {2: (round(seconds / TICK), protocol == idle.TCP)}


def test_the_clock_may_wrap_and_a_window_may_open_after_it_was_read() -> None:
    assert records((idle.UDP, 31, False), (idle.UDP, -1, False), clock=5).keys() == {1}


def test_one_run_takes_so_many_records_and_no_more() -> None:
    given = (struct.pack("=QII", key, 1, 0) for key in range(1, 131))
    found = list(idle.messages(given))
    assert [(len(message) - 16) // 16 for message in found] == [64, 64, 2]
    assert b"".join(message[16:] for message in found) == b"".join(
        struct.pack("=QII", key, 1, 0) for key in range(1, 131)
    )
    assert not list(idle.messages(iter(())))


def test_the_program_reads_what_is_packed() -> None:
    text = (sources() / "cgroup.bpf.c").read_text()
    numbers = dict(re.findall(r"#define (SWEPT_\w+) (\d+)", text))
    assert (int(numbers["SWEPT_AT_ONCE"]), int(numbers["SWEPT_AT"])) == (idle.AT_ONCE, len(idle.QUESTION))
    assert re.search(r"struct idle \{\s+u64 key;\s+u32 limit;.*?\s+u32 forgets;", text)
