# SPDX-License-Identifier: Apache-2.0
"""Which slot of the kernel's counters belongs to which owner.

Enters: the pods of this node, as they come and go. Leaves: tags. Guarantees: pure; no tag is used twice. A pod
that comes back finds its slot and counters, unless another pod needed the slot. Slots of pods that left are
reused in the order in which they left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Counters
from nodeagent.sources.ebpf.kernel.layout import CARRIER_TAG, HOST_TAG, SLOT_BITS, SLOT_MASK, UNATTRIBUTED_TAG

FIRST_POD_SLOT: Final = 3
_GENERATIONS: Final = 1 << (32 - SLOT_BITS)


@dataclass(slots=True)
class Slot:
    """One slot in use."""

    number: int
    tag: int
    uid: str
    present: bool = True
    """Lives here now."""
    absent: int = 0
    """Readings since it left during which nothing was counted for it."""
    row: bytes = b""
    """Its counters as last read from the kernel ..."""
    shown: Counters | None = None
    """... and as a reading shows them: what was counted since ``hidden``."""
    hidden: Counters | None = None
    """Its counters when it was last left out of readings; an owner that is shown again begins at zero."""

    def hide(self, whole: Counters) -> None:
        """Leave it out of readings until more is counted than ``whole``, its counters so far."""
        self.shown, self.hidden = None, whole


class OwnerTable:
    """Owners by slot. HOST, UNATTRIBUTED and CARRIER have theirs from the start."""

    def __init__(self, slots: int) -> None:
        self._limit = slots
        names = {UNATTRIBUTED_TAG: UNATTRIBUTED, HOST_TAG: HOST, CARRIER_TAG: CARRIER}
        fixed = [Slot(tag, tag, name) for tag, name in names.items()]
        self._by_uid: dict[str, Slot] = {slot.uid: slot for slot in fixed}
        self._by_number: dict[int, Slot] = {slot.number: slot for slot in fixed}
        self._fresh = FIRST_POD_SLOT
        self._left: dict[str, Slot] = {}  # in the order in which they left

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._by_number.values())

    def uid_of(self, tag: int) -> str:
        """The owner of a tag; UNATTRIBUTED when another pod has the slot now."""
        slot = self._by_number.get(tag & SLOT_MASK)
        return slot.uid if slot is not None and slot.tag == tag else UNATTRIBUTED

    @property
    def used(self) -> int:
        """Every slot in use has a lower number."""
        return self._fresh

    def slot_of(self, uid: str) -> Slot | None:
        return self._by_uid.get(uid)

    def arrive(self, uid: str) -> tuple[Slot, bool] | None:
        """The slot of a pod that lives here, and whether it is new to it; None when every slot is in use."""
        known = self._by_uid.get(uid)
        if known is not None:
            known.present, known.absent = True, 0
            self._left.pop(uid, None)
            return known, False
        slot = self._vacant()
        if slot is None:
            return None
        slot.uid, slot.present, slot.absent = uid, True, 0
        self._by_uid[uid] = self._by_number[slot.number] = slot
        return slot, True

    def leave(self, uid: str) -> Slot | None:
        """The pod left this node; its counters stay until another pod needs the slot."""
        slot = self._by_uid.get(uid)
        if slot is None or slot.number < FIRST_POD_SLOT or not slot.present:
            return None
        slot.present = False
        self._left[uid] = slot
        return slot

    def restore(self, found: Iterable[tuple[int, int, str, bool]]) -> None:
        """Take over (slot, tag, UID, present) from a predecessor. Raises ValueError for what cannot be."""
        for number, tag, uid, present in found:
            if not FIRST_POD_SLOT <= number < self._limit or tag & SLOT_MASK != number or not uid:
                raise ValueError(f"slot {number} with tag {tag:#x} of {uid!r}")
            slot = Slot(number, tag, uid, present)
            self._by_number[number] = self._by_uid[uid] = slot
            self._fresh = max(self._fresh, number + 1)
            if not present:
                self._left[uid] = slot

    def _vacant(self) -> Slot | None:
        if self._fresh < self._limit:
            self._fresh += 1
            number = self._fresh - 1
            return Slot(number, 1 << SLOT_BITS | number, "")
        if not self._left:
            return None
        uid = next(iter(self._left))
        slot = self._left.pop(uid)
        del self._by_uid[uid]
        # After a million pods the numbers begin again; flows of the first are long gone.
        generation = (slot.tag >> SLOT_BITS) % (_GENERATIONS - 1) + 1
        return Slot(slot.number, generation << SLOT_BITS | slot.number, "")
