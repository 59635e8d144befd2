# SPDX-License-Identifier: Apache-2.0
"""The thread that learns: it samples workloads' tallies and writes TrafficFootprints.

Enters: the workloads' tallies, all objects, and whether this replica may write. Leaves: creations, status writes
and deletions. Guarantees: never raises; sends nothing while this replica may not write; never touches ``spec``;
counts a failed write and tries it again later.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Final

import structlog

from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.learning.config import LearnerConfig
from extender.learning.plan import Update, WritePlan, plan, worth_keeping
from extender.learning.store import Store
from extender.model.demand import Tally
from extender.model.pods import WorkloadKey
from extender.model.profile import NOTHING_YET, Profile, fold
from extender.model.trafficfootprint import Record, new_object, status_of
from extender.model.trafficfootprint_name import object_name
from footprint.cluster.client import ApiError
from footprint.token_bucket import TokenBucket

WRITE_BURST: Final = 20.0
"""Writes that may follow one another: a handful of workloads that appear together."""
WRITE_INTERVAL: Final = 1.0
"""Seconds per write in the long run: 5,000 objects take 83 minutes."""

_JITTER: Final = 0.2
_SHOWN_WITHIN: Final = 10.0
"""Seconds within which the watch shows a write. Until then the learner leaves the workload alone."""
_REFUSED_FOR: Final = 600.0
"""Seconds for which the learner leaves a workload alone whose object was refused: its namespace is being deleted,
or another object has the name."""
_LOG_EVERY: Final = 60.0
_OF_ONE_WORKLOAD: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Refusals that say nothing about other workloads."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Pause:
    """Why a workload is left alone."""

    until: float
    version: str | None
    """The pause ends early once the object has another version; None: it never ends early."""


class Learner:
    """See the module. ``clock`` is monotonic, ``wall`` seconds since 1970."""

    def __init__(
        self, measured: Callable[[], Mapping[WorkloadKey, Tally]], index: TrafficFootprintIndex, store: Store,
        may_write: Callable[[], bool], config: LearnerConfig, *,
        clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._measured, self._index, self._store, self._may_write = measured, index, store, may_write
        self._config, self._clock, self._wall = config, clock, wall
        self._profiles: dict[WorkloadKey, Profile] = {}
        self._tallies: dict[WorkloadKey, Tally] = {}
        """As of the last sample."""
        self._pauses: dict[WorkloadKey, _Pause] = {}
        self._budget = TokenBucket(WRITE_BURST, WRITE_INTERVAL, refilled_at=clock())
        self._told_at = float("-inf")
        self.writes: Counter[str] = Counter()
        """``create``, ``status``, ``delete``."""
        self.errors: Counter[str] = Counter()
        """Refused or failed writes by HTTP status; ``0``: the API server could not be reached."""
        self.left_out = 0
        """Workloads without an object because there are too many."""

    def run(self, stop: threading.Event) -> None:
        """Learn until ``stop``."""
        while not stop.wait(self._config.interval * (1 - _JITTER * random.random())):  # noqa: S311 - spreads load
            try:
                self.step()
            except Exception:  # a fault here must not end learning for ever
                _log.exception("learning failed this time, trying again at the next interval")

    def step(self) -> None:
        """Sample every workload once, then write what is due and fits the budget."""
        if not self._may_write():
            # The next leader starts from what the objects say.
            self._profiles.clear()
            self._tallies.clear()
            self.left_out = 0
            return
        records = self._index.records()
        live = self._sample(records)
        due = plan(
            live, records, self._index.objects(), self._wall(), retention=self._config.retention,
            capacity=self._config.capacity,
        )  # fmt: skip
        self.left_out = due.left_out
        self._carry_out(due)

    def _sample(self, records: Mapping[WorkloadKey, Record]) -> dict[WorkloadKey, Profile]:
        """The profiles of the workloads that are measured now."""
        for key in self._index.vanished():  # its object was deleted: start again
            self._profiles.pop(key, None)
        tallies = {key: tally for key, tally in self._measured().items() if worth_keeping(key)}
        live: dict[WorkloadKey, Profile] = {}
        for key, tally in tallies.items():
            profile = self._profiles.get(key) or self._written(records.get(key))
            # Footprints show ended pods for a while: count them once.
            if tally.running or tally != self._tallies.get(key):
                profile = fold(profile, tally)
            if profile.samples:
                live[key] = profile
        self._tallies = tallies
        self._profiles.update(live)
        if len(self._profiles) > 2 * max(self._config.capacity, len(live)):
            self._profiles = dict(live)
        return live

    @staticmethod
    def _written(record: Record | None) -> Profile:
        return record.profile if record is not None and record.profile is not None else NOTHING_YET

    def _carry_out(self, due: WritePlan) -> None:
        now = self._clock()
        self._budget = self._budget.refilled(now)
        self._pauses = {key: pause for key, pause in self._pauses.items() if pause.until > now}
        try:
            for record in due.deletions:
                self._attempt(record.key, record, partial(self._delete, record), 1)
            for update in due.updates:
                cost = 1 if update.record is not None else 2
                self._attempt(update.key, update.record, partial(self._update, update), cost)
        except ApiError as error:
            _log.debug("writing goes on at the next sample", error=str(error))

    def _attempt(self, key: WorkloadKey, record: Record | None, write: Callable[[], None], cost: int) -> None:
        """Call ``write``, unless the budget or a pause forbids it. Raises ApiError when other writes would fail
        too."""
        version, pause = record.version if record is not None else "", self._pauses.get(key)
        if self._budget.available < cost or not self._may_write():
            return
        if pause is not None and pause.version in (None, version):
            return
        self._budget = self._budget.taken(cost)
        try:
            write()
        except ApiError as error:
            self._failed(key, error)
            if error.status not in _OF_ONE_WORKLOAD:
                raise
        else:
            self._pauses[key] = _Pause(self._clock() + _SHOWN_WITHIN, version)

    def _delete(self, record: Record) -> None:
        self._store.delete(record)
        self.writes["delete"] += 1

    def _update(self, update: Update) -> None:
        namespace, workload = update.key
        name = update.record.name if update.record is not None else object_name(workload)
        if update.record is None:
            self._store.create(new_object(update.key))
            self.writes["create"] += 1
        self._store.write_status(namespace, name, status_of(update.profile, self._wall()))
        self.writes["status"] += 1

    def _failed(self, key: WorkloadKey, error: ApiError) -> None:
        self.errors[str(error.status)] += 1
        now = self._clock()
        refused = HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR
        # Between half and all of it, so that workloads refused together do not return together.
        wait = (_REFUSED_FOR if refused else _SHOWN_WITHIN) * (0.5 + random.random() / 2)  # noqa: S311
        self._pauses[key] = _Pause(now + wait, None)
        if now - self._told_at >= _LOG_EVERY:
            self._told_at = now
            _log.warning(
                "TrafficFootprint not written, tried again later", namespace=key[0], workload=key[1],
                status=error.status, error=str(error),
            )  # fmt: skip
