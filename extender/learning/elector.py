# SPDX-License-Identifier: Apache-2.0
"""The thread that takes part in the leader election.

Enters: a store with the Lease, and whether this replica is a candidate. Leaves: ``leads``; the Lease is given up
at the end. Guarantees: never raises; sends nothing while this replica is no candidate, so that a cluster without
TrafficFootprints sees no writes at all.
"""

from __future__ import annotations

import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import structlog

from extender.learning.leader_election import (
    RENEW,
    Candidacy,
    Step,
    after_renewal,
    claimed,
    decide,
    given_up,
    holder_of,
)
from extender.learning.store import LeaseStore
from footprint.cluster.client import ApiError
from footprint.keys import LEARNER_LEASE

_JITTER: Final = 0.2
_CHECK_SECONDS: Final = 1.0
"""Seconds between two checks whether this replica is a candidate."""
_BASE: Final = "run kubectl apply -k manifests/base"
"""It brings the rights to make, read and write the learner's Lease."""
_log = structlog.get_logger()


def own_identity() -> str:
    """The pod's name, and a part that a restarted container does not share with the one before."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"


class Elector:
    """See the module."""

    def __init__(
        self,
        store: LeaseStore,
        *,
        candidate: Callable[[], bool],
        lease: str = LEARNER_LEASE,
        task: str = "writes TrafficFootprints",
        remedy: str = _BASE,
        identity: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._may_stand, self._clock = store, candidate, clock
        self._lease, self._task, self._remedy = lease, task, remedy
        self._candidacy = Candidacy(identity or own_identity())
        self._told = ""
        self.errors = 0
        """Requests about the Lease that failed, except races lost to another replica."""

    def leads(self) -> bool:
        """Whether this replica may write now."""
        return self._candidacy.leads(self._clock())

    def run(self, stop: threading.Event) -> None:
        """Take part in the election until ``stop``."""
        while not stop.is_set():
            pause = _CHECK_SECONDS
            if self._may_stand():
                self.step()
                pause = RENEW * (1 - _JITTER * random.random())  # noqa: S311 - spreads load, guards nothing
            stop.wait(pause)
        self.give_up()

    def step(self) -> None:
        """Read the Lease once and act on it."""
        led = self.leads()
        try:
            self._step()
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                self._failed(error)
        if self.leads() != led:
            _log.info(f"leads: {self._task}" if not led else "leads no more", lease=self._lease)

    def _step(self) -> None:
        begun = self._clock()
        try:
            lease = self._store.read_lease()
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            lease = self._store.create_lease()
        self._candidacy, step = decide(self._candidacy, lease, self._clock())
        if step is Step.WAIT:
            return
        self._store.write_lease(claimed(lease, self._candidacy.identity, datetime.now(UTC)))
        self._candidacy = after_renewal(self._candidacy, begun)
        self._told = ""

    def _failed(self, error: ApiError) -> None:
        self.errors += 1
        missing = error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
        what = "the Lease cannot be read or written"
        if missing:
            what = f"the Lease is missing or forbidden, and cannot be created; {self._remedy}"
        if what != self._told:  # one line when it starts
            self._told = what
            _log.warning(what, lease=self._lease, error=str(error))

    def give_up(self) -> None:
        """Free the Lease, so that another replica can lead at once."""
        if not self.leads():
            return
        try:
            lease = self._store.read_lease()
            if holder_of(lease) == self._candidacy.identity:
                self._store.write_lease(given_up(lease))
        except ApiError as error:
            _log.info("Lease not given up; it runs out by itself", lease=self._lease, error=str(error))
        self._candidacy = Candidacy(self._candidacy.identity)
