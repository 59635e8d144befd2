# SPDX-License-Identifier: Apache-2.0
"""All TrafficFootprint objects by workload, with one that holds where several name the same workload.

Enters: records as the watch shows them, from its thread. Leaves: for each change, the workloads concerned and
their records. Guarantees: one record per workload, the same on every replica. A record whose spec people filled in
comes first, then the one with the learner's own name, then the first by name.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import structlog

from extender.model.pods import WorkloadKey
from extender.model.trafficfootprint import Record

Tell = Callable[[Mapping[WorkloadKey, Record | None]], None]
"""Takes the workloads whose record changed; None: the workload has none any more."""

_ObjectKey = tuple[str, str]
_QUIET: Final = 10
"""Malformed objects that are logged; further ones are only counted."""

_log = structlog.get_logger()


def _rank(record: Record) -> tuple[bool, bool, str]:
    return (not record.overrides, not record.canonical, record.name)


class TrafficFootprintIndex:
    """A sink of the reflector; see the module."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._objects: dict[_ObjectKey, Record] = {}
        self._names: dict[WorkloadKey, set[_ObjectKey]] = {}
        self._vanished: set[WorkloadKey] = set()
        self.malformed: Counter[str] = Counter()
        """Objects' halves (``spec``, ``status``) that counted as absent, whenever one was seen anew."""

    # The sink.

    def replace(self, items: Sequence[Record]) -> None:
        with self._lock:
            gone = self._objects.keys() - {(item.ns, item.name) for item in items}
            keys = {key for name in gone for key in self._drop(name)}
            self._say(keys | {key for item in items for key in self._put(item)})

    def upsert(self, item: Record) -> None:
        with self._lock:
            self._say(self._put(item))

    def delete(self, item: Record) -> None:
        with self._lock:
            self._say(self._drop((item.ns, item.name)))

    # For the learner.

    def records(self) -> dict[WorkloadKey, Record]:
        """The record of each workload."""
        with self._lock:
            return {key: self._best(names) for key, names in self._names.items()}

    def objects(self) -> list[Record]:
        """All of them, including those without a workload and those that another one outranks."""
        with self._lock:
            return list(self._objects.values())

    def vanished(self) -> set[WorkloadKey]:
        """Workloads that lost their last object since the last call. Callers forget what they knew of them."""
        with self._lock:
            gone, self._vanished = self._vanished - self._names.keys(), set()
        return gone

    def _put(self, record: Record) -> set[WorkloadKey]:
        name = (record.ns, record.name)
        before = self._objects.get(name)
        if before == record:
            return set()
        keys = self._drop(name) if before is not None and before.key != record.key else set()
        self._objects[name] = record
        self._note(record, before)
        if record.workload:
            self._names.setdefault(record.key, set()).add(name)
            keys.add(record.key)
        return keys

    def _note(self, record: Record, before: Record | None) -> None:
        if not record.problems or (before is not None and before.problems == record.problems):
            return
        self.malformed.update(record.problems)
        if self.malformed.total() <= _QUIET:
            _log.warning(
                "TrafficFootprint not understood, counts as absent", object=f"{record.ns}/{record.name}",
                parts=record.problems, remedy="compare it with `kubectl explain trafficfootprint --recursive`",
            )  # fmt: skip

    def _drop(self, name: _ObjectKey) -> set[WorkloadKey]:
        record = self._objects.pop(name, None)
        if record is None or not record.workload:
            return set()
        names = self._names[record.key]
        names.discard(name)
        if not names:
            del self._names[record.key]
            self._vanished.add(record.key)
        return {record.key}

    def _best(self, names: Iterable[_ObjectKey]) -> Record:
        return min((self._objects[name] for name in names), key=_rank)

    def _say(self, keys: set[WorkloadKey]) -> None:
        """Under the lock, so that changes of one workload arrive in order."""
        if keys:
            self._tell({key: self._best(names) if (names := self._names.get(key)) else None for key in keys})
