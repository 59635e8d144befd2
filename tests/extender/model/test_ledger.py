# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from extender.model.demand import Demand, Origin
from extender.model.ledger import NEVER, BoundPod, ExpectedLoad, expected_load
from footprint.classes import TrafficClass
from footprint.codec import decode, encode
from footprint.models import PodFootprint
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, MIXED, M, elephant, footprint, mouse, other, pod_info

HOLD = 60.0
UNKNOWN = TrafficClass.UNKNOWN


def load(
    demand: Demand, *measured: PodFootprint, running_since: float | None = None, now: float = 10.0,
    phase: str = "Running", cut: int = 0, ended: Sequence[PodFootprint] = (),
) -> ExpectedLoad:  # fmt: skip
    bound = BoundPod(pod_info("p", node="n", phase=phase), demand, running_since)
    return expected_load(footprint(*measured, cut=cut, ended=ended), [bound], now, HOLD)


def test_a_bound_pod_counts_before_it_runs_however_long_that_takes() -> None:
    ledger = load(AN_ELEPHANT, phase="Pending", now=1e6)
    assert (ledger.tx, ledger.elephants, ledger.pods, ledger.until) == (150 * M, 1, 1, NEVER)


def test_measured_elephants_replace_the_prediction_at_once() -> None:
    assert load(AN_ELEPHANT, elephant("p", tx=95 * M), running_since=9.0) == ExpectedLoad()


@pytest.mark.parametrize("early", [mouse("p"), other("p", UNKNOWN), other("p", TrafficClass.QUIET)])
def test_an_expected_elephant_counts_while_its_first_measurements_show_none(early: PodFootprint) -> None:
    ledger = load(AN_ELEPHANT, early, running_since=9.0)
    assert (ledger.tx, ledger.elephants) == (150 * M, 1)
    assert ledger.until == 9.0 + HOLD


def test_only_the_part_that_is_not_measured_yet_is_added() -> None:
    ledger = load(AN_ELEPHANT, other("p", UNKNOWN, etx=40 * M), running_since=9.0)
    assert ledger.tx == 110 * M


def test_an_elephant_that_stays_away_stops_counting() -> None:
    assert load(AN_ELEPHANT, running_since=9.0, now=9.0 + HOLD) == ExpectedLoad()
    assert load(AN_ELEPHANT, mouse("p"), running_since=9.0, now=9.0 + HOLD) == ExpectedLoad()


def test_a_mouse_counts_until_it_is_measured() -> None:
    assert load(A_MOUSE, running_since=9.0).mice == 1.0
    assert load(A_MOUSE, mouse("p"), running_since=9.0) == ExpectedLoad()
    assert load(A_MOUSE, elephant("p"), running_since=9.0) == ExpectedLoad()


def test_a_pod_cut_from_the_footprint_keeps_counting() -> None:
    assert load(A_MOUSE, running_since=9.0, now=1e6, cut=1).mice == 1.0
    assert load(A_MOUSE, running_since=9.0, now=1e6, cut=0).mice == 0.0


def test_elephants_cut_from_the_footprint_are_in_the_nodes_own_sum_and_stop_counting() -> None:
    assert load(AN_ELEPHANT, running_since=9.0, cut=1).tx == 150 * M
    assert load(AN_ELEPHANT, running_since=9.0, cut=1).until == 9.0 + HOLD
    assert load(AN_ELEPHANT, running_since=9.0, now=9.0 + HOLD, cut=1) == ExpectedLoad()
    both = load(MIXED, running_since=9.0, now=9.0 + HOLD, cut=1)
    assert (both.tx, both.elephants, both.mice, both.mouse_pods) == (0, 0, 0.5, 1)


def test_where_ended_pods_are_shown_no_running_one_was_cut() -> None:
    assert load(A_MOUSE, running_since=9.0, now=1e6, cut=1, ended=[mouse("gone")]) == ExpectedLoad()


def test_ended_pods_are_cut_before_running_ones() -> None:
    long = "x" * 200
    running = tuple(replace(mouse(f"{long}{n}"), tx=1.0) for n in range(100))
    ended = tuple(replace(elephant(f"{long}{n}"), tx=1e9) for n in range(100))
    shown = decode(encode(replace(footprint(*running), ended=ended)).text)
    assert shown.cut > 0
    assert shown.ended
    assert len(shown.pods) == len(running)


@pytest.mark.parametrize("demand", [Demand(), Demand(TrafficClass.QUIET, origin=Origin.LEARNED, pods=1)])
def test_a_pod_nothing_is_expected_of_adds_nothing(demand: Demand) -> None:
    assert load(demand) == ExpectedLoad()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_ended_pod_adds_nothing(phase: str) -> None:
    assert load(AN_ELEPHANT, phase=phase) == ExpectedLoad()


def test_the_first_end_is_when_the_ledger_changes() -> None:
    bound = [BoundPod(pod_info(f"p{i}"), AN_ELEPHANT, since) for i, since in enumerate((5.0, 3.0, None))]
    ledger = expected_load(footprint(), bound, 10.0, HOLD)
    assert (ledger.pods, ledger.until) == (3, 3.0 + HOLD)
