# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.classes import TrafficClass
from footprint.codec import decode, quantised
from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, NODE_SUMMARY
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from nodeagent.publishing.decide import (
    BURST,
    Change,
    PublishState,
    WritePolicy,
    change,
    content,
    decide,
    merge_patch,
)

LINK = LinkRates(200e6, 200e6)
POLICY = WritePolicy()


def pod(uid: str = "u", cls: TrafficClass = TrafficClass.MOUSE, **figures: float) -> PodFootprint:
    return replace(PodFootprint(uid, "d", uid, "Deployment/d", cls), **figures)  # type: ignore[arg-type]  # floats


def node(*pods: PodFootprint, **others: object) -> NodeFootprint:
    return replace(NodeFootprint(src="t", cap=LINK, pods=pods), **others)  # type: ignore[arg-type]  # any field


def elephants(rate: float, cap: LinkRates = LINK) -> NodeFootprint:
    return node(el=LinkRates(rate, 0), cap=cap)


BULK = LinkRates(1e8, 0)
NEARLY_ALL = LinkRates(1.9e8, 0)
UNKNOWN = LinkRates()


def learned(rate: float, sure: float = 0.9, by: str = "estimated") -> NodeFootprint:
    return node(cap=LinkRates(rate, rate), by=by, sure=sure)


def learnt(rate: float) -> Uplink:
    return Uplink("eth0", LinkRates(rate, rate), "estimated", 0.9)


def links(rate: float) -> tuple[Uplink, ...]:
    return Uplink("eth0"), Uplink("eth1", LINK, "driver", el=LinkRates(rate, 0))


ELEPHANT = pod(cls=TrafficClass.ELEPHANT, tx=1e8, etx=1e8, el=1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (node(pod()), node(pod()), Change.NONE),
        (node(pod()), node(ELEPHANT), Change.URGENT),
        (node(), node(ELEPHANT), Change.URGENT),
        (node(pod(cls=TrafficClass.ELEPHANT)), node(pod(cls=TrafficClass.MIXED)), Change.ORDINARY),
        (node(pod(cls=TrafficClass.ELEPHANT)), node(pod()), Change.ORDINARY),
        (node(pod()), node(), Change.ORDINARY),
        (node(pod(cls=TrafficClass.QUIET)), node(), Change.NONE),
        (node(), node(pod(cls=TrafficClass.UNKNOWN)), Change.NONE),
        (node(pod(tx=1e8)), node(pod(tx=1.19e8)), Change.NONE),  # within 20 % of the larger
        (node(pod(tx=1e8)), node(pod(tx=1.26e8)), Change.ORDINARY),
        (node(pod(rx=1e8)), node(pod(rx=0.79e8)), Change.ORDINARY),
        (node(pod(tx=1e4)), node(pod(tx=9e5)), Change.NONE),  # below the floor: 0.5 % of 200 Mbit/s is 1 Mbit/s
        (node(pod(nf=1)), node(pod(nf=2)), Change.NONE),
        (node(pod(nf=10)), node(pod(nf=30)), Change.ORDINARY),
        (elephants(20e6), elephants(40e6), Change.ORDINARY),  # 10 points are not more than 10
        (elephants(20e6), elephants(44e6), Change.URGENT_HELD),  # 10 % to 22 %
        (elephants(44e6), elephants(20e6), Change.URGENT_HELD),
        (elephants(0, LinkRates()), elephants(5e7, LinkRates()), Change.URGENT_HELD),  # no share, but a beginning
        (elephants(5e7, LinkRates()), elephants(5.5e7, LinkRates()), Change.NONE),
        (node(), node(bad=("events-overrun",)), Change.ORDINARY),
        (node(), node(ended=(pod("gone"),)), Change.ORDINARY),
        (node(ended=(pod("gone"),)), node(), Change.NONE),  # retention that ran out
        (node(), node(un=LinkRates(5e7, 0)), Change.ORDINARY),
        (node(), node(local=1e9), Change.NONE),  # never uses the link
        (node(up="eth0", by="driver"), node(up="eth1", by="driver"), Change.ORDINARY),
        (node(), node(full=("tx",)), Change.ORDINARY),
        (node(el=BULK), node(el=BULK, full=("tx",)), Change.URGENT_HELD),  # as urgent as the share itself
        (node(el=BULK, full=("tx",)), node(el=BULK), Change.URGENT_HELD),
        (node(el=NEARLY_ALL), node(el=NEARLY_ALL, full=("tx",)), Change.ORDINARY),  # the share says it already
        (node(el=BULK, cap=UNKNOWN), node(el=BULK, cap=UNKNOWN, full=("tx",)), Change.URGENT_HELD),
        (learned(1e9), learned(1.19e9), Change.NONE),  # within 20 % of the larger
        (learned(1e9), learned(1.3e9), Change.ORDINARY),
        (learned(1e9, 0.5), learned(1e9, 0.6), Change.NONE),
        (learned(1e9, 0.5), learned(1e9, 0.75), Change.ORDINARY),
        (learned(1e9, by="assumed"), learned(1e9), Change.ORDINARY),
        (node(by="stated"), node(by="stated", cap=LinkRates(210e6, 210e6)), Change.ORDINARY),
        (node(uplinks=(learnt(1e9),)), node(uplinks=(learnt(1.1e9),)), Change.NONE),
        (node(uplinks=(learnt(1e9),)), node(uplinks=(learnt(2e9),)), Change.ORDINARY),
        (node(uplinks=links(0)), node(uplinks=links(5e7)), Change.ORDINARY),
        (node(uplinks=links(5e7)), node(uplinks=links(5.5e7)), Change.NONE),
        (node(uplinks=links(0)), node(), Change.ORDINARY),
        (node(), node(used=LinkRates(1e8, 0)), Change.NONE),  # whoever carried it moved as well
    ],
)
def test_what_counts_as_a_change(old: NodeFootprint, new: NodeFootprint, expected: Change) -> None:
    assert change(old, new, POLICY) is expected


