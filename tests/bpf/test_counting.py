"""Which counter a packet's bytes go to."""

from __future__ import annotations

import ctypes

import pytest

from nodeagent.sources.ebpf.layout import FLOW_ELEPHANT, FLOW_FLIPPED, FLOW_LOCAL, ORIGINAL, REPLY, Counters


@pytest.mark.parametrize(
    ("flags", "direction", "expected"),
    [
        (0, ORIGINAL, {"tx_bytes": 100, "tx_packets": 2}),
        (0, REPLY, {"rx_bytes": 100, "rx_packets": 2}),
        (FLOW_FLIPPED, ORIGINAL, {"rx_bytes": 100, "rx_packets": 2}),
        (FLOW_FLIPPED, REPLY, {"tx_bytes": 100, "tx_packets": 2}),
        (FLOW_LOCAL, ORIGINAL, {"local_bytes": 100}),
        (FLOW_LOCAL | FLOW_FLIPPED | FLOW_ELEPHANT, REPLY, {"local_bytes": 100}),
        (FLOW_ELEPHANT, ORIGINAL, {"tx_bytes": 100, "tx_packets": 2, "tx_elephant_bytes": 100}),
        (FLOW_ELEPHANT | FLOW_FLIPPED, ORIGINAL, {"rx_bytes": 100, "rx_packets": 2, "rx_elephant_bytes": 100}),
    ],
)
def test_bytes_go_to_the_direction_the_owner_sees(
    helpers: ctypes.CDLL, flags: int, direction: int, expected: dict[str, int]
) -> None:
    counters = Counters()
    helpers.test_count_traffic(ctypes.byref(counters), flags, direction, 2, 100)
    assert {f[0]: v for f in Counters._fields_ if (v := getattr(counters, f[0]))} == expected
