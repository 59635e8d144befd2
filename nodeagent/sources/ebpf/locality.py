# SPDX-License-Identifier: Apache-2.0
"""The pods and tunnels of this node in the kernel's maps: addresses to tags, owners to slots, carriers.

Enters: a ``Locality``. Leaves: the smallest set of map updates. Guarantees: a slot is zeroed before an address
points to it. An address that the full maps refuse is counted. Its pod stays unattributed until an entry is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from nodeagent.sources.base import Carrier, Locality
from nodeagent.sources.ebpf.kernel.layout import HOST_TAG
from nodeagent.sources.ebpf.kernel.maps import Maps
from nodeagent.sources.ebpf.owners import FIRST_POD_SLOT, OwnerTable
from nodeagent.sources.ebpf.values import carrier_key, wide

_NO_GROUPS: Final[Mapping[int, str]] = MappingProxyType({})


class LocalityTables:
    """Keeps the kernel's maps equal to the pods of this node."""

    def __init__(self, maps: Maps, owners: OwnerTable) -> None:
        self._maps, self._owners = maps, owners
        self._addresses: dict[bytes, int] = {}
        self._without_slot: set[str] = set()
        self._without_room: set[bytes] = set()
        self._carriers: set[bytes] = set()
        self._groups: dict[int, int] = {}
        self._groups_without_room: set[int] = set()
        self.refused = 0
        """Pods, addresses and carriers without room; each counts once until it has room or leaves."""

    @property
    def addresses(self) -> int:
        """Entries of that map."""
        return len(self._addresses)

    @property
    def carriers(self) -> int:
        """Entries of that map."""
        return len(self._carriers)

    def adopt(self) -> None:
        """Take over a predecessor's entries. Raises ValueError when they contradict each other."""
        found = []
        for number in range(FIRST_POD_SLOT, self._maps.sizes.slots):
            owner = self._maps.owner(number)
            if owner.tag:
                found.append((number, owner.tag, owner.uid.decode("utf-8", "replace"), bool(owner.present)))
        self._owners.restore(found)
        self._addresses = self._maps.addresses()
        self._carriers = self._maps.carriers()
        self._groups = self._maps.groups()

    def change(self, locality: Locality, groups: Mapping[int, str] = _NO_GROUPS) -> bool:
        """Update the maps; whether flows have to be judged anew: an address or a cgroup appeared or has another
        owner now, or the carriers differ. ``groups``: cgroup id → pod UID, of pods without an address."""
        self._leave({*locality.pods.values(), *groups.values()})
        tags = {uid: self._tag(uid) for uid in dict.fromkeys((*locality.pods.values(), *groups.values()))}
        refused = {uid for uid, tag in tags.items() if tag is None}
        self.refused += len(refused - self._without_slot)
        self._without_slot = refused
        wanted = {wide(address): HOST_TAG for address in locality.node}
        wanted |= {wide(address): tag for address, uid in locality.pods.items() if (tag := tags[uid]) is not None}
        for address in self._addresses.keys() - wanted.keys():
            self._maps.forget_address(address)
            del self._addresses[address]
        self._without_room.intersection_update({*wanted, *map(carrier_key, locality.carriers)})
        appeared = {address: tag for address, tag in wanted.items() if self._addresses.get(address) != tag}
        told = self._change_carriers(locality.carriers)
        known = ((group, tags[uid]) for group, uid in groups.items())
        told |= self._change_groups({group: tag for group, tag in known if tag is not None})
        for address, tag in appeared.items():
            try:
                self._maps.write_address(address, tag)
            except OSError:
                self.refused += address not in self._without_room
                self._without_room.add(address)
                continue
            self._addresses[address] = tag
            self._without_room.discard(address)
            told = True
        return told

    def _change_carriers(self, carriers: frozenset[Carrier]) -> bool:
        wanted = set(map(carrier_key, carriers))
        gone = self._carriers - wanted
        for key in gone:
            self._maps.forget_carrier(key)
        written = set()
        for key in wanted - self._carriers:
            try:
                self._maps.write_carrier(key)
            except OSError:
                self.refused += key not in self._without_room
                self._without_room.add(key)
                continue
            written.add(key)
        self._without_room -= gone | written
        self._carriers = self._carriers - gone | written
        return bool(gone or written)

    def _change_groups(self, wanted: Mapping[int, int]) -> bool:
        for group in self._groups.keys() - wanted.keys():
            self._maps.forget_group(group)
            del self._groups[group]
        self._groups_without_room &= wanted.keys()
        told = False
        for group, tag in wanted.items():
            if self._groups.get(group) == tag:
                continue
            try:
                self._maps.write_group(group, tag)
            except OSError:
                self.refused += group not in self._groups_without_room
                self._groups_without_room.add(group)
                continue
            self._groups[group] = tag
            self._groups_without_room.discard(group)
            told = True
        return told

    def _leave(self, living: set[str]) -> None:
        for slot in list(self._owners):
            if slot.present and slot.number >= FIRST_POD_SLOT and slot.uid not in living:
                self._owners.leave(slot.uid)
                self._maps.write_owner(slot.number, slot.tag, slot.uid, present=False)

    def _tag(self, uid: str) -> int | None:
        known = self._owners.slot_of(uid)
        if known is not None and known.present:
            return known.tag
        arrived = self._owners.arrive(uid)
        if arrived is None:
            return None
        slot, fresh = arrived
        if fresh:
            self._maps.give_slot(slot.number, slot.tag)
        self._maps.write_owner(slot.number, slot.tag, slot.uid, present=True)
        return slot.tag