def writes(steps: list[tuple[float, NodeFootprint]], policy: WritePolicy = POLICY) -> list[float]:
    """When something is written, given what is measured at which moment."""
    state, found = PublishState(), []
    for now, footprint in steps:
        state, write = decide(state, footprint, now, policy, 0.5)
        if write:
            found.append(now)
    return found


def every_second(*phases: tuple[int, NodeFootprint]) -> list[tuple[float, NodeFootprint]]:
    footprints = [footprint for seconds, footprint in phases for _ in range(seconds)]
    return [(1000.0 + second, footprint) for second, footprint in enumerate(footprints)]


def test_the_first_footprint_is_written_and_then_nothing_while_nothing_changes() -> None:
    assert writes(every_second((100_000, node(pod())))) == [1000.0]


def test_an_elephants_beginning_is_written_at_once() -> None:
    assert writes(every_second((2, node(pod())), (60, node(ELEPHANT)))) == [1000.0, 1002.0]


def test_an_ordinary_change_waits_for_the_interval_and_its_jitter() -> None:
    assert writes(every_second((2, node(pod())), (60, node(pod(tx=1e8))))) == [1000.0, 1011.0]  # 10 s * 1.1


def test_an_ordinary_change_after_a_long_rest_is_written_when_held() -> None:
    assert writes(every_second((60, node(pod())), (60, node(pod(tx=1e8))))) == [1000.0, 1061.0]


def test_a_blip_shorter_than_the_hold_is_not_written() -> None:
    blip = every_second((60, node(pod())), (1, node(pod(tx=1e8))), (60, node(pod())))
    assert writes(blip) == [1000.0]


def test_a_move_of_the_elephant_share_is_held_but_waits_for_no_interval() -> None:
    moved = every_second((2, elephants(0)), (60, elephants(1e8)))
    assert writes(moved) == [1000.0, 1003.0]


def test_a_share_that_still_moves_is_written_when_it_has_settled() -> None:
    fall = [elephants(share * 2e6) for share in (80, 44, 22, 11, 5, 2, 1, 0)]
    steps = every_second((60, elephants(160e6)), *((1, footprint) for footprint in fall[1:]), (60, fall[-1]))
    # At 1060 it begins to fall, at 1064 it moved by no more than 5 points; the last 4 Mbit/s wait their turn.
    assert writes(steps) == [1000.0, 1064.0, 1075.0]


def test_a_share_that_never_settles_is_written_all_the_same() -> None:
    restless = [(1, elephants(1e8 if second % 2 else 4e7)) for second in range(20)]
    assert writes(every_second((1, elephants(0)), *restless))[1] == 1005.0  # 1 s of hold and 3 s of waiting


def test_the_fourth_write_in_a_row_waits_for_the_budget() -> None:
    flapping = [(1000.0 + s, node(ELEPHANT) if s % 2 else node(pod(tx=1.0, nf=float(s)))) for s in range(60)]
    steps = [(now, f if s % 2 == 0 else node(pod(f"u{s}", cls=TrafficClass.ELEPHANT, tx=1e8))) for s, (now, f)
             in enumerate(flapping)]  # fmt: skip
    found = writes(steps)
    assert found[:3] == [1000.0, 1001.0, 1003.0]
    assert found[3] >= 1010.0


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 30), st.integers(0, 5), st.sampled_from(TrafficClass), st.floats(0, 2e8)),
        max_size=150,
    ),
    interval=st.sampled_from([1.0, 3.0, 10.0, 60.0]),
    hold=st.sampled_from([0.0, 1.0]),
    draw=st.floats(0, 1, exclude_max=True),
)
def test_no_window_of_t_seconds_holds_more_than_the_burst_and_one_write_per_interval(
    steps: list[tuple[float, int, TrafficClass, float]], interval: float, hold: float, draw: float
) -> None:
    policy, state, now = WritePolicy(interval=interval, hold=hold), PublishState(), 50.0
    found: list[float] = []
    for pause, uid, cls, rate in steps:
        now += pause
        footprint = node(pod(str(uid), cls, tx=rate, etx=rate), el=LinkRates(rate, 0))
        state, write = decide(state, footprint, now, policy, draw)
        if write:
            found.append(now)
    for first, start in enumerate(found):
        for last in range(first, len(found)):
            assert last - first + 1 <= BURST + (found[last] - start) / interval + 1e-6


def test_one_merge_patch_carries_the_three_annotations() -> None:
    measured = node(ELEPHANT, el=LinkRates(1e8, 0))
    annotations = content(measured)
    assert merge_patch(annotations) == {"metadata": {"annotations": annotations}}
    assert decode(annotations[NODE_FOOTPRINT]) == quantised(measured)
    assert annotations[NODE_ELEPHANT_SHARE] == "50"
    assert "1 elephant" in annotations[NODE_SUMMARY]


def test_the_summary_says_how_many_pods_were_left_out() -> None:
    many = node(*(pod("x" * 200 + str(i), tx=float(i)) for i in range(800)))
    annotations = content(many)
    cut = decode(annotations[NODE_FOOTPRINT]).cut
    assert cut > 0
    assert f"({cut} left out)" in annotations[NODE_SUMMARY]
