"""Who lives here, told to the kernel: addresses to tags, owners to slots.

In: a Locality. Out: the smallest set of map updates. Guarantees: a slot is zeroed before an address leads to it;
what the maps refuse is counted, and the pod stays unattributed until there is room.
"""

from __future__ import annotations

from nodeagent.sources.base import Locality
from nodeagent.sources.ebpf.layout import HOST_TAG
from nodeagent.sources.ebpf.maps import Maps
from nodeagent.sources.ebpf.owners import FIRST_POD_SLOT, OwnerTable
from nodeagent.sources.ebpf.values import wide


class Residents:
    """Keeps the kernel's tables in step with the pods."""

    def __init__(self, maps: Maps, owners: OwnerTable) -> None:
        self._maps, self._owners = maps, owners
        self._addresses: dict[bytes, int] = {}
        self.refused = 0
        """Pods and addresses there was no room for."""

    def adopt(self) -> None:
        """Take over what a predecessor told the kernel. Raises ValueError when that makes no sense."""
        found = []
        for number in range(FIRST_POD_SLOT, self._maps.sizes.slots):
            owner = self._maps.owner(number)
            if owner.tag:
                found.append((number, owner.tag, owner.uid.decode("utf-8", "replace"), bool(owner.present)))
        self._owners.restore(found)
        self._addresses = self._maps.addresses()

    def change(self, locality: Locality) -> bool:
        """Bring the kernel in step; whether any address appeared, or changed hands."""
        self._leave(locality)
        wanted = {wide(address): HOST_TAG for address in locality.node}
        for address, uid in locality.pods.items():
            tag = self._tag(uid)
            if tag is not None:
                wanted[wide(address)] = tag
        for address in self._addresses.keys() - wanted.keys():
            self._maps.forget_address(address)
            del self._addresses[address]
        appeared = {address: tag for address, tag in wanted.items() if self._addresses.get(address) != tag}
        for address, tag in appeared.items():
            try:
                self._maps.write_address(address, tag)
            except OSError:
                self.refused += 1
                continue
            self._addresses[address] = tag
        return bool(appeared)

    def _leave(self, locality: Locality) -> None:
        living = set(locality.pods.values())
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
            self.refused += 1
            return None
        slot, fresh = arrived
        if fresh:
            self._maps.give_slot(slot.number, slot.tag)
        self._maps.write_owner(slot.number, slot.tag, slot.uid, present=True)
        return slot.tag
