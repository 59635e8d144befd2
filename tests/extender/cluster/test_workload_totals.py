# SPDX-License-Identifier: Apache-2.0
"""Sums kept change by change are the sums that all nodes together give."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.cluster.workload_totals import NodeTallies, WorkloadTotals
from extender.model.demand import Tally, learned_demand, tally_node
from extender.model.pods import WorkloadKey
from extender.model.running_sums import Total
from footprint.classes import TrafficClass
from footprint.models import NodeFootprint, PodFootprint
from footprint.units import quantise
from tests.extender.builders import M, elephant, footprint, mouse

BULK, WEB = ("default", "Job/bulk"), ("default", "Deployment/web")


def summed(tallies: Iterable[Tally]) -> Tally:
    """All of them at once, each sum rounded once."""
    there = list(tallies)
    return Tally(
        sum(t.active for t in there), sum(t.quiet for t in there),
        sum(t.hurting for t in there), math.fsum(t.tx for t in there), math.fsum(t.rx for t in there),
        sum(t.suffering for t in there), math.fsum(t.mice for t in there), math.fsum(t.flows for t in there),
        max((t.peak_tx for t in there), default=0.0), max((t.peak_rx for t in there), default=0.0),
        sum(t.running for t in there),
    )  # fmt: skip


rates = st.one_of(st.sampled_from([0.0, 1e15, 0.1, 10e6, 11e6]), st.floats(0.01, 1e15).map(quantise))


@st.composite
def pods(draw: st.DrawFn) -> PodFootprint:
    tx, rx = draw(rates), draw(rates)
    return PodFootprint(
        uid="u", ns="default", name="p", wl=draw(st.sampled_from(["Job/bulk", "Deployment/web"])),
        cls=draw(st.sampled_from(TrafficClass)), tx=tx, rx=rx, etx=tx, erx=rx,
        nf=quantise(draw(st.floats(0.01, 1e4))), ms=draw(st.sampled_from([0.0, 0.33, 0.95, 1.0])),
    )  # fmt: skip


footprints = st.builds(
    lambda running, ended: footprint(*running, ended=ended),
    st.lists(pods(), max_size=4),
    st.lists(pods(), max_size=2),
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | footprints), max_size=30))
def test_whatever_nodes_write_in_whatever_order_totals_and_demands_are_those_of_what_is_left(
    writes: list[tuple[str, NodeFootprint | None]],
) -> None:
    totals, left = WorkloadTotals(), dict[str, NodeTallies]()
    for node, written in writes:
        tallies = None if written is None else tally_node(written)
        totals.update(totals.replace_node(node, tallies))
        left.pop(node, None)
        if tallies is not None:
            left[node] = tallies
        by_workload = {key: summed(t[key] for t in left.values() if key in t) for key in (BULK, WEB)}
        assert totals.totals == {key: total for key, total in by_workload.items() if total.pods}
        demands = {key: learned_demand(total) for key, total in by_workload.items()}
        assert totals.demands == {key: demand for key, demand in demands.items() if demand is not None}


def test_sums_do_not_drift_however_often_they_change() -> None:
    draw, total = random.Random(1), Total()
    stays = Tally(active=1, suffering=1, mice=1 + math.log10(1.1), flows=0.1, running=1)
    total.swap(None, stays)
    for _ in range(10_000):
        passing = Tally(active=1, hurting=1, tx=quantise(draw.uniform(1, 1e15)), suffering=1, mice=draw.random())
        total.swap(None, passing)
        total.swap(passing, None)
    assert total.tally == stays


def test_the_peak_of_a_workload_falls_with_the_last_pod_that_has_it() -> None:
    totals = WorkloadTotals()
    totals.replace_node("a", tally_node(footprint(elephant("e", tx=90 * M))))
    totals.replace_node("b", tally_node(footprint(elephant("f", tx=90 * M))))
    totals.replace_node("c", tally_node(footprint(elephant("g", tx=20 * M))))
    peaks = []
    for node in "abc":
        totals.update({BULK})
        peaks.append(totals.totals[BULK].peak_tx)
        totals.replace_node(node, None)
    totals.update({BULK})
    assert peaks == [90 * M, 90 * M, 20 * M]
    assert totals.totals == {}


def test_a_nodes_change_looks_at_no_other_node(monkeypatch: pytest.MonkeyPatch) -> None:
    totals, changed = WorkloadTotals(), set[WorkloadKey]()
    for number in range(20):
        changed |= totals.replace_node(f"n{number}", tally_node(footprint(elephant("e", tx=50 * M), mouse("m"))))
    totals.update(changed)
    rewritten = tally_node(footprint(elephant("e", tx=170 * M), mouse("m")))

    def no_sum(*_: object) -> Tally:
        raise AssertionError("tallies are summed again")

    monkeypatch.setattr(Tally, "__add__", no_sum)
    changed = totals.replace_node("n7", rewritten)
    assert changed == {BULK}
    assert totals.update(changed) == {BULK}
    assert totals.totals[BULK].tx == 19 * 50 * M + 170 * M
    assert totals.demands[BULK].tx == 55 * M
