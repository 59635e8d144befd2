# SPDX-License-Identifier: Apache-2.0
"""The maps of the program: a list that describes them, and the object that holds their descriptors.

In: sizes. Out: descriptors with typed reading and writing. Numbers and structs are those of bpf/maps.h and
bpf/state.h.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, cast

from nodeagent.sources import base
from nodeagent.sources.base import HISTOGRAM_BUCKETS
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.bpf import MapType
from nodeagent.sources.ebpf.kernel.layout import (
    SLOT_MASK,
    STATS,
    UNATTRIBUTED_TAG,
    Address,
    CarrierKey,
    Config,
    ElephantEvent,
    First,
    FlowEntry,
    Histograms,
    Owner,
    Seed,
    SeedKey,
    SlotCounters,
)

POINTER: Final = 8
_MAX_KEYS: Final = 100_000
"""Steps of one walk through a map of elephants or addresses."""
_TAG: Final = 8
"""Bytes before a slot's counters."""
_COUNTED: Final = struct.Struct(f"={(ctypes.sizeof(SlotCounters) - _TAG) // 8}Q")
Counted = tuple[int, int, int, int, int, int, int, int, int, int]
"""The figures of struct counters, which are those that a reading's Counters begin with."""
_FIGURES: Final = tuple(name for name, *_ in SlotCounters._fields_[2:])
_UID_BYTES: Final = ctypes.sizeof(Owner) - Owner.uid.offset
_MAP_INFO: Final = struct.Struct("=IIIII")  # bpf_map_info: type, id, key_size, value_size, max_entries
_BUCKETS: Final = struct.Struct(f"={2 * HISTOGRAM_BUCKETS}Q")


@dataclass(frozen=True, slots=True)
class MapSpec:
    """One map as it is created."""

    number: int
    """How instructions refer to it."""
    name: str
    kind: MapType
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bounds of the maps, each in entries unless it says bytes."""

    flows: int = 262_144
    """Flows tracked at most; 176 bytes of kernel memory each. The least recently used make way, counted."""
    addresses: int = 8_192
    slots: int = 1_024
    """Owners with counters at once; each costs its counters (88 bytes) per CPU and 640 bytes of histograms."""
    seeds: int = 262_144
    """Connections that already existed; memory is used for those that did."""
    elephants: int = 8_192
    """Elephants at once."""
    carriers: int = 8_192
    """Ends of tunnels, two for each other machine."""
    event_bytes: int = 256 * 1024
    """A power of two and whole pages; an elephant's begin or end takes 80 bytes."""
    notes: int = 0
    """Notes between the two ends of connections on this node; 0 where connections are seen as one: no such map."""
    groups: int = 0
    """Pods known by their cgroups; 0 where no socket is seen: no such map."""


def specs(sizes: Sizes) -> tuple[MapSpec, ...]:
    """Every map, in the order of its number. Raises ValueError for more slots than a tag can name."""
    if not 3 < sizes.slots <= SLOT_MASK + 1:
        raise ValueError(f"{sizes.slots} slots; use 4 to {SLOT_MASK + 1}")
    size = ctypes.sizeof
    notes = (MapSpec(13, "notes", MapType.LRU_HASH, 8, 8, sizes.notes),) if sizes.notes else ()
    groups = (MapSpec(15, "groups", MapType.HASH, 8, 4, sizes.groups, bpf.F_NO_PREALLOC),) if sizes.groups else ()
    return (
        MapSpec(1, "config", MapType.ARRAY, 4, size(Config), 1),
        MapSpec(2, "flows", MapType.LRU_HASH, POINTER, size(FlowEntry), sizes.flows),
        MapSpec(3, "addresses", MapType.HASH, size(Address), 4, sizes.addresses, bpf.F_NO_PREALLOC),
        MapSpec(4, "counters", MapType.PERCPU_ARRAY, 4, size(SlotCounters), sizes.slots),
        MapSpec(5, "histograms", MapType.ARRAY, 4, size(Histograms), sizes.slots),
        MapSpec(6, "seeds", MapType.HASH, size(SeedKey), size(Seed), sizes.seeds, bpf.F_NO_PREALLOC),
        MapSpec(7, "events", MapType.RINGBUF, 0, 0, sizes.event_bytes),
        MapSpec(8, "stats", MapType.PERCPU_ARRAY, 4, 8, len(STATS)),
        MapSpec(9, "elephants", MapType.HASH, POINTER, size(ElephantEvent), sizes.elephants, bpf.F_NO_PREALLOC),
        MapSpec(10, "namespace", MapType.ARRAY, 4, 8, 2),
        MapSpec(11, "owners", MapType.ARRAY, 4, size(Owner), sizes.slots),
        MapSpec(12, "carriers", MapType.HASH, size(CarrierKey), 4, sizes.carriers, bpf.F_NO_PREALLOC),
        *notes,
        MapSpec(14, "zones", MapType.HASH, size(SeedKey), size(First), 2 * sizes.flows, bpf.F_NO_PREALLOC),
        *groups,
    )  # fmt: skip


