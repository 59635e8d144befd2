# SPDX-License-Identifier: Apache-2.0
"""The thread that moves pods: it looks, plans, and asks for evictions.

Enters: the cluster state, an API client, and whether this replica leads. Leaves: evictions (``act`` alone),
Events, and the last plan for metrics. Guarantees: never raises; sends nothing while this replica does not lead;
before each eviction it reads the kill switch anew; in doubt it does nothing.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, Protocol

import structlog

from extender.cluster.state import ClusterState
from extender.model.snapshot import NodeView
from extender.rebalancing import history as memory
from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from extender.rebalancing.evictor import ADVISED, MOVED
from extender.rebalancing.gain import Resident, Survey, survey, without_pending
from extender.rebalancing.plan import Examine, Move, Plan, plan
from extender.rebalancing.reader import RIGHTS, DoubtError
from footprint.cluster.client import ApiError
from footprint.declared import Rebalance

_JITTER: Final = 0.2
_LET_IN_SECONDS: Final = 0.0001
"""After each pod that is weighed, which takes the state's lock: a thread that takes it again at once keeps
requests out for tens of milliseconds."""
_TOLD: Final = 4096
"""Pods that advice was given about, and of which no second Event is sent."""
_UNNAMED: Final = "the kill switch cannot be read"
_log = structlog.get_logger()


class Reading(Protocol):
    """One round's reading (``extender.rebalancing.reader.Round``)."""

    doubts: int

    @property
    def examine(self) -> Examine: ...
    def namespace(self, name: str) -> Rebalance | None: ...


class Evicting(Protocol):
    """What sends (``extender.rebalancing.evictor.Evictor``). Raises ApiError."""

    def evict(self, move: Move) -> None: ...
    def tell(self, move: Move, reason: str) -> None: ...


def survey_of(state: ClusterState, config: RebalanceConfig) -> Survey:
    """One look at ``state``: pods count where it says that they are bound."""

    def residents(name: str) -> list[Resident]:
        footprint, _ = state.published(name)
        bound = {pod.uid: pod for pod in state.pods_on(name)}
        measured = footprint.pods if footprint is not None else ()
        return [Resident(bound[pod.uid], pod) for pod in measured if pod.uid in bound]

    def without(resident: Resident, name: str) -> NodeView:
        found = state.without(resident.pod).view(name)
        time.sleep(_LET_IN_SECONDS)
        return found

    return survey(state.snapshot, residents, without, policy=config.policy, price=config.restart_cost)


class Rebalancer:
    """See the module. ``read`` begins a round's reading; ``clock`` is monotonic seconds."""

    def __init__(
        self, state: ClusterState, read: Callable[[], Reading], evictor: Evicting, leads: Callable[[], bool],
        config: RebalanceConfig, *, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._state, self._read, self._evictor, self._leads = state, read, evictor, leads
        self.config, self._clock = config, clock
        self._history: memory.History | None = None
        self._told: dict[str, None] = {}
        self.plan = Plan()
        """The last one."""
        self._logged = ""
        """What the log last said of ``stopped``."""
        self.stopped = ""
        """Why nothing is moved at all: the kill switch, or what failed; empty while nothing stops it."""
        self.moves: Counter[str] = Counter()
        """``evicted``, ``advised``, ``refused`` by a PodDisruptionBudget, ``gone`` before that, ``failed``."""
        self.doubts = 0
        """Pods that could not be examined."""
        self.event_failures = 0
        """Events that could not be sent."""

    def run(self, stop: threading.Event) -> None:
        """Look and act until ``stop``."""
        while not stop.wait(self.config.interval * (1 - _JITTER * random.random())):  # noqa: S311 - spreads load
            try:
                self.step()
            except Exception:  # a fault here must not end the thread for ever
                _log.exception("rebalancing failed this time, trying again at the next interval")

    def step(self) -> None:
        """One round."""
        if not self._leads():
            self.plan, self.stopped = Plan(), ""
            if self._history is not None:  # a short loss of the API server must not undo limits and halts
                self._history = memory.interrupted(self._history)
            return
        now, config = self._clock(), self.config
        history = self._history if self._history is not None else memory.beginning(config, now)
        pods = self._state.pods_of({sent.workload for sent in history.in_flight})
        history = memory.settled(history, pods, now, config)
        found = survey_of(self._state, config)
        found = without_pending(found, self._state.pods_of({one.pod.key for one in found.misplaced}))
        reading = self._read()
        self.plan, history = plan(found, history, reading.examine, now, config)
        self.doubts += reading.doubts
        self._history = history
        self._carry_out()
        self._note_stop()

    def _carry_out(self) -> None:
        acts = self.config.mode_now is RebalanceMode.ACT
        for move in self.plan.moves:
            if not acts:
                self._advise(move)
            elif self._killed() or not self._evict(move):
                return

    def _advise(self, move: Move) -> None:
        uid = move.found.pod.uid
        if uid in self._told:
            return
        self._told[uid] = None
        if len(self._told) > _TOLD:
            del self._told[next(iter(self._told))]
        self.moves["advised"] += 1
        self._tell(move, ADVISED)

    def _killed(self) -> bool:
        """Whether the kill switch is set. A switch that cannot be read counts as set."""
        try:
            said = self._read().namespace(self.config.namespace)
        except DoubtError as error:
            self.stopped = f"{_UNNAMED}: {error}"
            return True
        self.stopped = f"namespace {self.config.namespace} says never" if said is Rebalance.NEVER else ""
        return bool(self.stopped)

    def _evict(self, move: Move) -> bool:
        """Evict the pod of ``move``; whether to go on."""
        assert self._history is not None  # noqa: S101
        found, now = move.found, self._clock()
        if not self._leads():
            return False
        try:
            self._evictor.evict(move)
        except ApiError as error:
            return self._not_evicted(move, error)
        self.moves["evicted"] += 1
        self._history = memory.moved(self._history, found, move.target, now)
        _log.info("evicted", pod=f"{found.pod.ns}/{found.pod.name}", why=move.describe())
        self._tell(move, MOVED)
        return True

    def _not_evicted(self, move: Move, error: ApiError) -> bool:
        assert self._history is not None  # noqa: S101
        found, now = move.found, self._clock()
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            self.moves["refused"] += 1
            self._history = memory.refused(self._history, found.pod.key, now)
            return True
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):  # it ended, or another pod has its name
            self.moves["gone"] += 1
            return True
        self.moves["failed"] += 1
        fatal = error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED)
        remedy = f"; {RIGHTS}" if fatal else ""
        why = f"evictions fail: {error}{remedy}"
        _log.warning("not evicted", pod=f"{found.pod.ns}/{found.pod.name}", status=error.status, error=why)
        self._history = memory.failed(self._history, found, why, now, self.config, target=move.target, fatal=fatal)
        return False

    def _tell(self, move: Move, reason: str) -> None:
        try:
            self._evictor.tell(move, reason)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:  # another replica said so before
                self.event_failures += 1
                _log.info("event not sent", pod=f"{move.found.pod.ns}/{move.found.pod.name}", error=str(error))

    def _note_stop(self) -> None:
        """Say in ``stopped`` what the history knows, beside the kill switch; the log says it once."""
        history = self._history
        halted = history is not None and self._clock() < history.halted_until
        if halted and history is not None:
            self.stopped = history.halted_why
        elif not self.plan.moves:
            self.stopped = ""
        if self.stopped != self._logged:  # one line when it begins, and one when it ends
            self._logged = self.stopped
            if self.stopped:
                _log.warning("moves no pods for now", why=self.stopped)
            else:
                _log.info("may move pods again")
