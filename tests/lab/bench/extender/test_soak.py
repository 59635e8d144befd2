# SPDX-License-Identifier: Apache-2.0
"""A share of the soak: kube-scheduler's requests beside hostile clients, at the chart's memory limit.

``python -m lab.bench.extender.soak --minutes 15`` is the whole of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lab.bench.extender import soak
from lab.bench.extender.soak import LIMIT, Client, Outcome

SHARE_MINUTES = 0.5
"""With warm-up and rest, two minutes."""
TIMEOUT_SECONDS = 30.0
"""This is no measurement of time: other tests may run beside it."""


@pytest.mark.timeout(600)
def test_hostile_clients_cost_no_normal_request_and_no_memory(tmp_path: Path) -> None:
    outcome = soak.soak(tmp_path, SHARE_MINUTES, TIMEOUT_SECONDS)
    assert outcome.failures() == []
    assert all(len(client.seconds) >= 3 for client in outcome.clients)
    for reason in ("header-bytes", "header-fields", "pipelined", "plain-http", "too-many", "too-many-handshakes"):
        assert outcome.refused.get(reason, 0) > 0, f"nothing was turned away for {reason}: nobody was hostile"


def test_the_soak_has_the_memory_limit_of_the_chart() -> None:
    values = yaml.safe_load(Path("helm/traffic-footprint/values.yaml").read_text())
    assert values["extender"]["resources"]["limits"]["memory"] == f"{LIMIT // 2**20}Mi"


LONG = soak._COMPARED_SAMPLES // 8


def outcome(before: int, during: list[int], after: int, problems: tuple[str, ...] = ()) -> Outcome:
    client = Client("kube-scheduler", 1.0, [0.1], list(problems))
    return Outcome([client], before, during, after, {})


@pytest.mark.parametrize(
    ("found", "failed"),
    [
        (outcome(100, [100] * 8 * LONG, 105), None),
        (outcome(100, [100] * 2 * LONG + [150] * 6 * LONG, 105), None),
        (outcome(100, [100] * 6 * LONG + [120] * 2 * LONG, 105), "memory grew"),
        (outcome(100, [100] * 6 + [120] * 2, 105), None),
        (outcome(100, [100] * 8, 115), "at rest"),
        (outcome(100, [LIMIT + 1] * 8, 100), "beyond the limit"),
        (outcome(100, [100] * 8, 100, ("after 1 s: timed out",)), "kube-scheduler: after 1 s"),
    ],
)
def test_what_a_soak_fails_for(found: Outcome, failed: str | None) -> None:
    failures = found.failures()
    assert len(failures) == (failed is not None)
    assert failed is None or failed in failures[0]
