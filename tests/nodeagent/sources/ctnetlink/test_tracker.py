# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Sequence

import pytest

from nodeagent.sources.base import HOST, UNATTRIBUTED, Counters, FlowThresholds, Locality, LossKind
from nodeagent.sources.ctnetlink.accounts import KEPT_READINGS, bucket
from nodeagent.sources.ctnetlink.samples import NO_COUNTERS, Ending, Sample
from nodeagent.sources.ctnetlink.tracker import FlowTracker
from nodeagent.sources.ctnetlink.wire import ends_of, parse_key
from tests.nodeagent.sources.ctnetlink.messages import key, packed

POD, OUT = "10.0.0.1", "198.51.100.7"
HERE = Locality(pods={packed(POD): "uid"})
OUTGOING, INCOMING = key(POD, OUT), key(OUT, POD)
MIB = 2**20


def new_tracker(
    locality: Locality = HERE,
    *,
    existing: Sequence[Sample] = (),
    thresholds: FlowThresholds | None = None,
    limit: int = 10,
) -> FlowTracker:
    tracker = FlowTracker(
        parse=parse_key,
        ends=ends_of,
        thresholds=thresholds or FlowThresholds(),
        locality=locality,
        now=0.0,
        limit=limit,
    )
    tracker.observe(existing)
    tracker.seeded()
    return tracker


def sample(flow: bytes = OUTGOING, orig: int = 100, reply: int = 10, *, ident: int = 1) -> Sample:
    return (flow, ident, orig // 10, orig, reply // 10, reply)


def read(
    tracker: FlowTracker,
    now: float,
    samples: Sequence[Sample] = (),
    *,
    before: Sequence[Ending] = (),
    after: Sequence[Ending] = (),
    complete: bool = True,
) -> dict[str, Counters]:
    """One reading: endings, dump, endings."""
    tracker.begin(now)
    tracker.end(before)
    tracker.observe(samples)
    tracker.end(after)
    tracker.finish(complete=complete)
    return tracker.counters()


def test_a_new_flow_counts_from_zero_and_then_by_its_deltas() -> None:
    tracker = new_tracker()
    found = read(tracker, 1, [sample(orig=100, reply=10)])["uid"]
    assert (found.tx_bytes, found.rx_bytes, found.tx_packets, found.rx_packets, found.flows_born) == (
        100,
        10,
        10,
        1,
        1,
    )
    found = read(tracker, 2, [sample(orig=150, reply=30)])["uid"]
    assert (found.tx_bytes, found.rx_bytes, found.tx_packets, found.rx_packets, found.flows_born) == (
        150,
        30,
        15,
        3,
        1,
    )


def test_the_responder_receives_what_the_initiator_sends() -> None:
    found = read(new_tracker(), 1, [sample(INCOMING, orig=100, reply=10)])["uid"]
    assert (found.tx_bytes, found.rx_bytes) == (10, 100)


def test_bytes_from_before_the_epoch_do_not_count_nor_does_the_birth() -> None:
    tracker = new_tracker(existing=[sample(orig=1000, reply=1000)])
    found = read(tracker, 1, [sample(orig=1001, reply=1002)])["uid"]
    assert (found.tx_bytes, found.rx_bytes, found.flows_born) == (1, 2, 0)


def test_an_entry_dumped_twice_counts_once() -> None:
    tracker = new_tracker()
    assert read(tracker, 1, [sample(orig=100), sample(orig=120)])["uid"].tx_bytes == 120


@pytest.mark.parametrize(("orig", "reply"), [(50, 10), (100, 5), (0, 0)])
def test_decreasing_counters_are_refused_and_counting_goes_on_from_there(orig: int, reply: int) -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=100, reply=10)])
    found = read(tracker, 2, [sample(orig=orig, reply=reply)])["uid"]
    assert (found.tx_bytes, found.rx_bytes) == (100, 10)
    assert tracker.lost == {LossKind.UPDATES_FAILED: 1}
    found = read(tracker, 3, [sample(orig=orig + 7, reply=reply + 3)])["uid"]
    assert (found.tx_bytes, found.rx_bytes) == (107, 13)


def test_the_final_counters_of_an_ending_count() -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=100)])
    found = read(tracker, 2, before=[Ending(sample(orig=500), 3.0)])["uid"]
    assert (found.tx_bytes, found.flows_ended, found.mice_ended) == (500, 1, 1)
    assert found.sizes[bucket(510)] == 1
    assert found.lifetimes[bucket(3000)] == 1
    assert len(tracker) == 0


