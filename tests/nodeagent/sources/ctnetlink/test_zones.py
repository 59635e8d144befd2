# SPDX-License-Identifier: Apache-2.0
"""One connection in several zones counts once, whichever entry is seen first, and whoever translates."""

from __future__ import annotations

import itertools

import pytest

from nodeagent.sources.base import HOST, Counters, Locality
from nodeagent.sources.ctnetlink.samples import Ending
from tests.nodeagent.sources.ctnetlink.messages import key, packed
from tests.nodeagent.sources.ctnetlink.test_tracker import MIB, OUT, POD, new_tracker, read, sample

NODE, SERVICE = "192.0.2.1", "10.96.0.1"
HERE = Locality(pods={packed(POD): "uid"}, node=frozenset({packed(NODE)}))

PLAIN = key(POD, OUT)
PAIRS = {
    "nothing translated": (PLAIN, key(POD, OUT, zone=1)),
    "service in the first": (key(POD, SERVICE, responder=OUT), key(POD, OUT, zone=1)),
    "service in the second": (key(POD, SERVICE), key(POD, SERVICE, responder=OUT, zone=1)),
    "masqueraded in the second": (PLAIN, key(POD, OUT, replies_to=NODE, zone=1)),
    "masqueraded in the first": (key(POD, OUT, replies_to=NODE), key(NODE, OUT, zone=1)),
    "both in the first": (key(POD, SERVICE, responder=OUT, replies_to=NODE), key(NODE, OUT, zone=1)),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("turned", [False, True], ids=["", "the other is dumped first"])
@pytest.mark.parametrize("known", [False, True], ids=["zones are new", "zones are known"])
def test_two_entries_of_one_connection_count_once(pair: tuple[bytes, bytes], turned: bool, known: bool) -> None:
    elsewhere = [sample(key("203.0.113.1", OUT, zone=9), ident=99)] if known else []
    tracker = new_tracker(HERE, existing=elsewhere)
    both = pair[::-1] if turned else pair
    read(tracker, 1, [*elsewhere, *(sample(flow, 100, 10, ident=n) for n, flow in enumerate(both, 1))])
    found = read(tracker, 2, [*elsewhere, *(sample(flow, 300, 30, ident=n) for n, flow in enumerate(both, 1))])
    if known:
        assert (found["uid"].tx_bytes, found["uid"].rx_bytes, found["uid"].flows_born) == (300, 30, 1)
        assert HOST not in found or found[HOST] == Counters()
    total = sum(counters.tx_bytes for name, counters in found.items() if name in ("uid", HOST))
    assert total == 300
    assert sum(counters.flows_born for counters in found.values()) == 1
    endings = [Ending(sample(flow, 300, 30, ident=n), None) for n, flow in enumerate(both, 1)]
    found = read(tracker, 3, elsewhere, before=endings)
    assert sum(counters.flows_ended for counters in found.values()) == 1
    assert sum(counters.tx_bytes for counters in found.values()) == 300


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_three_zones_with_a_translation_in_the_middle_count_once(order: tuple[int, ...]) -> None:
    flows = [key(POD, SERVICE, zone=1), key(POD, SERVICE, responder=OUT, zone=2), key(POD, OUT, zone=3)]
    tracker = new_tracker(HERE)
    for now in (1, 2):
        found = read(tracker, now, [sample(flows[n], 100 * now, 0, ident=n) for n in order])
    if order[1] == 1 or order[0] == 1:  # the middle one says that the others belong together
        assert found["uid"].tx_bytes == 200


def test_an_entry_that_an_answer_began_is_the_same_connections() -> None:
    tracker = new_tracker(HERE)
    read(tracker, 1, [sample(PLAIN, 1000, 100, ident=1)])
    answered = sample(key(OUT, POD, (80, 40000), zone=1), 70, 700, ident=2)
    found = read(tracker, 2, [sample(PLAIN, 1700, 170, ident=1), answered])["uid"]
    assert (found.tx_bytes, found.rx_bytes, found.flows_born) == (1700, 170, 1)


def test_the_same_tuples_in_one_zone_are_two_connections() -> None:
    tracker = new_tracker(HERE)
    flows = [key(POD, OUT, zone=1), key(POD, SERVICE, responder=OUT, zone=1)]
    found = read(tracker, 1, [sample(flow, 100, 0, ident=n) for n, flow in enumerate(flows, 1)])
    assert (found["uid"].tx_bytes, found["uid"].flows_born) == (200, 2)


@pytest.mark.parametrize("dies", [0, 1])
def test_what_goes_on_counts_on_and_nothing_counts_twice(dies: int) -> None:
    flows = PAIRS["nothing translated"]
    tracker = new_tracker(HERE)
    read(tracker, 1, [sample(flow, 1000, 0, ident=n) for n, flow in enumerate(flows)])
    gone = [Ending(sample(flows[dies], 1500, 0, ident=dies), None)]
    rest = 1 - dies
    found = read(tracker, 2, [sample(flows[rest], 1600, 0, ident=rest)], before=gone)["uid"]
    assert 1500 <= found.tx_bytes <= 1600  # between the end and the dump nobody counts
    before = found.tx_bytes
    found = read(tracker, 3, [sample(flows[rest], 2600, 0, ident=rest)])["uid"]
    assert found.tx_bytes == before + 1000
    found = read(tracker, 4, before=[Ending(sample(flows[rest], 2600, 0, ident=rest), None)])["uid"]
    assert (found.flows_born, found.flows_ended, found.tx_bytes) == (1, 1, before + 1000)


def test_an_entry_that_follows_with_the_same_number_is_known_at_once_and_counts_nothing_twice() -> None:
    """The kernel makes the number from the entry's address, and often takes the address just freed."""
    first, second = PAIRS["nothing translated"]
    tracker = new_tracker(HERE)
    read(tracker, 1, [sample(first, 1000, 0, ident=1), sample(second, 1000, 0, ident=2)])
    gone = [Ending(sample(first, 1000, 0, ident=1), None)]
    read(tracker, 2, [sample(first, 100, 0, ident=1), sample(second, 1100, 0, ident=2)], before=gone)
    gone = [Ending(sample(second, 2100, 0, ident=2), None)]
    read(tracker, 3, [sample(first, 1200, 0, ident=1), sample(second, 100, 0, ident=3)], before=gone)
    found = read(tracker, 4, [sample(first, 2200, 0, ident=1), sample(second, 1100, 0, ident=3)])["uid"]
    assert 3000 <= found.tx_bytes <= 3200
    assert found.flows_born == 1


def test_an_entry_that_ends_after_its_first_dump_counts_once() -> None:
    tracker = new_tracker(HERE, existing=[sample(key("203.0.113.1", OUT, zone=9), ident=99)])
    first = PAIRS["nothing translated"][0]
    ended = [Ending(sample(first, 150, 0, ident=1), None)]
    found = read(tracker, 1, [sample(first, 100, 0, ident=1)], after=ended)["uid"]
    assert (found.tx_bytes, found.flows_born, found.flows_ended) == (150, 1, 1)


def test_a_short_connection_that_is_seen_by_its_ends_alone_counts_once() -> None:
    tracker = new_tracker(HERE, existing=[sample(key("203.0.113.1", OUT, zone=9), ident=99)])
    flows = PAIRS["service in the first"]
    read(tracker, 1, before=[Ending(sample(flows[0], 100, 10, ident=1), None)])
    found = read(tracker, 2, before=[Ending(sample(flows[1], 100, 10, ident=2), None)])["uid"]
    assert (found.tx_bytes, found.flows_born, found.flows_ended) == (100, 1, 1)


def test_what_goes_on_after_the_other_ended_unseen_begins_with_its_next_sample() -> None:
    tracker = new_tracker(HERE, existing=[sample(key("203.0.113.1", OUT, zone=9), ident=99)])
    flows = PAIRS["service in the first"]
    ended = Ending(sample(flows[0], 1000, 10, ident=1), None)
    found = read(tracker, 1, [sample(flows[1], 1100, 10, ident=2)], before=[ended])["uid"]
    assert (found.tx_bytes, found.flows_born, found.flows_ended) == (1000, 1, 1)
    found = read(tracker, 2, [sample(flows[1], 1500, 10, ident=2)])["uid"]
    assert (found.tx_bytes, found.flows_born) == (1400, 1)


def test_a_connection_that_uses_the_tuples_again_counts_again() -> None:
    tracker = new_tracker(HERE)
    flows = PAIRS["nothing translated"]
    for ident in (1, 3):
        found = read(tracker, ident, [sample(flow, 100, 10, ident=ident + n) for n, flow in enumerate(flows)])
    assert (found["uid"].tx_bytes, found["uid"].flows_born) == (200, 2)


def test_an_elephant_in_two_zones_is_one() -> None:
    tracker = new_tracker(HERE)
    for now in range(1, 5):
        read(
            tracker,
            now,
            [sample(f, now * 20 * MIB, 0, ident=n) for n, f in enumerate(PAIRS["masqueraded in the second"])],
        )
        assert len(tracker.elephants()) <= 1
    assert [elephant.owners for elephant in tracker.elephants()] == [("uid",)]
