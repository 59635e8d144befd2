# SPDX-License-Identifier: Apache-2.0
"""A full flow table: what does not fit is lost, counted, and nothing else is wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import LOCALITY, SERVER4, SILENT_PORTS, Network, network
from tests.kernel.guest.sources import SOURCES, opened
from tests.kernel.guest.traffic import scatter

ROOM = 512
"""Flows that fit."""
MANY = 8 * ROOM
SIZE = 100


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
        measuring.read()
        net.flush()  # what was evicted is missed at the latest when it ends
        found = measuring.ended(MANY)
    for name, (pod, lost) in found.items():
        assert lost > ROOM, name
        assert 0 <= truth["in_pod1"] - pod.tx_bytes <= lost * (SIZE + 28), name
        assert 0 <= MANY - pod.flows_born <= lost, name
        assert 0 <= MANY - pod.flows_ended <= lost, name