def test_a_flow_known_only_by_its_ending_counts_in_full() -> None:
    found = read(new_tracker(), 1, after=[Ending(sample(orig=500, reply=50), None)])["uid"]
    assert (found.tx_bytes, found.rx_bytes, found.flows_born, found.flows_ended) == (500, 50, 1, 1)
    assert found.lifetimes[bucket(500)] == 1  # the middle of the second between the readings


def test_an_ending_of_an_older_flow_that_was_never_seen_is_not_this_epochs() -> None:
    tracker = FlowTracker(parse=parse_key, ends=ends_of, thresholds=FlowThresholds(), locality=HERE, now=0.0)
    tracker.end([Ending(sample(orig=500), None)])
    tracker.seeded()
    assert read(tracker, 1) == {}


def test_a_flow_whose_removal_was_announced_is_not_counted_again_from_the_dump() -> None:
    tracker = new_tracker()
    last = sample(orig=500)
    found = read(tracker, 1, [last], before=[Ending(last, None)])["uid"]
    assert (found.tx_bytes, found.flows_born, found.flows_ended) == (500, 1, 1)
    assert len(tracker) == 0


@pytest.mark.parametrize("announced", ["before the dump", "after the dump", "never"])
def test_the_same_tuple_with_another_id_is_a_new_flow_whenever_the_old_ones_ending_comes(announced: str) -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=100, ident=1)])
    ending = [Ending(sample(orig=130, ident=1), None)]
    found = read(
        tracker, 2, [sample(orig=40, ident=2)],
        before=ending if announced.startswith("before") else (),
        after=ending if announced.startswith("after") else (),
    )["uid"]  # fmt: skip
    assert (found.flows_born, found.flows_ended) == (2, 1)
    assert found.tx_bytes == (100 if announced == "never" else 130) + 40
    assert tracker.lost == {}


def test_absence_from_two_complete_dumps_is_an_end() -> None:
    tracker = new_tracker(existing=[sample(orig=100)])
    assert read(tracker, 1)["uid"].flows_ended == 0
    assert read(tracker, 2)["uid"].flows_ended == 1
    assert len(tracker) == 0


def test_absence_from_broken_dumps_proves_nothing() -> None:
    tracker = new_tracker(existing=[sample(orig=100)])
    for now in range(1, 6):
        read(tracker, now, complete=False)
    assert len(tracker) == 1
    assert read(tracker, 6, [sample(orig=101)])["uid"].tx_bytes == 1


def test_local_flows_count_their_bytes_for_both_pods_and_are_no_footprint() -> None:
    both = Locality(pods={packed(POD): "a", packed(OUT): "b"})
    tracker = new_tracker(both)
    read(tracker, 1, [sample(orig=100, reply=10)])
    found = read(tracker, 2, before=[Ending(sample(orig=100, reply=10), None)])
    assert found == {"a": Counters(local_bytes=110), "b": Counters(local_bytes=110)}


def test_icmp_counts_its_bytes_only() -> None:
    tracker = new_tracker()
    found = read(tracker, 1, after=[Ending(sample(key(POD, OUT, (0, 0), protocol=1), orig=84, reply=84), None)])[
        "uid"
    ]
    assert found == Counters(tx_bytes=84, rx_bytes=84, tx_packets=8, rx_packets=8)


def test_entries_without_counters_are_counted_once_as_lost() -> None:
    tracker = new_tracker()
    blind = (OUTGOING, 1, NO_COUNTERS, NO_COUNTERS, NO_COUNTERS, NO_COUNTERS)
    for now in (1, 2, 3):
        read(tracker, now, [blind])
    found = read(tracker, 4, before=[Ending(blind, None)])["uid"]
    assert tracker.lost == {LossKind.NO_COUNTERS: 1}
    assert (found.tx_bytes, found.flows_ended, sum(found.sizes)) == (0, 1, 0)


def test_a_key_that_is_no_tuple_is_counted() -> None:
    tracker = new_tracker()
    assert read(tracker, 1, [sample(b"nonsense")]) == {}
    assert tracker.lost == {LossKind.MALFORMED: 1}


def test_a_full_table_refuses_new_flows_and_still_counts_them_at_their_end() -> None:
    tracker = new_tracker(limit=1)
    other = key(POD, OUT, (5, 6))
    found = read(tracker, 1, [sample(orig=100), sample(other, orig=50)])["uid"]
    assert (len(tracker), found.tx_bytes, tracker.lost[LossKind.FLOWS_EVICTED]) == (1, 100, 1)
    assert (
        read(tracker, 2, [sample(orig=100)], before=[Ending(sample(other, orig=80), None)])["uid"].tx_bytes == 180
    )


