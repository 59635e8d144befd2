# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.demand import (
    DECLARED_MOUSE,
    DEFAULT_ELEPHANT_RATE,
    Demand,
    Origin,
    Tally,
    learned_demand,
    mice_weight,
    predict,
    tally_node,
    typical,
)
from footprint.classes import TrafficClass
from footprint.declared import Declared
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from footprint.units import quantise
from tests.extender.builders import LINK, M, elephant, footprint, mouse, other

E, X, Q, MOUSE = TrafficClass.ELEPHANT, TrafficClass.MIXED, TrafficClass.QUIET, TrafficClass.MOUSE
BULK, WEB = ("default", "Job/bulk"), ("default", "Deployment/web")


def learn(*nodes: NodeFootprint, key: tuple[str, str] = BULK) -> Demand | None:
    return learned_demand(sum((t[key] for t in map(tally_node, nodes) if key in t), Tally()))


def test_a_workload_is_what_its_pods_on_all_nodes_did_on_average() -> None:
    learned = learn(footprint(elephant("a", tx=100 * M)), footprint(elephant("b", tx=50 * M, rx=10 * M)))
    assert learned == Demand(E, 80 * M, 5 * M, 0.0, Origin.LEARNED, 2)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (75 * M, 80 * M), (100 * M, 100 * M), (104 * M, 100 * M), (106 * M, 110 * M), (9.4e9, 9e9), (9.6e9, 1e10),
        (1.0, 1.0), (0.99, 1.0), (0.0, 0.0), (5e-324, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 0.0),
    ],
)  # fmt: skip
def test_a_typical_rate_is_the_nearest_preferred_number(rate: float, expected: float) -> None:
    assert typical(rate) == expected


@given(st.floats(1e-3, 1e15), st.floats(1e-3, 1e15))
def test_typical_rates_are_near_in_order_few_and_stay_as_they_are(one: float, other: float) -> None:
    assert 0.92 < typical(one) / one < 1.09
    assert (typical(one) <= typical(other)) or one > other
    assert typical(typical(one)) == typical(one)
    assert quantise(typical(one)) == typical(one)


def test_twenty_typical_rates_are_all_of_a_decade() -> None:
    assert len({typical(M * (1 + number / 1000)) for number in range(9000)} - {10 * M}) == 20


def test_ended_pods_still_teach() -> None:
    assert learn(footprint(ended=[elephant("a", tx=80 * M)])) == Demand(E, 80 * M, 0.0, 0.0, Origin.LEARNED, 1)


def test_nothing_is_learned_from_pods_measured_too_shortly() -> None:
    assert learn(footprint(other("a", TrafficClass.UNKNOWN, wl="Job/bulk", tx=5.0))) is None


def test_idle_copies_say_nothing_about_busy_ones() -> None:
    learned = learn(footprint(elephant("a", tx=80 * M), *(other(f"q{i}", Q, wl="Job/bulk") for i in range(5))))
    assert learned is not None
    assert (learned.cls, learned.tx, learned.pods) == (E, 80 * M, 6)


def test_a_workload_of_idle_pods_is_quiet_and_neutral() -> None:
    learned = learn(footprint(other("q", Q, wl="Job/bulk")))
    assert learned is not None
    assert learned.cls is Q
    assert learned.neutral


@pytest.mark.parametrize(
    ("pods", "cls"),
    [
        ([elephant("a"), elephant("b"), other("c", MOUSE, wl="Job/bulk")], E),  # 2 of 3 hurt, 1 of 3 suffers
        ([elephant("a"), other("b", MOUSE, wl="Job/bulk"), other("c", MOUSE, wl="Job/bulk")], MOUSE),
        ([elephant("a"), other("b", MOUSE, wl="Job/bulk")], X),  # half and half
        ([elephant("a"), other("b", X, wl="Job/bulk", etx=M)], X),  # 2 of 2 hurt, 1 of 2 suffers
    ],
)
def test_a_trait_of_at_least_half_of_the_active_pods_is_the_workloads(
    pods: list[PodFootprint], cls: TrafficClass
) -> None:
    learned = learn(footprint(*pods))
    assert learned is not None
    assert learned.cls is cls


@pytest.mark.parametrize(
    ("pod", "weight"),
    [
        (mouse("m"), 1.0),  # keep-alive connections: no new flows
        (mouse("m", nf=9), 2.0),  # 1 + log10(10)
        (mouse("m", nf=999), 4.0),
        (other("x", X, nf=9, ms=1.0), 1.0),  # half of a mouse's
        (other("x", MOUSE, nf=18, ms=0.5), 2.0),  # only flows that ended as mice
        (elephant("e"), 0.0),
        (other("q", Q, nf=9, ms=1.0), 0.0),
    ],
)
def test_mice_weigh_by_the_flows_they_open_on_a_logarithmic_scale(pod: PodFootprint, weight: float) -> None:
    assert mice_weight(pod) == pytest.approx(weight)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ([95, 95], [190, 190]),  # two share a full link: each would take it all
        ([190], [190]),
        ([80, 80], [80, 80]),  # 160 of 200: not full, they limit themselves
        ([170, 20], [190, 20]),  # 20 is less than half of an equal share: it limits itself
    ],
)
def test_on_a_full_link_a_pod_wants_more_than_it_got(rates: list[float], expected: list[float]) -> None:
    pods = [elephant(f"e{i}", tx=r * M, wl=f"Job/{i}") for i, r in enumerate(rates)]
    tallies = tally_node(footprint(*pods))
    assert [tallies["default", f"Job/{i}"].tx for i in range(len(rates))] == pytest.approx(
        [e * M for e in expected]
    )


