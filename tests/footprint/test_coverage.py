# SPDX-License-Identifier: Apache-2.0
"""What part of a link's bytes a footprint's owners account for."""

from __future__ import annotations

import pytest
from hypothesis import given

from footprint.classes import TrafficClass
from footprint.coverage import MEASURABLE, coverage
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from tests.footprint.strategies import nodes

POD = PodFootprint("u", "n", "p", "Job/j", TrafficClass.ELEPHANT, tx=40e6, rx=1e6)


def node(used: LinkRates, uplinks: tuple[Uplink, ...] = ()) -> NodeFootprint:
    return NodeFootprint(
        src="ctnetlink", cap=LinkRates(200e6, 200e6), pods=(POD,), host=LinkRates(8e6, 1e6), un=LinkRates(2e6, 0),
        used=used, uplinks=uplinks,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (LinkRates(100e6, 2e6), 0.5),
        (LinkRates(10e6, 20e6), 0.1),
        (LinkRates(50e6, 50e6), 1.0),
        (LinkRates(45e6, 2e6), 1.0),
        (LinkRates(MEASURABLE - 1, 0), None),
    ],
    ids=[
        "the pods, the host and the rest",
        "the busier direction",
        "all",
        "no more than all",
        "too little to tell",
    ],
)
def test_the_share_of_what_the_link_carried(used: LinkRates, expected: float | None) -> None:
    assert coverage(node(used)) == expected


def test_of_several_uplinks_the_sum_is_the_whole() -> None:
    two = tuple(Uplink(name, used=LinkRates(100e6, 0)) for name in ("eth0", "eth1"))
    assert coverage(node(LinkRates(100e6, 0), two)) == 0.25


@given(nodes)
def test_it_is_a_share_or_unknown(found: NodeFootprint) -> None:
    part = coverage(found)
    assert part is None or 0 <= part <= 1