def test_flows_that_did_not_fit_at_the_beginning_never_count_bytes_from_before() -> None:
    other = key(POD, OUT, (5, 6))
    tracker = new_tracker(limit=1, existing=[sample(orig=100), sample(other, orig=50)])
    read(tracker, 1, [sample(other, orig=60)], before=[Ending(sample(orig=110), None)])
    assert read(tracker, 2, [sample(other, orig=65)])["uid"].tx_bytes == 10 + 5


def test_a_flow_that_was_refused_is_measured_from_when_there_is_room_and_not_from_its_beginning() -> None:
    other = key(POD, OUT, (5, 6))
    tracker = new_tracker(limit=1)
    read(tracker, 1, [sample(orig=100), sample(other, orig=50 * MIB)])
    found = read(tracker, 2, [sample(other, orig=60 * MIB)], before=[Ending(sample(orig=100), None)])
    assert found["uid"].tx_bytes == 100, "an hour's bytes are not this second's rate"
    assert tracker.elephants() == ()
    assert read(tracker, 3, [sample(other, orig=60 * MIB + 5)])["uid"].tx_bytes == 105


def test_once_everything_fits_again_what_is_new_counts_from_its_beginning() -> None:
    other, third = key(POD, OUT, (5, 6)), key(POD, OUT, (7, 8))
    tracker = new_tracker(limit=1)
    read(tracker, 1, [sample(orig=100), sample(other, orig=50)])
    read(tracker, 2, [sample(orig=100)], before=[Ending(sample(other, orig=80), None)])
    found = read(tracker, 3, [sample(third, orig=7)], before=[Ending(sample(orig=100), None)])
    assert found["uid"].tx_bytes == 100 + 80 + 7


@pytest.mark.parametrize("announced", [True, False])
def test_what_an_incomplete_first_dump_missed_is_not_this_epochs(announced: bool) -> None:
    tracker = FlowTracker(parse=parse_key, ends=ends_of, thresholds=FlowThresholds(), locality=HERE, now=0.0)
    tracker.seeded(complete=False)
    old = sample(orig=500)
    found = read(tracker, 1, after=[Ending(old, None)]) if announced else read(tracker, 1, [old])
    assert sum(counters.tx_bytes for counters in found.values()) == 0
    assert read(tracker, 2, [sample(key(POD, OUT, (5, 6)), orig=7)])["uid"].tx_bytes == 7


def test_a_pod_known_late_gets_its_flow_from_then_on() -> None:
    tracker = new_tracker(Locality())
    read(tracker, 1, [sample(orig=100)])
    tracker.set_locality(HERE)
    found = read(tracker, 2, [sample(orig=150)])
    assert (found[UNATTRIBUTED].tx_bytes, found["uid"].tx_bytes) == (100, 50)


def test_a_flow_moves_from_unattributed_to_host_when_the_nodes_address_becomes_known() -> None:
    tracker = new_tracker(Locality())
    read(tracker, 1, [sample(orig=100)])
    tracker.set_locality(Locality(node=frozenset({packed(POD)})))
    found = read(tracker, 2, [sample(orig=150)])
    assert (found[UNATTRIBUTED].tx_bytes, found[HOST].tx_bytes) == (100, 50)


def test_a_reused_address_does_not_inherit_the_old_pods_flows() -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=100)])
    tracker.set_locality(Locality(pods={packed(POD): "successor"}))
    fresh = key(POD, OUT, (5, 6))
    found = read(tracker, 2, [sample(orig=150), sample(fresh, orig=7)])
    assert (found["uid"].tx_bytes, found["successor"].tx_bytes) == (150, 7)


def test_a_pod_that_left_is_shown_while_it_has_flows_and_a_little_longer() -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=100)])
    tracker.set_locality(Locality())
    for now in range(2, 20):
        assert read(tracker, now, [sample(orig=100)])["uid"].tx_bytes == 100
    ended = read(tracker, 20, before=[Ending(sample(orig=120), None)])
    for now in range(21, 20 + KEPT_READINGS):
        assert ended["uid"].tx_bytes == 120
        ended = read(tracker, now)
    assert "uid" in ended
    assert "uid" not in read(tracker, 30)


def test_a_reading_does_not_change_after_it_was_taken() -> None:
    tracker = new_tracker()
    first = read(tracker, 1, [sample(orig=100)])
    read(tracker, 2, before=[Ending(sample(orig=200), None)])
    assert first["uid"].tx_bytes == 100
    assert sum(first["uid"].sizes) == 0


def elephant_names(tracker: FlowTracker) -> list[str]:
    return [elephant.source for elephant in tracker.elephants()]


def run_rates(tracker: FlowTracker, rates: Sequence[float], *, start: int = 1, carried: int = 0) -> list[bool]:
    """Polls a second apart, ``rates`` in bit/s in between; whether the flow was an elephant after each."""
    seen = []
    for number, rate in enumerate(rates):
        carried += round(rate / 8)
        read(tracker, start + number, [sample(orig=carried)])
        seen.append(bool(tracker.elephants()))
    return seen


