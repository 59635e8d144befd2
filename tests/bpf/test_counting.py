# SPDX-License-Identifier: Apache-2.0
"""Which counter a packet's bytes go to."""

from __future__ import annotations

import ctypes

import pytest

from nodeagent.sources.ebpf.kernel.layout import FLOW_FLIPPED, FLOW_LOCAL, ORIGINAL, REPLY, FlowEntry, SlotCounters


@pytest.mark.parametrize(
    ("flags", "elephant", "direction", "expected"),
    [
        (0, 0, ORIGINAL, {"tx_bytes": 100, "tx_packets": 2}),
        (0, 0, REPLY, {"rx_bytes": 100, "rx_packets": 2}),
        (FLOW_FLIPPED, 0, ORIGINAL, {"rx_bytes": 100, "rx_packets": 2}),
        (FLOW_FLIPPED, 0, REPLY, {"tx_bytes": 100, "tx_packets": 2}),
        (FLOW_LOCAL, 0, ORIGINAL, {"local_bytes": 100}),
        (FLOW_LOCAL | FLOW_FLIPPED, 1, REPLY, {"local_bytes": 100}),
        (0, 1, ORIGINAL, {"tx_bytes": 100, "tx_packets": 2, "tx_elephant_bytes": 100}),
        (FLOW_FLIPPED, 1, ORIGINAL, {"rx_bytes": 100, "rx_packets": 2, "rx_elephant_bytes": 100}),
    ],
)
def test_bytes_go_to_the_direction_the_owner_sees(
    helpers: ctypes.CDLL, flags: int, elephant: int, direction: int, expected: dict[str, int]
) -> None:
    counters, flow = SlotCounters(), FlowEntry(flags=flags, elephant=elephant)
    helpers.test_count_traffic(ctypes.byref(counters), ctypes.byref(flow), direction, 2, 100)
    assert {f[0]: v for f in SlotCounters._fields_ if (v := getattr(counters, f[0]))} == expected
