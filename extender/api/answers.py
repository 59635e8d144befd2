# SPDX-License-Identifier: Apache-2.0
"""The two verbs, without HTTP.

Enters: a decoded request and when it arrived. Leaves: the answer's JSON, made of the current snapshot. Guarantees:
the verbs fail open. When something fails inside, or a response would come too late, filter lets every node pass
and prioritize scores all alike; every such case is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import orjson
import structlog

from extender.api import protocol
from extender.api.metrics import Metrics
from extender.api.protocol import Reader, Request
from extender.cluster.state import ClusterState
from extender.model.demand import Demand
from extender.model.pods import PodInfo
from extender.model.snapshot import Snapshot
from extender.page.decisions import Recorder
from extender.placement.filtering import effective_placement, filter_nodes
from extender.placement.policy import Policy
from extender.placement.scoring import NEUTRAL, score_nodes
from extender.placement.shadow import Shadow, WouldBe
from extender.placement.tables import FilterAnswer, LateError, Scores, Tables
from extender.placement.tie_break import break_tie_if_known, needs_tie_break
from extender.serving.limits import RateLimitedLog
from footprint.declared import PlacementMode

Act = Callable[[Request, float], bytes]
"""A verb: the request, and when it arrived (seconds of the verbs' clock)."""

AHEAD_SECONDS: Final = 0.0003
"""Seconds of one slice of work between requests: the most that it delays one."""

_log = structlog.get_logger()


class Verbs:
    """See the module. ``clock`` is monotonic seconds. Belongs to one thread, like its tables."""

    def __init__(
        self, state: ClusterState, policy: Policy, metrics: Metrics,
        clock: Callable[[], float] = time.monotonic, recorder: Recorder | None = None,
    ) -> None:  # fmt: skip
        """``recorder``: remembers decisions for the live page."""
        self._recorder = recorder
        self._state, self._policy, self._metrics, self._clock = state, policy, metrics, clock
        self._tables = Tables(clock)
        self._reader = Reader()
        self._sent: list[tuple[PodInfo, str]] = []
        """Pods, and the nodes that the last responses sent them to: not counted there yet."""
        self._log_limit = RateLimitedLog(clock)
        self._ok = {verb: metrics.requests.labels(verb, "ok") for verb in ("filter", "prioritize")}
        self.shadow = Shadow(policy.hold) if policy.shadow else None
        """What acting would have done, in a process that only watches."""
        self.on_relaxed: Callable[[PodInfo, float], None] | None = None
        """Hears of each request of a strict pod that waited too long, and for how many seconds. Never blocks."""

    def read(self, body: bytes) -> Request:
        """The request in ``body``. Raises ArgsError."""
        return self._reader.read(body)

    def filter(self, request: Request, arrived: float) -> bytes:
        """ExtenderFilterResult."""
        act = self._filter if self.shadow is None else self._watch
        return self._guarded("filter", act, protocol.everything_passes, request, arrived)

    def prioritize(self, request: Request, arrived: float) -> bytes:
        """HostPriorityList."""
        act = self._prioritize if self.shadow is None else self._neutral
        return self._guarded("prioritize", act, protocol.equal_scores, request, arrived)

    def count_sent(self) -> None:
        """Count pods on the nodes that they were sent to. Runs between a response and the next request."""
        while self._sent:
            self._state.assume(*self._sent.pop(0))

    @property
    def node_failures(self) -> int:
        """Verdicts on single nodes that failed; those nodes counted as unknown."""
        return self._tables.failures

    def work_ahead(self) -> bool:
        """Do one slice of the work that later requests will need. True: there is more."""
        self.count_sent()
        return self._tables.work_ahead(self._state.snapshot, self._clock() + AHEAD_SECONDS)

    def shed_filter(self, request: Request, _arrived: float) -> bytes:
        """The filter's response to a request beyond those that may be under way: it fails open."""
        self._metrics.requests.labels("filter", "shed").inc()
        return protocol.everything_passes(request)

    def shed_prioritize(self, request: Request, _arrived: float) -> bytes:
        """The scores for such a request."""
        self._metrics.requests.labels("prioritize", "shed").inc()
        return protocol.equal_scores(request)

    def _guarded(
        self, verb: str, act: Act, neutral: Callable[[Request], bytes], request: Request, arrived: float
    ) -> bytes:
        """The response of ``act``; ``neutral`` when it comes too late or fails."""
        try:
            if self._clock() > arrived + self._policy.deadline:
                raise LateError
            answer = act(request, arrived)
        except LateError:
            self._metrics.requests.labels(verb, "late").inc()
            if self._log_limit.due("late"):
                deadline = self._policy.deadline
                _log.warning("response too late, failed open", verb=verb, deadline_seconds=deadline)
            return neutral(request)
        except Exception:
            self._metrics.requests.labels(verb, "failed").inc()
            if self._log_limit.due("failed"):
                pod = f"{request.pod.ns}/{request.pod.name}"
                _log.exception("response failed, failed open", verb=verb, pod=pod)
            return neutral(request)
        self._ok[verb].inc()
        return answer

    def _filter(self, request: Request, arrived: float) -> bytes:
        snapshot = self._considered(request.pod)
        demand, placement = snapshot.demand(request.pod), self._placement(request, snapshot)
        if request.nodes is None:
            deadline = arrived + self._policy.deadline
            answer = self._tables.filter(
                request.names, demand, placement, snapshot, deadline, written=request.written
            )
            if answer.passed:
                self._reader.expect(answer.written, answer.passed)
        else:
            answer = _plain_filter(request, demand, placement, snapshot)
        self._metrics.demands.labels(demand.cls.value, demand.origin.value).inc()
        if self._recorder is not None and placement is not PlacementMode.IGNORE:
            self._recorder.filtered(request.pod, demand, placement, len(request.names), answer)
        if answer.rejected:
            self._metrics.rejections.labels(placement.value).inc(answer.rejected)
            if answer.only is not None and needs_tie_break(demand, snapshot):
                # kube-scheduler asks for no scores when one node is left of several: the pod goes there.
                self._sent.append((request.pod, answer.only))
        return answer.body

    def _prioritize(self, request: Request, arrived: float) -> bytes:
        names, snapshot = request.names, self._considered(request.pod)
        placement = self._placement(request, snapshot)
        if placement is PlacementMode.IGNORE:
            return protocol.encode_scores(names, [NEUTRAL] * len(names))
        demand = snapshot.demand(request.pod)
        uid = request.pod.uid if needs_tie_break(demand, snapshot) else None
        if request.nodes is None:
            scores = self._tables.prioritize(names, demand, snapshot, arrived + self._policy.deadline, uid)
        else:
            scores = _plain_scores(names, demand, snapshot, uid)
        if self._recorder is not None:
            self._recorder.scored(request.pod, demand, placement, names, scores)
        if scores.chosen is not None:
            self._sent.append((request.pod, scores.chosen))
        return scores.body

    def _considered(self, pod: PodInfo) -> Snapshot:
        """The snapshot to answer from: with all earlier pods where they were sent, and without ``pod``."""
        self.count_sent()
        return self._state.considering(pod.uid)

    def _watch(self, request: Request, arrived: float) -> bytes:
        """Let every node pass, and remember what the answers would have been."""
        snapshot = self._state.snapshot
        demand, placement = snapshot.demand(request.pod), self._placement(request, snapshot)
        if self.shadow is not None and placement is not PlacementMode.IGNORE and not demand.neutral:
            names, deadline = request.names, arrived + self._policy.deadline
            answer = self._tables.filter(names, demand, placement, snapshot, deadline, written=request.written)
            passed = names if answer.passed is None else answer.passed
            scored = self._tables.prioritize(passed, demand, snapshot, deadline)
            if self._recorder is not None:
                self._recorder.filtered(request.pod, demand, placement, len(names), answer)
                self._recorder.scored(request.pod, demand, placement, passed, scored)
            scores = orjson.loads(scored.body)
            top = max((entry["Score"] for entry in scores), default=0)
            best = [entry["Host"] for entry in scores if entry["Score"] == top]
            self.shadow.record_answers(request.pod, demand, WouldBe(names, passed, best), snapshot)
            self.look()
        return protocol.everything_passes(request)

    def _neutral(self, request: Request, _arrived: float) -> bytes:
        return protocol.equal_scores(request)

    def look(self) -> None:
        """See what became of the pods that were only watched."""
        if self.shadow is not None:
            self.shadow.follow_binds(
                self._state.nodes_of(self.shadow.waiting), self._state.snapshot, self._clock()
            )

    def _placement(self, request: Request, snapshot: Snapshot) -> PlacementMode:
        pod = request.pod
        waited = snapshot.waited(pod, self._state.now())
        default = snapshot.placement(pod, self._policy.placement)
        placement = effective_placement(pod, default, waited, self._policy.relax_after)
        wished = pod.declared.placement or default
        if placement is PlacementMode.PREFER and wished is PlacementMode.STRICT:
            self._metrics.relaxed.inc()
            if self.on_relaxed is not None and self.shadow is None:
                self.on_relaxed(pod, waited)
        return placement


def _plain_filter(request: Request, demand: Demand, placement: PlacementMode, snapshot: Snapshot) -> FilterAnswer:
    """For candidates that came as whole Nodes, which kube-scheduler is not told to send."""
    verdict = filter_nodes(request.names, demand, placement, snapshot)
    body = protocol.encode_filter(request, verdict.passed, verdict.rejected)
    return FilterAnswer(body, len(verdict.rejected), verdict.passed)


def _plain_scores(names: list[str], demand: Demand, snapshot: Snapshot, uid: str | None) -> Scores:
    """``Tables.prioritize`` without tables."""
    scores = score_nodes(names, demand, snapshot)
    if uid is None:
        return Scores(protocol.encode_scores(names, scores), None)
    committed, chosen = break_tie_if_known(names, scores, uid, demand, snapshot)
    return Scores(protocol.encode_scores(names, committed), chosen)
