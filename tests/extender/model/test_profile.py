# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.demand import Demand, Origin, Tally, tally_node
from extender.model.profile import NOTHING_YET, WINDOW, Profile, Rates, fold, known, remembered
from footprint.classes import TrafficClass
from tests.extender.builders import M, elephant, footprint, mouse, other

E, X, Q, MOUSE = TrafficClass.ELEPHANT, TrafficClass.MIXED, TrafficClass.QUIET, TrafficClass.MOUSE


def bulk(rate: float, pods: int = 1, peak: float | None = None) -> Tally:
    """``pods`` elephants of ``rate`` bit/s each."""
    return Tally(active=pods, hurting=pods, tx=pods * rate, peak_tx=peak or rate, running=pods)


def web(flows: float = 0.0, pods: int = 1) -> Tally:
    weight = 1 + math.log10(1 + flows)
    return Tally(active=pods, suffering=pods, mice=pods * weight, flows=pods * flows, running=pods)


IDLE = Tally(quiet=1, running=1)


def folded(*tallies: Tally) -> Profile:
    profile = NOTHING_YET
    for tally in tallies:
        profile = fold(profile, tally)
    return profile


def test_a_profile_starts_as_its_first_sample() -> None:
    profile = folded(bulk(150 * M, pods=2, peak=180 * M))
    assert (profile.samples, profile.cls, profile.tx) == (1, E, Rates(150 * M, 180 * M))


def test_typical_is_the_mean_of_the_first_samples_and_the_peak_their_largest() -> None:
    profile = folded(bulk(100 * M), bulk(200 * M), bulk(150 * M))
    assert profile.tx.typical == pytest.approx(150 * M)
    assert 199 * M < profile.tx.peak <= 200 * M  # it has begun to be given up


def test_old_samples_fade_after_the_window() -> None:
    profile = folded(*[bulk(100 * M)] * WINDOW, *[bulk(200 * M)] * WINDOW)
    assert profile.tx.typical == pytest.approx(200 * M - 100 * M * (1 - 1 / WINDOW) ** WINDOW)  # 63 percent moved
    assert profile.active == WINDOW


def test_a_peak_is_taken_at_once_and_given_up_slowly() -> None:
    profile = folded(*[bulk(10 * M)] * 50, bulk(10 * M, pods=2, peak=90 * M))
    assert profile.tx.peak == 90 * M
    assert folded(*[bulk(10 * M)] * 51).tx.peak == 10 * M
    for _ in range(WINDOW):
        profile = fold(profile, bulk(10 * M))
    assert 35 * M < profile.tx.peak < 45 * M


@pytest.mark.parametrize(
    ("tallies", "cls"),
    [
        ([bulk(50 * M)], E),
        ([web()], MOUSE),
        ([IDLE], Q),
        ([IDLE, bulk(50 * M)], E),
        ([bulk(50 * M), IDLE, IDLE, IDLE], E),  # an idle time says nothing about a busy one
        ([bulk(50 * M), web()], E),  # half and half: as it was
        ([web(), bulk(50 * M)], MOUSE),
        ([bulk(50 * M), web(), web()], MOUSE),  # a third: below 40 percent
        ([web(), bulk(50 * M), bulk(50 * M)], E),
        ([bulk(50 * M) + web()], X),  # half of the pods each
        ([bulk(50 * M) + web(), web()], X),  # elephants in half of the samples, and they had them before
        ([bulk(50 * M) + web(), web(), web()], MOUSE),
    ],
)
def test_the_class_is_what_most_busy_samples_show_with_hysteresis(tallies: list[Tally], cls: TrafficClass) -> None:
    assert folded(*tallies).cls is cls


def test_a_class_does_not_flap_while_its_traits_alternate() -> None:
    profile, classes = folded(bulk(50 * M)), set()
    for number in range(100):
        profile = fold(profile, web() if number % 2 else bulk(50 * M))
        classes.add(profile.cls)
    assert classes == {E}


def test_rates_rest_on_the_samples_with_elephants_and_mice_on_those_with_mice() -> None:
    profile = folded(bulk(100 * M) + web(9), web(9), web(9), bulk(300 * M))
    assert profile.tx.typical == pytest.approx(200 * M)
    assert profile.mice == pytest.approx(2.0)
    assert profile.flows == pytest.approx(9.0)


