# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from lab.bench.extender.learning import measure


def test_every_cost_is_measured_and_nothing_is_written() -> None:
    found = measure(30)
    assert found.workloads == 30
    assert min(found.take_in_seconds, found.change_ms, found.look_ms) > 0
