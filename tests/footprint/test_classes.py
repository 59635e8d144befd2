# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from footprint.classes import TrafficClass, classify


@pytest.mark.parametrize(
    ("rate", "elephant_rate", "new_flows", "samples", "expected"),
    [
        (150e6, 149e6, 0.1, 2, TrafficClass.ELEPHANT),  # 1 Mbit/s beside elephants, but under a tenth of all
        (150e6, 130e6, 50, 9, TrafficClass.MIXED),  # 20 Mbit/s beside elephants: 13 % of all
        (10.5e6, 10e6, 5, 9, TrafficClass.ELEPHANT),  # 0.5 Mbit/s beside elephants
        (30e6, 9.9e6, 5, 9, TrafficClass.MOUSE),  # elephants below their threshold
        (2e6, 0, 40, 9, TrafficClass.MOUSE),
        (1e3, 0, 0.01, 9, TrafficClass.QUIET),
        (1e3, 0, 2, 9, TrafficClass.MOUSE),  # hardly any bytes, but exchanges all the time
        (1e9, 1e9, 9, 1, TrafficClass.UNKNOWN),  # one interval gives no trend
        (0, 0, 0, 0, TrafficClass.UNKNOWN),
    ],
)
def test_a_pod_is_classified_by_volume_and_sustained_rate(
    rate: float, elephant_rate: float, new_flows: float, samples: int, expected: TrafficClass
) -> None:
    assert classify(rate=rate, elephant_rate=elephant_rate, new_flows=new_flows, samples=samples) is expected


def test_mixed_pods_both_hurt_and_suffer() -> None:
    assert {c for c in TrafficClass if c.hurts} == {TrafficClass.ELEPHANT, TrafficClass.MIXED}
    assert {c for c in TrafficClass if c.suffers} == {TrafficClass.MOUSE, TrafficClass.MIXED}