@pytest.mark.parametrize(("samples", "percent"), [(0, 0), (1, 25), (2, 40), (10, 77), (50, 94), (10_000, 100)])
def test_confidence_grows_with_the_samples(samples: int, percent: int) -> None:
    assert Profile(samples=samples).confidence == percent


def test_what_is_remembered_is_a_demand_like_the_measured_one() -> None:
    node = footprint(elephant("a", tx=150 * M, rx=10 * M), mouse("m", nf=9))
    bulk_tally, web_tally = (tally_node(node)["default", wl] for wl in ("Job/bulk", "Deployment/web"))
    assert remembered(folded(bulk_tally)) == Demand(E, 150 * M, 10 * M, 0.0, Origin.REMEMBERED)
    assert remembered(folded(web_tally)) == Demand(MOUSE, 0.0, 0.0, 2.0, Origin.REMEMBERED)
    assert remembered(folded(tally_node(footprint(other("q", Q)))["default", "Deployment/web"])) == Demand(
        Q, origin=Origin.REMEMBERED
    )
    assert remembered(NOTHING_YET) is None


def test_a_restart_goes_on_from_what_was_written() -> None:
    before = folded(*[bulk(100 * M)] * 9)
    after = known(
        before.samples, before.cls, tx=before.tx, rx=before.rx, mice=before.mice, flows=before.flows
    )  # fmt: skip
    assert fold(after, bulk(200 * M)) == fold(before, bulk(200 * M))


def test_a_restart_of_a_quiet_workload_lets_its_first_busy_sample_decide() -> None:
    quiet = known(500, Q, tx=Rates(), rx=Rates(), mice=0.0, flows=0.0)
    assert fold(quiet, bulk(80 * M)).tx.typical == 80 * M


pods = st.integers(1, 50)
rates = st.floats(0, 1e15)


@st.composite
def tallies(draw: st.DrawFn) -> Tally:
    hurting, suffering, quiet = draw(st.integers(0, 5)), draw(st.integers(0, 5)), draw(st.integers(0, 5))
    each: list[tuple[float, float]] = draw(st.lists(st.tuples(rates, rates), min_size=hurting, max_size=hurting))
    flows: list[float] = draw(st.lists(st.floats(0, 1e9), min_size=suffering, max_size=suffering))
    values: dict[str, Any] = {
        "tx": sum(tx for tx, _ in each), "rx": sum(rx for _, rx in each),
        "peak_tx": max((tx for tx, _ in each), default=0.0), "peak_rx": max((rx for _, rx in each), default=0.0),
        "mice": sum(1 + math.log10(1 + f) for f in flows), "flows": sum(flows),
    }  # fmt: skip
    return Tally(
        active=max(hurting, suffering), quiet=quiet, hurting=hurting, suffering=suffering, running=1, **values
    )


@given(st.lists(tallies(), min_size=1, max_size=40))
def test_a_profile_stays_within_its_samples(samples: list[Tally]) -> None:
    profile = folded(*samples)
    slack = 1 + 1e-9
    for way in ("tx", "rx"):
        held: Rates = getattr(profile, way)
        means = [getattr(t, way) / t.hurting for t in samples if t.hurting] or [0.0]
        peaks = [getattr(t, f"peak_{way}") for t in samples if t.hurting] or [0.0]
        assert 0 <= held.typical <= held.peak <= max(peaks) * slack
        assert held.typical <= max(means) * slack
    assert 0 <= profile.hurting <= 1
    assert 0 <= profile.suffering <= 1
    assert profile.samples == len(samples)
    assert profile.cls is not TrafficClass.UNKNOWN
    assert (profile.cls is Q) is all(t.active == 0 for t in samples)


@given(tallies(), st.integers(1, 60))
def test_samples_that_agree_change_nothing_but_confidence(tally: Tally, times: int) -> None:
    once, often = folded(tally), folded(*[tally] * times)
    assert often.cls is once.cls
    assert often.tx.typical == pytest.approx(once.tx.typical)
    assert often.tx.peak == pytest.approx(once.tx.peak)
    assert often.mice == pytest.approx(once.mice)
