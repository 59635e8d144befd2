# SPDX-License-Identifier: Apache-2.0
"""Slots for pods that come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED
from nodeagent.sources.ebpf.kernel.layout import CARRIER_TAG, HOST_TAG, SLOT_MASK, UNATTRIBUTED_TAG
from nodeagent.sources.ebpf.owners import OwnerTable, Slot


def arrive(table: OwnerTable, uid: str) -> Slot:
    found = table.arrive(uid)
    assert found is not None
    return found[0]


def test_owners_that_are_no_pods_have_their_tags_from_the_start() -> None:
    table = OwnerTable(8)
    tags = (HOST_TAG, UNATTRIBUTED_TAG, CARRIER_TAG)
    assert tuple(map(table.uid_of, tags)) == (HOST, UNATTRIBUTED, CARRIER)
    assert table.leave(HOST) is None


def test_a_pod_that_returns_finds_its_slot() -> None:
    table = OwnerTable(8)
    first = arrive(table, "a")
    table.leave("a")
    assert table.arrive("a") == (first, False)


def test_a_slot_serves_another_pod_only_when_none_is_fresh_and_then_with_another_tag() -> None:
    table = OwnerTable(5)
    a, b = arrive(table, "a"), arrive(table, "b")
    old = a.tag
    table.leave("a")
    c = arrive(table, "c")
    assert c.number == a.number
    assert c.tag != old
    assert table.uid_of(old) == UNATTRIBUTED  # a flow of the pod that left
    assert (table.uid_of(c.tag), table.uid_of(b.tag)) == ("c", "b")


def test_the_pod_that_left_first_gives_its_slot_first() -> None:
    table = OwnerTable(5)
    a, b = arrive(table, "a").number, arrive(table, "b").number
    table.leave("b")
    table.leave("a")
    assert [arrive(table, "c").number, arrive(table, "d").number] == [b, a]


def test_without_a_slot_to_spare_a_pod_is_refused() -> None:
    table = OwnerTable(4)
    arrive(table, "a")
    assert table.arrive("b") is None


def test_a_predecessors_slots_are_taken_over() -> None:
    table = OwnerTable(8)
    table.restore([(3, 1 << 12 | 3, "a", True), (4, 5 << 12 | 4, "b", False)])
    assert (table.uid_of(1 << 12 | 3), table.uid_of(5 << 12 | 4)) == ("a", "b")
    assert arrive(table, "c").number == 5
    assert table.arrive("b") == (Slot(4, 5 << 12 | 4, "b"), False)


@pytest.mark.parametrize("found", [(0, 0, "a", True), (99, 1 << 12 | 99, "a", True), (3, 1 << 12 | 2, "a", True),
                                   (3, 1 << 12 | 3, "", True)])  # fmt: skip
def test_a_predecessors_nonsense_is_refused(found: tuple[int, int, str, bool]) -> None:
    with pytest.raises(ValueError, match="slot"):
        OwnerTable(8).restore([found])


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abcdefgh"))))
def test_no_tag_ever_names_two_pods(steps: list[tuple[bool, str]]) -> None:
    table, named = OwnerTable(6), dict[int, str]()
    for comes, uid in steps:
        if not comes:
            table.leave(uid)
        elif (found := table.arrive(uid)) is not None:
            slot = found[0]
            assert slot.tag & SLOT_MASK == slot.number
            assert named.setdefault(slot.tag, uid) == uid
            assert table.uid_of(slot.tag) == uid
    living = [slot.number for slot in table if slot.present]
    assert len(living) == len(set(living)) <= 6
