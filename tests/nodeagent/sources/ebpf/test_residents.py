# SPDX-License-Identifier: Apache-2.0
"""Who lives here, told to maps without room: what is refused is counted once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.sources.base import Carrier, Locality
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.maps import Maps, Sizes, stored
from nodeagent.sources.ebpf.locality import LocalityTables
from nodeagent.sources.ebpf.owners import OwnerTable

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="creating maps needs root")
SIZES = Sizes(flows=64, addresses=4, slots=5, seeds=8, elephants=8, event_bytes=4096, carriers=2, groups=1)


def address(last: int) -> bytes:
    return bytes((10, 0, 0, last))


@pytest.fixture
def residents() -> Iterator[LocalityTables]:
    maps = Maps.create(SIZES)
    yield LocalityTables(maps, OwnerTable(SIZES.slots))
    maps.close()


@needs_root
def test_a_pod_without_a_slot_is_counted_once_whatever_its_addresses_and_however_often_it_is_told(
    residents: LocalityTables,
) -> None:
    pods = {address(1): "a", address(2): "b", address(3): "c", address(4): "c"}
    for _ in range(5):
        residents.change(Locality(pods=pods))
    assert residents.refused == 1
    residents.change(Locality(pods={address(2): "b", address(3): "c"}))  # there is room
    assert residents.refused == 1
    residents.change(Locality(pods=pods))  # and now there is none for a
    assert residents.refused == 2


@needs_root
def test_an_address_without_room_is_counted_once_and_is_no_reason_to_look_again(residents: LocalityTables) -> None:
    crowded = Locality(node=frozenset(address(n) for n in range(1, 7)))
    assert residents.change(crowded)
    assert residents.refused == 2
    assert not residents.change(crowded)
    assert residents.refused == 2


@needs_root
def test_carriers_come_and_go_and_those_without_room_are_counted_once(residents: LocalityTables) -> None:
    three = frozenset(Carrier(17, port) for port in (1, 2, 3))
    assert residents.change(Locality(carriers=three))
    assert residents.refused == 1
    assert not residents.change(Locality(carriers=three))
    assert residents.refused == 1
    assert residents.change(Locality(carriers=frozenset({Carrier(17, 3)})))
    assert len(residents._maps.carriers()) == 1
    assert residents.change(Locality())
    assert residents._maps.carriers() == set()
    assert not residents.change(Locality())
    assert residents.refused == 1


@needs_root
def test_cgroups_come_and_go_and_those_without_room_are_counted_once(residents: LocalityTables) -> None:
    assert residents.change(Locality(), {77: "a"})
    [tag] = residents._maps.groups().values()
    assert not residents.change(Locality(), {77: "a"})
    assert not residents.change(Locality(), {77: "a", 78: "b"})
    assert residents.refused == 1
    assert not residents.change(Locality(), {77: "a", 78: "b"})
    assert residents.refused == 1
    assert residents.change(Locality(), {78: "b"})
    assert residents._maps.groups().keys() == {78}
    assert tag not in residents._maps.groups().values()
    assert not residents.change(Locality())
    assert residents._maps.groups() == {}


@needs_root
def test_a_successor_knows_the_cgroups_that_its_predecessor_wrote(residents: LocalityTables) -> None:
    residents.change(Locality(pods={address(1): "a"}), {77: "b"})
    before = residents._maps.groups()
    successor = LocalityTables(residents._maps, OwnerTable(SIZES.slots))
    successor.adopt()
    assert not successor.change(Locality(pods={address(1): "a"}), {77: "b"})
    assert residents._maps.groups() == before


def test_a_name_of_any_length_can_be_kept() -> None:
    assert stored("a" * 120) == b"a" * 120
    assert len(stored("a" * 121)) == 64
    assert stored("é" * 100) != stored("é" * 101)


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", 1), ("0-1\n", 2), ("0-127\n", 128), ("0-3,8-11\n", 8), ("0,2,4-5\n", 4)]
)
def test_possible_cpus_are_counted_and_not_the_numbers_between(tmp_path: Path, text: str, cpus: int) -> None:
    (tmp_path / "possible").write_text(text)
    assert bpf.possible_cpus(tmp_path / "possible") == cpus
