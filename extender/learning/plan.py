# SPDX-License-Identifier: Apache-2.0
"""Plan what to create, write and delete now. Pure.

Enters: what is known of workloads, all objects, and the time. Leaves: writes, the most urgent first. Guarantees:
it deletes only objects that the learner created and whose spec nobody filled in; the learner never creates more
than ``capacity`` objects; the workloads left out for that are counted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from extender.learning.changes import Urgency, urgency
from extender.model.pods import WorkloadKey
from extender.model.profile import Profile
from extender.model.trafficfootprint import Record
from extender.model.trafficfootprint_name import draw, nameable

ENOUGH_SAMPLES: Final = 2
"""Samples before an object is created: a single one may be an accident."""

REPLACEABLE_AFTER: Final = 86400.0
"""Seconds without a sighting after which an object makes way for a workload that runs now, once ``capacity`` is
reached. A day, so that nightly jobs stay."""

SYSTEM_NAMESPACE: Final = "kube-system"
_UNTOUCHED: Final = frozenset({"DaemonSet", "Node"})
"""Kinds whose pods have their nodes given (``Node``: static pods)."""


@dataclass(frozen=True, slots=True)
class Update:
    """Create the workload's object where there is none, and write its status."""

    key: WorkloadKey
    profile: Profile
    record: Record | None
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class WritePlan:
    deletions: tuple[Record, ...] = ()
    updates: tuple[Update, ...] = ()
    left_out: int = 0
    """Workloads without an object because there are too many."""


def worth_keeping(key: WorkloadKey) -> bool:
    """Whether placement ever decides about the workload, and an object can have its name."""
    namespace, workload = key
    return namespace != SYSTEM_NAMESPACE and workload.partition("/")[0] not in _UNTOUCHED and nameable(key)


def _age(record: Record, now: float) -> float:
    """Seconds since the workload was last known to be there."""
    since = record.last_seen if record.last_seen is not None else record.created
    return now - since if since is not None else 0.0


def _deletable(objects: Iterable[Record], live: Collection[WorkloadKey]) -> list[Record]:
    return [o for o in objects if o.ours and not o.overrides and not o.problems and o.key not in live]


def plan(
    profiles: Mapping[WorkloadKey, Profile],
    records: Mapping[WorkloadKey, Record],
    objects: Collection[Record],
    now: float,
    *,
    retention: float,
    capacity: int,
) -> WritePlan:
    """``profiles`` are those of workloads measured now; ``records`` hold what ``objects`` say of each workload;
    ``now`` is seconds since 1970, ``retention`` seconds without a sighting after which an object goes."""
    due = []
    for key, profile in profiles.items():
        record = records.get(key)
        why = urgency(record, profile, now, draw(key))
        if why is not None and (record is not None or profile.samples >= ENOUGH_SAMPLES):
            due.append(Update(key, profile, record, why))
    due.sort(key=lambda update: (update.urgency, draw(update.key)))
    old = sorted(_deletable(objects, profiles.keys()), key=lambda record: -_age(record, now))
    deletions = [record for record in old if _age(record, now) > retention]
    free = capacity - sum(o.ours for o in objects) + len(deletions)
    wanted = sum(update.record is None for update in due)
    for record in old[len(deletions) :]:
        if wanted <= free or _age(record, now) <= REPLACEABLE_AFTER:
            break
        deletions.append(record)
        free += 1
    return _cut(deletions, due, max(free, 0))


def _cut(deletions: list[Record], due: list[Update], free: int) -> WritePlan:
    kept: list[Update] = []
    left_out = 0
    for update in due:
        if update.record is not None:
            kept.append(update)
        elif free > 0:
            kept.append(update)
            free -= 1
        else:
            left_out += 1
    return WritePlan(tuple(deletions), tuple(kept), left_out)
