# SPDX-License-Identifier: Apache-2.0
"""A full flow table: what does not fit is lost, counted, and nothing else is wrong. And what the kernel itself
counts of the programs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import LOCALITY, SERVER4, SILENT_PORTS, Network, network
from tests.kernel.guest.sources import EBPF, SOURCES, opened
from tests.kernel.guest.traffic import scatter

ROOM = 512
"""Flows that fit."""
MANY = 8 * ROOM
SIZE = 100
STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


def test_a_full_flow_table_loses_no_more_than_it_counts_as_lost(net: Network) -> None:
    with opened(SOURCES, net.node, THRESHOLDS, LOCALITY, flows=ROOM) as sources:
        measuring = Measuring(sources, net)
        first = SILENT_PORTS[0]
        scatter(net.pod1, SERVER4, ports=range(first, first + MANY), sizes=[SIZE] * MANY)
        truth = measuring.truth()
        full = measuring.read()
        net.flush()  # what was evicted is missed at the latest when it ends
        found = measuring.ended(MANY)
    for name, reading in full.items():
        fill = reading.tables["flows"]
        assert 0.8 * ROOM < fill.entries <= fill.most == ROOM, (name, fill)
    for name, (pod, lost) in found.items():
        assert lost > ROOM, name
        assert 0 <= truth["in_pod1"] - pod.tx_bytes <= lost * (SIZE + 28), name
        assert 0 <= MANY - pod.flows_born <= lost, name
        assert 0 <= MANY - pod.flows_ended <= lost, name


def test_the_kernels_counts_of_the_programs_are_in_readings_where_it_counts(net: Network) -> None:
    before = STATISTICS.read_text()
    STATISTICS.write_text("1")
    try:
        with opened(EBPF, net.node, THRESHOLDS, LOCALITY, flows=ROOM) as sources:
            measuring = Measuring(sources, net)
            idle = {name: reading.programs for name, reading in measuring.read().items()}
            first = SILENT_PORTS[0]
            scatter(net.pod1, SERVER4, ports=range(first, first + 100), sizes=[SIZE] * 100)
            measuring.truth()
            for name, reading in measuring.read().items():
                for role in ("birth", "account"):
                    assert reading.programs[role].runs - idle[name][role].runs >= 100, (name, role)
                    assert reading.programs[role].nanoseconds > idle[name][role].nanoseconds
    finally:
        STATISTICS.write_text(before)