class Maps:
    """Descriptors of all maps."""

    def __init__(self, descriptors: Mapping[str, int], sizes: Sizes) -> None:
        self.fds = dict(descriptors)
        self.sizes = sizes
        self._cpus = bpf.possible_cpus()
        self._row = ctypes.sizeof(SlotCounters) * self._cpus

    @classmethod
    def create(cls, sizes: Sizes) -> Maps:
        """New, empty maps. Raises OSError with the name of the map that was refused."""
        made: dict[str, int] = {}
        try:
            for spec in specs(sizes):
                made[spec.name] = _create(spec)
        except OSError:
            for fd in made.values():
                os.close(fd)
            raise
        return cls(made, sizes)

    def differences(self) -> list[str]:
        """Maps that are not what ``specs`` describes: reading them would mistake bytes, or overrun a buffer.
        Raises OSError."""
        return [spec.name for spec in specs(self.sizes) if not _is(spec, self.fds[spec.name])]

    def numbered(self) -> dict[int, int]:
        """Map number → descriptor, for the programs."""
        return {spec.number: self.fds[spec.name] for spec in specs(self.sizes)}

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}

    def write_config(self, config: Config) -> None:
        bpf.map_update(self.fds["config"], _slot(0), bytes(config))

    def read_config(self) -> Config:
        return Config.from_buffer_copy(self._value("config", _slot(0), ctypes.sizeof(Config)))

    def forget_namespace(self) -> None:
        """Let the program find its namespace by the inode again: an address may have been reused meanwhile."""
        bpf.map_update(self.fds["namespace"], _slot(0), bytes(8))

    def flow(self, key: int) -> FlowEntry | None:
        value = bpf.map_lookup(self.fds["flows"], key.to_bytes(POINTER, sys.byteorder), ctypes.sizeof(FlowEntry))
        return None if value is None else FlowEntry.from_buffer_copy(value)

    def elephants(self) -> Iterator[ElephantEvent]:
        """The beginnings of the elephants that are."""
        for key in self._keys("elephants", POINTER):
            value = bpf.map_lookup(self.fds["elephants"], key, ctypes.sizeof(ElephantEvent))
            if value is not None:
                yield ElephantEvent.from_buffer_copy(value)

    def forget_elephant(self, key: int) -> None:
        bpf.map_delete(self.fds["elephants"], key.to_bytes(POINTER, sys.byteorder))

    def stats(self) -> dict[str, int]:
        """Every statistic by its C name, over all CPUs."""
        return {name: sum(self._per_cpu("stats", slot, 8)) for slot, name in enumerate(STATS)}

    def counters(self, slot: int) -> tuple[int, list[int]]:
        """Tag of a slot and its counters in the order of the struct, over all CPUs."""
        row = self._value("counters", _slot(slot), self._row)
        return int.from_bytes(row[:4], sys.byteorder), list(counted(row))

    def all_counters(self, slots: int) -> list[bytes]:
        """The rows of the first ``slots`` slots, for ``counted``; equal rows are equal counters."""
        return self._batch("counters", slots, self._row)

    def histograms(self, slot: int) -> Histograms:
        return Histograms.from_buffer_copy(self._value("histograms", _slot(slot), ctypes.sizeof(Histograms)))

    def all_histograms(self, slots: int) -> list[bytes]:
        """Those of the first ``slots`` slots, for ``buckets``."""
        return self._batch("histograms", slots, ctypes.sizeof(Histograms))

    def give_slot(self, slot: int, tag: int) -> None:
        """Zero a slot's counters and let them count for ``tag`` only.

        A hook that has just found the owner before may still be adding: zeros come when it is done.
        """
        if self.counters(slot)[0]:
            unowned = slot  # generation 0, which no owner of a reused slot has
            bpf.map_update(self.fds["counters"], _slot(slot), bytes(SlotCounters(tag=unowned)) * self._cpus)
            bpf.wait_for_runs()
        bpf.map_update(self.fds["histograms"], _slot(slot), bytes(ctypes.sizeof(Histograms)))
        bpf.map_update(self.fds["counters"], _slot(slot), bytes(SlotCounters(tag=tag)) * self._cpus)

    def write_owner(self, slot: int, tag: int, uid: str, *, present: bool) -> None:
        bpf.map_update(self.fds["owners"], _slot(slot), bytes(Owner(tag, present, stored(uid))))

    def write_note(self, text: str) -> None:
        """Leave a word for a successor, in the slot of UNATTRIBUTED, who is no pod and needs no name. Raises
        ValueError for more than fits."""
        bpf.map_update(self.fds["owners"], _slot(UNATTRIBUTED_TAG), bytes(Owner(uid=text.encode())))

    def note(self) -> str:
        """What a predecessor left; empty: nothing."""
        text: bytes = self.owner(UNATTRIBUTED_TAG).uid
        return text.decode("utf-8", "replace")

    def owner(self, slot: int) -> Owner:
        return Owner.from_buffer_copy(self._value("owners", _slot(slot), ctypes.sizeof(Owner)))

    def addresses(self) -> dict[bytes, int]:
        """16-byte address → tag."""
        found = {}
        for key in self._keys("addresses", ctypes.sizeof(Address)):
            value = bpf.map_lookup(self.fds["addresses"], key, 4)
            if value is not None:
                found[key] = int.from_bytes(value, sys.byteorder)
        return found

    def write_address(self, address: bytes, tag: int) -> None:
        bpf.map_update(self.fds["addresses"], address, tag.to_bytes(4, sys.byteorder))

    def forget_address(self, address: bytes) -> None:
        bpf.map_delete(self.fds["addresses"], address)

    def carriers(self) -> set[bytes]:
        """The keys, each a CarrierKey."""
        return set(self._keys("carriers", ctypes.sizeof(CarrierKey)))

    def write_carrier(self, key: bytes) -> None:
        bpf.map_update(self.fds["carriers"], key, b"\1\0\0\0")

    def forget_carrier(self, key: bytes) -> None:
        bpf.map_delete(self.fds["carriers"], key)

    def groups(self) -> dict[int, int]:
        """Cgroup id → tag."""
        found = {}
        for key in self._keys("groups", 8) if "groups" in self.fds else ():
            value = bpf.map_lookup(self.fds["groups"], key, 4)
            if value is not None:
                found[int.from_bytes(key, sys.byteorder)] = int.from_bytes(value, sys.byteorder)
        return found

    def write_group(self, group: int, tag: int) -> None:
        bpf.map_update(self.fds["groups"], group.to_bytes(8, sys.byteorder), tag.to_bytes(4, sys.byteorder))

    def forget_group(self, group: int) -> None:
        bpf.map_delete(self.fds["groups"], group.to_bytes(8, sys.byteorder))

    def expect_zones(self) -> None:
        """Connections of several zones exist already."""
        bpf.map_update(self.fds["namespace"], _slot(1), (1).to_bytes(8, sys.byteorder))

    def write_seed(self, key: SeedKey, seed: Seed) -> None:
        bpf.map_update(self.fds["seeds"], bytes(key), bytes(seed))

    def _value(self, name: str, key: bytes, size: int) -> bytes:
        return bpf.map_lookup(self.fds[name], key, size) or bytes(size)

    def _batch(self, name: str, count: int, size: int) -> list[bytes]:
        values = bpf.map_lookup_batch(self.fds[name], count, key_size=4, value_size=size)
        return [values[at : at + size] for at in range(0, len(values), size)]

    def _per_cpu(self, name: str, slot: int, size: int) -> array[int]:
        values = array("Q")
        values.frombytes(self._value(name, _slot(slot), size * self._cpus))
        return values

    def _keys(self, name: str, size: int) -> list[bytes]:
        """The keys now; bounded, for an entry that goes meanwhile starts the walk again."""
        keys: dict[bytes, None] = {}
        key = None
        for _ in range(_MAX_KEYS):
            key = bpf.map_next_key(self.fds[name], key, size)
            if key is None:
                break
            keys[key] = None
        return list(keys)


