# SPDX-License-Identifier: Apache-2.0
"""Elephants as a reading shows them."""

from __future__ import annotations

from nodeagent.sources.base import HOST, UNATTRIBUTED, Elephant, FlowThresholds
from nodeagent.sources.ebpf.elephants import ElephantView
from nodeagent.sources.ebpf.kernel.layout import FLOW_LOCAL, Address, ElephantEvent, FlowEntry
from nodeagent.sources.ebpf.values import wide

UIDS = {1: HOST, 4098: "a", 4099: "b"}
MIB = 2**20


def event(flow: int = 1, at: float = 100.0, carried: int = 10 * MIB) -> ElephantEvent:
    return ElephantEvent(
        flow=flow, time_ns=int(at * 1e9), bytes=(carried, 0), protocol=6,
        initiator=Address.from_buffer_copy(wide(b"\x0a\0\0\1")),
        responder=Address.from_buffer_copy(wide(b"\x0a\0\0\2")),
    )  # fmt: skip


def flow(sent: int, charge: tuple[int, int] = (4098, 0), flags: int = 0, received: int = 0) -> FlowEntry:
    return FlowEntry(bytes=(sent, received), charge=charge, flags=flags, elephant=1)


def look(view: ElephantView, now: float, *found: tuple[ElephantEvent, FlowEntry]) -> tuple[Elephant, ...]:
    return view.advance(found, lambda tag: UIDS.get(tag, UNATTRIBUTED), now)


def test_one_that_has_just_begun_has_at_least_the_thresholds_rate() -> None:
    (elephant,) = look(ElephantView(FlowThresholds()), 100.1, (event(), flow(11 * MIB)))
    assert elephant == Elephant(("a",), 6, "10.0.0.1", "10.0.0.2", 11 * MIB, 10e6, 100.0)


def test_the_rate_is_measured_from_reading_to_reading() -> None:
    view = ElephantView(FlowThresholds())
    assert look(view, 101.0, (event(), flow(12 * MIB)))[0].rate == 2 * MIB * 8
    assert look(view, 102.0, (event(), flow(13 * MIB)))[0].rate == MIB * 8
    assert look(view, 102.1, (event(), flow(20 * MIB)))[0].rate == MIB * 8  # too soon to tell


def test_the_busier_direction_is_its_rate() -> None:
    (elephant,) = look(ElephantView(FlowThresholds()), 101.0, (event(), flow(10 * MIB, received=3 * MIB)))
    assert elephant.rate == 3 * MIB * 8


def test_one_that_fell_silent_is_shown_until_the_hold_is_over_and_again_when_it_returns() -> None:
    view = ElephantView(FlowThresholds())
    standing = event()
    shown = [bool(look(view, 101.0 + second, (standing, flow(12 * MIB)))) for second in range(9)]
    assert shown == [True] * 5 + [False] * 4  # slow since 101, held until 106
    assert look(view, 110.0, (standing, flow(16 * MIB)))


def test_one_that_ended_and_began_again_between_two_readings_is_measured_anew() -> None:
    view = ElephantView(FlowThresholds())
    look(view, 101.0, (event(), flow(12 * MIB)))
    (elephant,) = look(view, 120.1, (event(at=120.0, carried=50 * MIB), flow(51 * MIB)))
    assert (elephant.since, elephant.rate) == (120.0, 10e6)


def test_two_pods_of_the_node_are_both_its_owners() -> None:
    local = flow(11 * MIB, charge=(4098, 4099), flags=FLOW_LOCAL)
    (elephant,) = look(ElephantView(FlowThresholds()), 100.1, (event(), local))
    assert (elephant.owners, elephant.local) == (("a", "b"), True)


def test_a_tag_that_serves_nobody_is_unattributed() -> None:
    (elephant,) = look(ElephantView(FlowThresholds()), 100.1, (event(), flow(11 * MIB, charge=(9999, 0))))
    assert elephant.owners == (UNATTRIBUTED,)


def test_the_fastest_comes_first() -> None:
    view = ElephantView(FlowThresholds())
    slow, fast = (event(1), flow(12 * MIB)), (event(2), flow(30 * MIB))
    assert [e.bytes for e in look(view, 101.0, slow, fast)] == [30 * MIB, 12 * MIB]
