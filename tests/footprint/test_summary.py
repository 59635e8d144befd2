# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given

from footprint.classes import TrafficClass
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from footprint.summary import elephant_share, summary
from tests.footprint.strategies import nodes

LINK = LinkRates(200e6, 200e6)


def pod(cls: TrafficClass) -> PodFootprint:
    return PodFootprint("u", "n", "p", "Job/j", cls)


def test_a_person_reads_link_pods_and_source() -> None:
    node = NodeFootprint(
        src="ctnetlink", cap=LINK, el=LinkRates(162e6, 3e6), cut=4, bad=("events-overrun",),
        pods=(pod(TrafficClass.ELEPHANT), pod(TrafficClass.MOUSE), pod(TrafficClass.MOUSE)),
    )  # fmt: skip
    assert summary(node) == (
        "elephants 81% of link (162 Mbit/s of 200 Mbit/s); pods: 1 elephant, 2 mouse (4 left out); "
        "source ctnetlink, events-overrun"
    )


def test_an_unknown_capacity_is_said_and_shares_nothing() -> None:
    node = NodeFootprint(src="ctnetlink", cap=LinkRates(), el=LinkRates(162e6, 0))
    assert elephant_share(node) == 0
    assert "capacity not known" in summary(node)


def test_of_several_links_the_busiest_is_named_and_so_are_a_capacity_that_is_assumed_and_a_full_link() -> None:
    node = NodeFootprint(
        src="ctnetlink", cap=LINK, el=LinkRates(162e6, 3e6), up="eth1", by="assumed", full=("tx",),
        uplinks=(Uplink("eth0"), Uplink("eth1")),
    )  # fmt: skip
    assert summary(node) == (
        "elephants 90% of link eth1, the busiest of 2 (162 Mbit/s, full); pods: none measured; "
        "source ctnetlink, link full in tx"
    )


@pytest.mark.parametrize(
    ("full", "share", "said"),
    [
        ((), 16, "(162 Mbit/s of 1 Gbit/s assumed)"),
        (("tx",), 90, "(162 Mbit/s, full)"),
        (("rx",), 16, "(162 Mbit/s of 1 Gbit/s assumed)"),  # full of something else
    ],
)
def test_elephants_on_a_full_link_use_nine_tenths_of_it_whatever_is_assumed(
    full: tuple[str, ...], share: int, said: str
) -> None:
    cap = LinkRates(1e9, 1e9)
    node = NodeFootprint(src="t", cap=cap, el=LinkRates(162e6, 0), up="eth0", by="assumed", full=full)
    assert elephant_share(node) == share
    assert said in summary(node)
    assert elephant_share(NodeFootprint(src="t", cap=LinkRates(), el=LinkRates(1e6, 0), full=("tx",))) == 90


@pytest.mark.parametrize(
    ("cap", "elephants", "share"),
    [
        (LINK, LinkRates(50e6, 100e6), 50),  # the busier direction counts
        (LinkRates(1e9, 100e6), LinkRates(200e6, 50e6), 50),  # busier against its own capacity
        (LINK, LinkRates(300e6, 0), 100),
        (LINK, LinkRates(), 0),
        (LinkRates(0, 200e6), LinkRates(1e9, 20e6), 10),  # one direction not known
    ],
)
def test_the_share_is_of_the_busier_direction(cap: LinkRates, elephants: LinkRates, share: int) -> None:
    assert elephant_share(NodeFootprint(src="s", cap=cap, el=elephants)) == share


@given(nodes)
def test_the_share_is_a_whole_per_cent_and_the_summary_one_line(node: NodeFootprint) -> None:
    assert 0 <= elephant_share(node) <= 100
    assert "\n" not in summary(NodeFootprint(src="s", cap=node.cap, el=node.el, pods=node.pods))