def test_a_flow_becomes_an_elephant_at_the_poll_that_finds_both_volume_and_rate() -> None:
    # 40 Mbit/s = 4.77 MiB/s: 10 MiB are passed in the third second.
    assert run_rates(new_tracker(), [40e6] * 4) == [False, False, True, True]


def test_volume_without_rate_is_no_elephant_nor_is_rate_without_volume() -> None:
    assert not any(run_rates(new_tracker(), [9e6] * 30))
    assert not any(run_rates(new_tracker(), [80e6, 0, 0]))


def test_an_elephant_stays_until_it_was_slow_for_the_hold_time_without_a_break() -> None:
    # Slow is below half of 10 Mbit/s; 6 Mbit/s would not make one, but keeps one.
    rates = [100e6, 6e6, 6e6, 1e6, 1e6, 1e6, 1e6, 6e6, 1e6, 1e6, 1e6, 1e6, 1e6, 6e6]
    assert run_rates(new_tracker(), rates) == [True] * 12 + [False] * 2


def test_an_elephant_that_falls_silent_leaves_after_the_hold_time() -> None:
    assert run_rates(new_tracker(), [100e6] + [0] * 6) == [True] * 5 + [False] * 2


def test_an_elephant_that_ended_is_none() -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=20 * MIB)])
    assert elephant_names(tracker) == [f"{POD}:40000"]
    read(tracker, 2, before=[Ending(sample(orig=20 * MIB), None)])
    assert elephant_names(tracker) == []


def test_only_bytes_carried_while_an_elephant_are_elephant_bytes() -> None:
    tracker = new_tracker()
    found = read(tracker, 1, [sample(orig=20 * MIB)])["uid"]
    assert found.tx_elephant_bytes == 0
    found = read(tracker, 2, [sample(orig=25 * MIB, reply=1010)])["uid"]
    assert (found.tx_elephant_bytes, found.rx_elephant_bytes) == (5 * MIB, 1000)


def test_readings_closer_than_the_window_do_not_make_a_short_burst_an_elephant() -> None:
    tracker = new_tracker(existing=[sample(orig=20 * MIB)])
    for tenth in range(1, 10):  # 0.9 Mbit in the first tenth of a second, then nothing
        read(tracker, tenth / 10, [sample(orig=20 * MIB + 112_500)])
    assert elephant_names(tracker) == []


def test_a_rate_is_judged_over_the_window_not_over_the_idle_time_before_it() -> None:
    tracker = new_tracker(existing=[sample(orig=20 * MIB)])
    for now in range(1, 600):
        read(tracker, now, [sample(orig=20 * MIB)])
    read(tracker, 600, [sample(orig=22 * MIB)])
    (elephant,) = tracker.elephants()
    assert elephant.rate == 2 * MIB * 8


def test_either_direction_alone_makes_the_rate() -> None:
    tracker = new_tracker(existing=[sample(orig=10, reply=20 * MIB)])
    read(tracker, 1, [sample(orig=20, reply=22 * MIB)])
    (elephant,) = tracker.elephants()
    assert (elephant.rate, elephant.owners, elephant.destination, elephant.since) == (
        16 * MIB,
        ("uid",),
        f"{OUT}:80",
        1,
    )


def test_reset_counters_give_no_rate() -> None:
    tracker = new_tracker(existing=[sample(orig=2**40)])
    read(tracker, 1, [sample(orig=20 * MIB)])
    assert elephant_names(tracker) == []


def test_thresholds_change_without_losing_flows() -> None:
    tracker = new_tracker()
    read(tracker, 1, [sample(orig=MIB)])
    tracker.set_thresholds(FlowThresholds(elephant_bytes=MIB, elephant_rate=1e6))
    found = read(tracker, 2, [sample(orig=2 * MIB)])["uid"]
    assert elephant_names(tracker) == [f"{POD}:40000"]
    assert found.tx_bytes == 2 * MIB


def test_ended_flows_are_mice_below_the_threshold() -> None:
    tracker = new_tracker(thresholds=FlowThresholds(mouse_bytes=1000))
    flows = [
        Ending(sample(key(POD, OUT, (port, 80)), orig=size, reply=0), 0.0) for port, size in ((1, 999), (2, 1000))
    ]
    found = read(tracker, 1, after=flows)["uid"]
    assert (found.flows_ended, found.mice_ended) == (2, 1)


@pytest.mark.parametrize(
    ("value", "index"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (2**38, 39), (2**60, 39), (-5, 0)]
)
def test_histogram_buckets(value: int, index: int) -> None:
    assert bucket(value) == index