def test_without_a_capacity_rates_stand_as_measured() -> None:
    node = NodeFootprint("x", LinkRates(), (elephant("a", tx=95 * M),), el=LinkRates(190 * M, 0))
    assert tally_node(node)[BULK].tx == 95 * M


def test_tallies_add_up() -> None:
    a, b = tally_node(footprint(elephant("a"), mouse("b"))), tally_node(footprint(mouse("c")))
    assert a[WEB] + b[WEB] == Tally(active=2, suffering=2, mice=2.0, running=2)


LEARNED = Demand(E, 80 * M, 20 * M, 0.0, Origin.LEARNED, 4)
LEARNED_MOUSE = Demand(MOUSE, 0.0, 0.0, 2.5, Origin.LEARNED, 4)
D = Origin.DECLARED


@pytest.mark.parametrize(
    ("declared", "learned", "expected"),
    [
        (Declared(), None, Demand()),
        (Declared(), LEARNED, LEARNED),
        (Declared(cls=MOUSE), None, Demand(MOUSE, 0, 0, DECLARED_MOUSE, D)),
        (Declared(cls=MOUSE), LEARNED_MOUSE, Demand(MOUSE, 0, 0, 2.5, D, 4)),
        (Declared(cls=MOUSE), LEARNED, Demand(MOUSE, 0, 0, DECLARED_MOUSE, D, 4)),  # the user knows better
        (Declared(cls=E), None, Demand(E, DEFAULT_ELEPHANT_RATE, DEFAULT_ELEPHANT_RATE, 0, D)),
        (Declared(cls=E), LEARNED, Demand(E, 80 * M, 20 * M, 0, D, 4)),
        (Declared(cls=E, bandwidth=400 * M), None, Demand(E, 400 * M, 400 * M, 0, D)),  # direction not known
        (Declared(cls=E, bandwidth=400 * M), LEARNED, Demand(E, 400 * M, 100 * M, 0, D, 4)),  # in proportion
        (Declared(bandwidth=400 * M), None, Demand(E, 400 * M, 400 * M, 0, D)),  # only elephants need that
        (Declared(bandwidth=400 * M), LEARNED_MOUSE, Demand(X, 400 * M, 400 * M, 2.5, D, 4)),
        (Declared(bandwidth=1 * M), None, Demand()),  # too little to tell anything
        (Declared(bandwidth=1 * M), LEARNED, LEARNED),
        (Declared(cls=MOUSE, bandwidth=400 * M), None, Demand(MOUSE, 0, 0, DECLARED_MOUSE, D)),  # class wins
        (Declared(tx_limit=50 * M), None, Demand(E, 50 * M, 0, 0, D)),  # nothing better is known
        (Declared(tx_limit=50 * M, rx_limit=20 * M), None, Demand(E, 50 * M, 20 * M, 0, D)),
        (Declared(tx_limit=5 * M), None, Demand()),
        (Declared(tx_limit=50 * M), LEARNED, LEARNED),
        (Declared(tx_limit=50 * M), LEARNED_MOUSE, LEARNED_MOUSE),
        (Declared(cls=MOUSE, tx_limit=50 * M), None, Demand(MOUSE, 0, 0, DECLARED_MOUSE, D)),
        (Declared(cls=E, tx_limit=50 * M), None, Demand(E, 50 * M, DEFAULT_ELEPHANT_RATE, 0, D)),
        (Declared(cls=E, bandwidth=400 * M, tx_limit=50 * M), None, Demand(E, 400 * M, 400 * M, 0, D)),
    ],
)
def test_what_is_declared_wins_over_what_was_learned(
    declared: Declared, learned: Demand | None, expected: Demand
) -> None:
    assert predict(declared, learned) == expected


def test_the_smallest_learned_rates_scale_without_overflow() -> None:
    tiny = Demand(E, 5e-324, 0.0, 0.0, Origin.LEARNED, 1)
    demand = predict(Declared(cls=E, bandwidth=1e15), tiny)
    assert math.isfinite(demand.tx)
    assert demand.rx == 0


def test_a_demand_describes_itself() -> None:
    assert LEARNED.describe() == "elephant, tx 80 Mbit/s, rx 20 Mbit/s, learned from 4 pods"
    assert Demand().describe() == "unknown, unknown"
    assert LINK == 200 * M
