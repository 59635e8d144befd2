# SPDX-License-Identifier: Apache-2.0
"""The source over real maps, without hooks: what the kernel would have written is written by the test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.base import HOST, UNATTRIBUTED, FlowThresholds, Locality, LossKind
from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.kernel import bpf, layout
from nodeagent.sources.ebpf.kernel.layout import STATS, ElephantEvent, FlowEntry, Histograms, SlotCounters
from nodeagent.sources.ebpf.kernel.maps import Maps, Sizes, counted
from nodeagent.sources.ebpf.loader import Options, Session
from nodeagent.sources.ebpf.programs import Programs
from nodeagent.sources.ebpf.seeding import Seeder
from nodeagent.sources.ebpf.source import KEPT_READINGS, EbpfSource

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="creating maps needs root")

A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
SIZES = Sizes(flows=64, addresses=8, slots=6, seeds=8, elephants=8, event_bytes=4096)


class Unhooked:
    """Opened sources with their maps; nothing is attached."""

    def __init__(self) -> None:
        self.functions: tuple[str, ...] = ()
        self.started: list[Options] = []
        self.maps: Maps | None = None

    def start(self, options: Options) -> Session:
        self.started.append(options)
        self.maps = Maps.create(options.sizes)
        return Session(self.maps, Programs({}, {}), "test", self.functions)

    def source(self, locality: Locality) -> EbpfSource:
        made = EbpfSource(FlowThresholds(), locality, options=Options(sizes=SIZES, pins=None))
        made.open()
        return made

    def count(self, uid: str, source: EbpfSource, **values: int) -> None:
        """What a hook would count on the first CPU."""
        assert self.maps is not None
        slot = source._owners.slot_of(uid)
        assert slot is not None
        others = bytes(SlotCounters(tag=slot.tag)) * (bpf.possible_cpus() - 1)
        value = bytes(SlotCounters(tag=slot.tag, **values)) + others
        bpf.map_update(self.maps.fds["counters"], slot.number.to_bytes(4, "little"), value)

    def histogram(self, uid: str, source: EbpfSource, size: int) -> None:
        """One ended flow, in the bucket ``size``."""
        assert self.maps is not None
        slot = source._owners.slot_of(uid)
        assert slot is not None
        histograms = Histograms()
        histograms.sizes[size] = 1
        bpf.map_update(self.maps.fds["histograms"], slot.number.to_bytes(4, "little"), bytes(histograms))

    def stat(self, name: str, value: int) -> None:
        assert self.maps is not None
        number = STATS.index(f"STAT_{name}")
        values = value.to_bytes(8, "little") + bytes(8 * (bpf.possible_cpus() - 1))
        bpf.map_update(self.maps.fds["stats"], number.to_bytes(4, "little"), values)


@pytest.fixture
def unhooked(monkeypatch: pytest.MonkeyPatch) -> Unhooked:
    made = Unhooked()
    monkeypatch.setattr(loader, "start", made.start)
    return made


@pytest.fixture
def source(unhooked: Unhooked) -> Iterator[EbpfSource]:
    made = unhooked.source(Locality(pods={A: "a", B: "b"}, node=frozenset({b"\x7f\0\0\1"})))
    yield made
    made.close()


def test_owners_with_traffic_are_read_by_their_uid(unhooked: Unhooked, source: EbpfSource) -> None:
    unhooked.count("a", source, tx_bytes=5, flows_ended=1)
    unhooked.count(HOST, source, rx_bytes=7)
    reading = source.read(1.0)
    assert set(reading.owners) == {"a", HOST}
    assert (reading.owners["a"].tx_bytes, reading.owners["a"].flows_ended) == (5, 1)
    assert reading.owners[HOST].rx_bytes == 7
    assert reading.epoch == 1


def test_a_reading_does_not_change_afterwards(unhooked: Unhooked, source: EbpfSource) -> None:
    unhooked.count("a", source, tx_bytes=5, flows_ended=1)
    unhooked.histogram("a", source, size=7)
    first = source.read(1.0).owners["a"]
    unhooked.count("a", source, tx_bytes=9, flows_ended=2)
    unhooked.histogram("a", source, size=8)
    second = source.read(2.0).owners["a"]
    assert (first.tx_bytes, first.sizes[7], first.sizes[8]) == (5, 1, 0)
    assert (second.tx_bytes, second.sizes[7], second.sizes[8]) == (9, 0, 1)


def test_an_owner_for_whom_nothing_was_counted_is_the_same_object(unhooked: Unhooked, source: EbpfSource) -> None:
    unhooked.count("a", source, tx_bytes=5)
    unhooked.count("b", source, tx_bytes=5)
    first = source.read(1.0).owners
    unhooked.count("b", source, tx_bytes=6)
    second = source.read(2.0).owners
    assert second["a"] is first["a"]
    assert second["b"] is not first["b"]


def test_what_the_cpus_counted_is_added(unhooked: Unhooked, source: EbpfSource) -> None:
    assert unhooked.maps is not None
    fields = [name for name, *_ in layout.SlotCounters._fields_[2:]]
    row = b"".join(
        bytes(SlotCounters(7, 0, *(2**40 + 100 * cpu + place for place in range(len(fields)))))
        for cpu in range(bpf.possible_cpus())
    )  # fmt: skip
    slot = source._owners.slot_of("a")
    assert slot is not None
    bpf.map_update(unhooked.maps.fds["counters"], slot.number.to_bytes(4, "little"), row)
    cpus = range(bpf.possible_cpus())
    shown = source.read(1.0).owners["a"]
    assert [getattr(shown, name) for name in fields] == [
        sum(2**40 + 100 * cpu + place for cpu in cpus) for place in range(len(fields))
    ]


@given(
    rows=st.lists(st.lists(st.integers(0, 2**50), min_size=10, max_size=10), min_size=1, max_size=64),
    tag=st.integers(0, 2**32 - 1),
)
def test_rows_of_any_number_of_cpus_are_added_field_by_field(rows: list[list[int]], tag: int) -> None:
    packed = b"".join(bytes(SlotCounters(tag, 0, *row)) for row in rows)
    assert counted(packed) == tuple(map(sum, zip(*rows, strict=True)))


def test_a_pod_that_left_is_shown_for_some_readings_and_for_as_long_as_it_counts(
    unhooked: Unhooked, source: EbpfSource
) -> None:
    unhooked.count("a", source, tx_bytes=5)
    source.read(1.0)
    source.set_locality(Locality(pods={B: "b"}))
    unhooked.count("a", source, tx_bytes=6)  # a late packet of its flow
    shown = ["a" in source.read(2.0).owners for _ in range(KEPT_READINGS + 3)]
    assert shown == [True] * (KEPT_READINGS + 1) + [False] * 2


def test_a_pod_that_was_left_out_and_counts_again_begins_at_zero(unhooked: Unhooked, source: EbpfSource) -> None:
    unhooked.count("a", source, tx_bytes=10**9, flows_ended=1)
    unhooked.histogram("a", source, size=7)
    source.read(1.0)
    source.set_locality(Locality(pods={B: "b"}))
    while "a" in source.read(2.0).owners:
        pass
    unhooked.count("a", source, tx_bytes=10**9, flows_ended=2)  # its conntrack entry expires
    unhooked.histogram("a", source, size=8)
    late = source.read(3.0).owners["a"]
    assert (late.tx_bytes, late.flows_ended) == (0, 1)
    while "a" in source.read(4.0).owners:
        pass
    source.set_locality(Locality(pods={A: "a", B: "b"}))  # it comes back
    assert "a" not in source.read(5.0).owners
    unhooked.count("a", source, tx_bytes=10**9 + 3, flows_ended=2)
    assert source.read(6.0).owners["a"].tx_bytes == 3


def test_a_name_of_any_length_owns_its_traffic(unhooked: Unhooked, source: EbpfSource) -> None:
    name = "shop/" + "long-" * 50
    source.set_locality(Locality(pods={A: name}))
    unhooked.count(name, source, tx_bytes=5)
    assert source.read(1.0).owners[name].tx_bytes == 5


def test_pods_beyond_the_slots_are_counted_as_refused(source: EbpfSource) -> None:
    source.set_locality(Locality(pods={A: "a", B: "b", b"\x0a\0\0\3": "c", b"\x0a\0\0\4": "d"}))
    assert source.read(1.0).lost == {LossKind.UPDATES_FAILED: 1}


def test_a_pod_that_takes_anothers_slot_starts_from_nothing(unhooked: Unhooked, source: EbpfSource) -> None:
    unhooked.count("a", source, tx_bytes=5)
    source.set_locality(Locality(pods={B: "b", b"\x0a\0\0\3": "c"}))
    source.set_locality(Locality(pods={B: "b", b"\x0a\0\0\3": "c", b"\x0a\0\0\4": "d"}))
    assert source.read(1.0).owners == {}
    unhooked.count("d", source, tx_bytes=3)
    assert source.read(2.0).owners["d"].tx_bytes == 3


def test_losses_are_named(unhooked: Unhooked, source: EbpfSource) -> None:
    for name in STATS:
        if name.startswith("STAT_LOST_"):
            unhooked.stat(name.removeprefix("STAT_"), 1)
    assert source.read(1.0).lost == {
        LossKind.UPDATES_FAILED: 5, LossKind.FLOWS_EVICTED: 1, LossKind.EVENTS_OVERRUN: 1, LossKind.HOOKS_MISSED: 1
    }  # fmt: skip


def test_flows_that_the_table_cannot_still_hold_are_lost_before_they_end(
    unhooked: Unhooked, source: EbpfSource
) -> None:
    unhooked.stat("FLOWS_MET", 100)
    unhooked.stat("FLOWS_BURIED", 6)
    assert source.read(1.0).lost == {LossKind.FLOWS_EVICTED: 30}
    unhooked.stat("FLOWS_BURIED", 70)  # those that were held have ended
    unhooked.stat("LOST_FLOW_EVICTED", 2)  # and two of the others have been missed
    assert source.read(2.0).lost == {LossKind.FLOWS_EVICTED: 30}


def test_an_elephant_whose_flow_is_gone_or_another_is_forgotten(unhooked: Unhooked, source: EbpfSource) -> None:
    maps = unhooked.maps
    assert maps is not None
    now = time.monotonic_ns()
    for key, standing in ((1, 1), (2, 0), (3, None)):
        name = key.to_bytes(8, "little")
        bpf.map_update(maps.fds["elephants"], name, bytes(ElephantEvent(flow=key, time_ns=now)))
        if standing is not None:
            bpf.map_update(maps.fds["flows"], name, bytes(FlowEntry(bytes=(2**24, 0), elephant=standing)))
    (elephant,) = source.read(now / 1e9 + 0.1).elephants
    assert elephant.owners == (UNATTRIBUTED,)
    assert [event.flow for event in maps.elephants()] == [1]


def test_thresholds_change_in_the_running_program(unhooked: Unhooked, source: EbpfSource) -> None:
    source.set_thresholds(FlowThresholds(elephant_bytes=77))
    assert unhooked.maps is not None
    config = unhooked.maps.read_config()
    assert (config.elephant_bytes, config.seeded, config.netns) == (77, 1, loader.own_namespace())


def test_a_new_address_makes_flows_look_again_and_a_lost_one_does_not(
    unhooked: Unhooked, source: EbpfSource
) -> None:
    assert unhooked.maps is not None
    before = unhooked.maps.read_config().generation
    source.set_locality(Locality(pods={A: "a"}))
    assert unhooked.maps.read_config().generation == before
    source.set_locality(Locality(pods={A: "a", B: "b"}))
    assert unhooked.maps.read_config().generation == before + 1


@pytest.mark.parametrize("functions", [("nf_ct_acct_add", "nf_conntrack_free"), ()], ids=["own", "adopted"])
def test_where_the_accounting_function_is_inlined_the_other_is_hooked(
    unhooked: Unhooked, functions: tuple[str, ...]
) -> None:
    unhooked.functions = functions
    source = unhooked.source(Locality(pods={A: "a"}))
    unhooked.stat("BIRTHS", 100)
    unhooked.stat("BIRTHS_UNHEARD", 99)
    unhooked.count("a", source, tx_bytes=10**9)  # a flowtable calls the function that conntrack does not
    reading = source.read(1.0)
    assert [options.without for options in unhooked.started] == [frozenset(), frozenset({"nf_ct_acct_add"})]
    assert reading.epoch == 2
    unhooked.stat("BIRTHS", 100)
    unhooked.stat("BIRTHS_UNHEARD", 100)
    assert source.read(2.0).epoch == 2  # there is no third function
    source.close()


@pytest.mark.parametrize(
    ("functions", "births", "unheard"),
    [
        (("nf_ct_acct_add",), 15, 15),  # too few to tell
        (("nf_ct_acct_add",), 10_000, 9_000),  # a program restores a table, and connections begin beside it
        (("__nf_ct_refresh_acct",), 100, 100),
    ],
)
def test_the_hook_stays_where_it_is_called(
    unhooked: Unhooked, functions: tuple[str, ...], births: int, unheard: int
) -> None:
    unhooked.functions = functions
    source = unhooked.source(Locality())
    unhooked.stat("BIRTHS", births)
    unhooked.stat("BIRTHS_UNHEARD", unheard)
    assert source.read(1.0).epoch == 1
    source.close()


@pytest.mark.parametrize("whole", [True, False])
def test_only_a_whole_dump_lets_unknown_connections_count_as_lost(
    unhooked: Unhooked, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    monkeypatch.setattr(Seeder, "dump", lambda _: whole)
    source = unhooked.source(Locality())
    assert unhooked.maps is not None
    assert unhooked.maps.read_config().seeded == whole
    source.close()


def test_connections_the_kernel_had_not_counted_are_told(
    unhooked: Unhooked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dump(seeder: Seeder) -> bool:
        seeder.unsized = 3
        return True

    monkeypatch.setattr(Seeder, "dump", dump)
    source = unhooked.source(Locality())
    assert source.read(1.0).lost == {LossKind.NO_COUNTERS: 3}
    source.close()
