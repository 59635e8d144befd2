from __future__ import annotations

import pytest

from extender.demand import Demand, Origin
from extender.ledger import NEVER, BoundPod, Ledger, pending_load
from footprint.classes import TrafficClass
from footprint.models import PodFootprint
from tests.extender.builders import A_MOUSE, AN_ELEPHANT, M, elephant, footprint, mouse, other, pod_info

HOLD = 60.0
UNKNOWN = TrafficClass.UNKNOWN


def load(
    demand: Demand, *measured: PodFootprint, running_since: float | None = None, now: float = 10.0,
    phase: str = "Running", cut: int = 0,
) -> Ledger:  # fmt: skip
    bound = BoundPod(pod_info("p", node="n", phase=phase), demand, running_since)
    return pending_load(footprint(*measured, cut=cut), [bound], now, HOLD)


def test_a_bound_pod_counts_before_it_runs_however_long_that_takes() -> None:
    ledger = load(AN_ELEPHANT, phase="Pending", now=1e6)
    assert (ledger.tx, ledger.elephants, ledger.pods, ledger.until) == (150 * M, 1, 1, NEVER)


def test_measured_elephants_replace_the_prediction_at_once() -> None:
    assert load(AN_ELEPHANT, elephant("p", tx=95 * M), running_since=9.0) == Ledger()


@pytest.mark.parametrize("early", [mouse("p"), other("p", UNKNOWN), other("p", TrafficClass.QUIET)])
def test_an_expected_elephant_counts_while_its_first_measurements_show_none(early: PodFootprint) -> None:
    ledger = load(AN_ELEPHANT, early, running_since=9.0)
    assert (ledger.tx, ledger.elephants) == (150 * M, 1)
    assert ledger.until == 9.0 + HOLD


def test_only_the_part_that_is_not_measured_yet_is_added() -> None:
    ledger = load(AN_ELEPHANT, other("p", UNKNOWN, etx=40 * M), running_since=9.0)
    assert ledger.tx == 110 * M


def test_an_elephant_that_stays_away_stops_counting() -> None:
    assert load(AN_ELEPHANT, running_since=9.0, now=9.0 + HOLD) == Ledger()
    assert load(AN_ELEPHANT, mouse("p"), running_since=9.0, now=9.0 + HOLD) == Ledger()


def test_a_mouse_counts_until_it_is_measured() -> None:
    assert load(A_MOUSE, running_since=9.0).mice == 1.0
    assert load(A_MOUSE, mouse("p"), running_since=9.0) == Ledger()
    assert load(A_MOUSE, elephant("p"), running_since=9.0) == Ledger()


def test_a_pod_cut_from_the_footprint_keeps_counting() -> None:
    assert load(A_MOUSE, running_since=9.0, now=1e6, cut=1).mice == 1.0
    assert load(A_MOUSE, running_since=9.0, now=1e6, cut=0).mice == 0.0


@pytest.mark.parametrize("demand", [Demand(), Demand(TrafficClass.QUIET, origin=Origin.LEARNED, pods=1)])
def test_a_pod_nothing_is_expected_of_adds_nothing(demand: Demand) -> None:
    assert load(demand) == Ledger()


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_an_ended_pod_adds_nothing(phase: str) -> None:
    assert load(AN_ELEPHANT, phase=phase) == Ledger()


def test_the_first_end_is_when_the_ledger_changes() -> None:
    bound = [BoundPod(pod_info(f"p{i}"), AN_ELEPHANT, since) for i, since in enumerate((5.0, 3.0, None))]
    ledger = pending_load(footprint(), bound, 10.0, HOLD)
    assert (ledger.pods, ledger.until) == (3, 3.0 + HOLD)