def counted(row: bytes) -> Counted:
    """The counters of one slot in the order of the struct, summed over the CPUs that ``row`` holds.

    What one CPU counted is added as a single number: no sum comes near 2**64, so none carries into the next.
    """
    size = _COUNTED.size
    rows = [
        int.from_bytes(row[at + _TAG : at + _TAG + size], sys.byteorder) for at in range(0, len(row), _TAG + size)
    ]
    return cast(Counted, _COUNTED.unpack(sum(rows).to_bytes(size, sys.byteorder)))


def less(values: Counted, before: base.Counters) -> Counted:
    """What was counted besides ``before``."""
    return cast(
        Counted, tuple(value - getattr(before, name) for name, value in zip(_FIGURES, values, strict=True))
    )


def buckets(histograms: bytes) -> tuple[list[int], list[int]]:
    """Sizes and lifetimes."""
    values = _BUCKETS.unpack(histograms)
    return list(values[:HISTOGRAM_BUCKETS]), list(values[HISTOGRAM_BUCKETS:])


def stored(uid: str) -> bytes:
    """A UID as the kernel keeps it for a successor: itself, or a digest of one that is longer than any pod's."""
    text = uid.encode()
    return text if len(text) <= _UID_BYTES else hashlib.sha256(text).hexdigest().encode()


def _is(spec: MapSpec, fd: int) -> bool:
    kind, _id, *sizes = _MAP_INFO.unpack_from(bpf.object_info(fd))
    return (kind, *sizes) == (spec.kind, spec.key_size, spec.value_size, spec.max_entries)


def _create(spec: MapSpec) -> int:
    try:
        return bpf.map_create(
            spec.kind, key_size=spec.key_size, value_size=spec.value_size, max_entries=spec.max_entries,
            flags=spec.flags, name=f"tf_{spec.name}",
        )  # fmt: skip
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}: map {spec.name} of {spec.max_entries} entries") from error


def _slot(number: int) -> bytes:
    return number.to_bytes(4, sys.byteorder)
