# SPDX-License-Identifier: Apache-2.0
"""Decide whether one workload's profile is worth a write. Pure.

Enters: what the workload's object says, and what is known now. Leaves: how urgent a write is, or that none is due.
Every write goes to etcd and to every replica, so changes that placement would not notice are not written: a rate
must move by a quarter. The number of samples and the last sighting are written together with other changes, or
once they are old: at most four times a day per object.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from extender.model.profile import Profile
from extender.model.trafficfootprint import Record

DEADBAND: Final = 0.25
"""Relative change of a rate or a weight that counts: smaller changes hardly ever change a verdict."""
RATE_FLOOR: Final = 1e6
"""bit/s below which a change of a rate never counts: a tenth of the smallest elephant."""
MICE_FLOOR: Final = 0.25
"""Change of the mice weight that never counts: a quarter of one idle mouse."""
CONFIDENCE_POINTS: Final = 20

SEEN_AGAIN: Final = 6 * 3600.0
"""Seconds after which a sighting is written again though nothing else changed."""


class Urgency(IntEnum):
    """Why to write; the lower, the sooner."""

    NEW = 0  # nothing is written yet
    CLASS = 1  # another class: placement decides otherwise
    MOVED = 2  # another rate, weight or confidence
    SEEN = 3  # only that it is still there


def _moved(old: float, new: float, floor: float) -> bool:
    return abs(new - old) > max(DEADBAND * max(old, new), floor)


def _different(old: Profile, new: Profile) -> bool:
    rates = (
        (old.tx.typical, new.tx.typical), (old.tx.peak, new.tx.peak),
        (old.rx.typical, new.rx.typical), (old.rx.peak, new.rx.peak),
    )  # fmt: skip
    if any(_moved(before, after, RATE_FLOOR) for before, after in rates):
        return True
    return _moved(old.mice, new.mice, MICE_FLOOR) or abs(new.confidence - old.confidence) >= CONFIDENCE_POINTS


def urgency(record: Record | None, profile: Profile, now: float, draw: float) -> Urgency | None:
    """Why ``profile`` should be written over ``record`` at ``now`` (seconds since 1970), or None.

    ``draw`` of [0, 1), the workload's own, spreads repeated sightings over the last quarter of their time.
    """
    if record is None or record.profile is None or record.last_seen is None:
        return Urgency.NEW
    if record.profile.cls is not profile.cls:
        return Urgency.CLASS
    if _different(record.profile, profile):
        return Urgency.MOVED
    age = abs(now - record.last_seen)  # a time ahead of our clock is as wrong as one long past
    return Urgency.SEEN if age >= SEEN_AGAIN * (0.75 + 0.25 * draw) else None
