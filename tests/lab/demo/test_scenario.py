# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from footprint.keys import POD_WORKLOAD
from lab.demo.scenario import Scenario, WorkloadArrival, burst_at, end_of, first_arrival, timeline


def mouse(seconds: float) -> list[str]:
    return ["mouse", f"{seconds:.3f}"]


def elephant(seconds: float) -> list[str]:
    return ["elephant", f"{seconds:.3f}"]


def played(scenario: Scenario) -> Sequence[WorkloadArrival]:
    return timeline(scenario, mouse, elephant)


def templates(arrivals: Sequence[WorkloadArrival]) -> list[dict[str, Any]]:
    return [manifest["spec"]["template"] for arrival in arrivals for manifest in arrival.manifests]


def test_the_same_seed_gives_both_schedulers_the_same_day() -> None:
    assert played(Scenario(seed=3)) == played(Scenario(seed=3))
    orders = {tuple(arrival.does for arrival in played(Scenario(seed=seed))) for seed in range(12)}
    assert len(orders) > 1, "the seed decides the order"


def test_arrivals_come_in_order_of_time_history_first_burst_last() -> None:
    scenario = Scenario()
    arrivals = played(scenario)
    assert [a.at for a in arrivals] == sorted(a.at for a in arrivals)
    assert arrivals[0].does.startswith("history")
    assert arrivals[-1].at == burst_at(scenario)
    assert len(arrivals[-1].manifests) == scenario.burst
    assert all(a.at >= first_arrival(scenario) for a in arrivals[2:])


@pytest.mark.parametrize("seed", range(5))
def test_everything_ends_at_the_same_moment(seed: int) -> None:
    scenario = Scenario(seed=seed)
    for arrival in played(scenario)[2:]:
        for template in templates([arrival]):
            [container] = template["spec"]["containers"]
            assert arrival.at + float(container["command"][1]) == pytest.approx(end_of(scenario), abs=0.01)


def test_every_workload_is_either_declared_or_was_seen_before() -> None:
    scenario = Scenario()
    seen = {t["metadata"]["annotations"][POD_WORKLOAD] for t in templates(played(scenario)[:2])}
    declared = {w.name for w in (*scenario.mice, *scenario.elephants) if w.declared}
    assert seen | declared == {w.name for w in (*scenario.mice, *scenario.elephants)}
    assert not seen & declared
