# SPDX-License-Identifier: Apache-2.0
"""What the watches have shown, and the snapshot made of it.

Enters: Nodes, Leases, Pods and TrafficFootprints, from the watches' threads. Leaves: an immutable Snapshot,
swapped as a whole. Only what changed is worked out again: one node's event costs one node, not the cluster.
Guarantees: taking in an object never raises over its data; readers take no lock. Requests that count a pod where
it was just sent take one, which nobody holds for longer than ``AT_ONCE`` views take: what workloads are measured
to do is worked out under another.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from extender.cluster.mice_free_links import MiceFreeLinks
from extender.cluster.workload_totals import NodeTallies, WorkloadTotals
from extender.model.demand import DEFAULT_ELEPHANT_RATE, Tally, predict, tally_node
from extender.model.layered_map import Layered
from extender.model.ledger import HOLD_SECONDS, NEVER, BoundPod, mice_cut
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import (
    REMEMBERED_CHANGES,
    NodeFacts,
    NodeView,
    RunningPodSums,
    Snapshot,
    measures_now,
    unplaced,
    view_node,
)
from extender.model.trafficfootprint import Record
from footprint.codec import FootprintError, decode
from footprint.models import NodeFootprint
from footprint.staleness import LastRenewal, observe

COALESCE_SECONDS: Final = 0.005
"""How long the first event waits for company: a burst of binds becomes a few rebuilds instead of one each."""

TICK_SECONDS: Final = 1.0
"""How often to look for what time alone has changed (staleness, ledger)."""

ASSUME_SECONDS: Final = 2.0
"""How long a pod counts where it was sent before its bind is seen: binds are seen within some tens of
milliseconds, and an attempt that failed elsewhere must not keep others away for long."""

AT_ONCE: Final = 32
"""Views worked out in one go, some milliseconds: readers in other threads, and answers that count a pod where it
was just sent, wait for no more than that, whatever a list or a minute without Leases has changed."""

_DUE_AT_ONCE: Final = 512
"""Moments passed in one go, which is much less work."""

_LET_IN_SECONDS: Final = 0.0001
"""A lock that is let go belongs to whoever asks next, and that is the thread that has just let it go, unless it
sleeps for a moment."""

_GONE_LIMIT: Final = 512
"""Ended pods remembered per node; more only gather where no agent rewrites the footprint."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A Node, reduced to its name and our annotation's text."""

    name: str
    annotation: str | None


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A node's heartbeat; ``marker`` changes with each renewal."""

    node: str
    marker: str


@dataclass(frozen=True, slots=True)
class _Said:
    """What an annotation says."""

    footprint: NodeFootprint | None = None
    tallies: NodeTallies | None = None
    """Of workloads."""
    residents: RunningPodSums | None = None
    """Running pods, summed."""
    problem: str = ""


_NOTHING_SAID: Final = _Said()


@dataclass(slots=True)
class _Node:
    """One node's facts as they stand."""

    present: bool = False
    annotation: str | None = None
    said: _Said = _NOTHING_SAID
    """What the annotation says."""
    counted: bool = False
    """Its tallies are in the totals."""
    heartbeat: LastRenewal | None = None
    pods: dict[str, PodInfo] = field(default_factory=dict)
    assumed: dict[str, PodInfo] = field(default_factory=dict)
    """Pods sent here whose bind was not seen yet, by UID."""
    gone: set[str] = field(default_factory=set)
    """UIDs that ended while the footprint may still list them."""
    open: frozenset[WorkloadKey] = frozenset()
    """Workloads whose predicted demand may count in this node's ledger."""
    look_at: float = NEVER
    """The next moment noted for this node (``_Moments``)."""

    def read(self, annotation: str | None, said: _Said) -> None:
        """Take in the Node object."""
        self.present, self.annotation, self.said = True, annotation, said
        self.forget_gone()

    def forget_gone(self) -> None:
        self.gone &= {pod.uid for pod in self.said.footprint.pods} if self.said.footprint else set()

    def end(self, uid: str) -> None:
        """The pod sends nothing more, whatever the footprint still says."""
        self.gone.add(uid)
        if len(self.gone) > _GONE_LIMIT:
            self.forget_gone()


@dataclass(slots=True)
class _Links:
    """Known links, and those without mice; kept up to date view by view."""

    known: int = 0
    mice_free: int = 0
    capacity: int = 0
    """Sum over known links, busier direction, whole bit/s: added and taken away again, floats would drift."""

    def swap(self, before: NodeView | None, after: NodeView | None) -> None:
        for view, sign in ((before, -1), (after, 1)):
            if view is not None and view.known:
                self.known += sign
                self.mice_free += sign * (view.link.mice <= 0)
                self.capacity += sign * int(max(view.link.cap_tx, view.link.cap_rx))

    def to_keep(self, mice_free_links: MiceFreeLinks) -> int:
        """How many links to keep free of mice; 0 while no elephants are known."""
        return mice_free_links.links_to_keep(self.capacity / self.known, self.known) if self.known else 0


def _scarce(keep: int, links: _Links) -> bool:
    """Links without mice are no more than are to be kept."""
    return 0 < keep >= links.mice_free


def _facts(name: str, entry: _Node, bound: tuple[BoundPod, ...]) -> NodeFacts:
    said = entry.said
    return NodeFacts(name, said.footprint, said.problem, entry.heartbeat, bound, entry.gone, said.residents)


class ClusterState:
    """See the module. ``clock`` is monotonic seconds; ``stale_after`` and ``hold`` are seconds."""

    def __init__(
        self,
        *,
        stale_after: float,
        hold: float = HOLD_SECONDS,
        default_rate: float = DEFAULT_ELEPHANT_RATE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stale_after, self._hold, self._default_rate, self._clock = stale_after, hold, default_rate, clock
        self._lock = threading.Lock()
        self._totals_lock = threading.Lock()
        """For ``_totals``, and teaching in order; taken before ``_lock`` where both are needed."""
        self._changed = threading.Event()
        self._nodes: dict[str, _Node] = {}
        self._pods: dict[str, PodInfo] = {}
        self._running_since: dict[str, float] = {}
        self._waiting_since: dict[str, float] = {}
        self._waiting: Mapping[str, float] = {}
        """The last copy of it; copied anew once a tick, for snapshots that no request waits for."""
        self._waiting_changed = False
        self._copy_at = -NEVER
        """The moment from which a changed one is copied again."""
        self._assumed: dict[str, tuple[str, float]] = {}
        """Pod UID → the node it was sent to, and the moment until which that counts."""
        self._dirty: set[str] = set()
        """Nodes whose views are to be worked out."""
        self._tallies_due: set[str] = set()
        """Nodes whose tallies may differ from those in the totals."""
        self.rounds = 0
        """Times that nothing was left to take in."""
        self._totals = WorkloadTotals(default_rate)
        self._mice_free_links = MiceFreeLinks(default_rate)
        self._links = _Links()
        self._moments: list[tuple[float, str]] = []
        """Heap: when each node's view may change through time alone. At most one of a node's is ``look_at``."""
        self._ends: list[tuple[float, str]] = []
        """Heap: when assumptions end, by pod UID; those that ended before are passed over."""
        self._open: dict[WorkloadKey, set[str]] = {}
        self._views: Layered[NodeView] = Layered()
        self.snapshot = Snapshot(
            self._views, self._totals.demands, default_rate=default_rate, records=self._totals.records
        )
        """The current state; read it once per request."""
        self.malformed_footprints: Counter[str] = Counter()
        """Annotations that were no footprint, by the codec's reason."""
        self.annotation_problems: Counter[str] = Counter()
        """Pods' annotations that were not understood, by key."""

    # Events: a few dictionary operations each; the work is left to ``apply``.

    def _touch(self, name: str) -> None:
        self._dirty.add(name)
        self._changed.set()

    def _touch_lessons(self, name: str) -> None:
        self._tallies_due.add(name)
        self._touch(name)

    def _entry(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())

    def put_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        """Take in nodes as they are now."""
        for node in nodes:
            if self._differs(node):
                said = self._decode(node)
                with self._lock:
                    self._entry(node.name).read(node.annotation, said)
                    self._touch_lessons(node.name)

    def _differs(self, node: NodeInfo) -> bool:
        """Most Node events (the kubelet's status) leave our annotation as it was: those cost nothing."""
        entry = self._nodes.get(node.name)
        return entry is None or not entry.present or entry.annotation != node.annotation

    def _decode(self, node: NodeInfo) -> _Said:
        if node.annotation is None:
            return _NOTHING_SAID
        try:
            footprint = decode(node.annotation)
        except FootprintError as error:
            self.malformed_footprints[error.reason.value] += 1
            _log.warning("annotation passed over", node=node.name, reason=error.reason.value, problem=str(error))
            return _Said(problem=f"{error.reason.value}: {error}")
        return _Said(footprint, tally_node(footprint), RunningPodSums.of(footprint))

    def drop_node(self, name: str) -> None:
        """The Node object is gone. Its Lease and pods may follow later, or not."""
        with self._lock:
            if (entry := self._nodes.get(name)) is not None:
                entry.read(None, _NOTHING_SAID)
                entry.present = False
                self._touch_lessons(name)

    def put_lease(self, lease: LeaseInfo) -> None:
        """A sign of life, if the marker changed."""
        with self._lock:
            entry = self._entry(lease.node)
            heartbeat = observe(entry.heartbeat, lease.marker, self._clock())
            if heartbeat is not entry.heartbeat:
                entry.heartbeat = heartbeat
                self._touch_lessons(lease.node)

    def drop_lease(self, node: str) -> None:
        with self._lock:
            if (entry := self._nodes.get(node)) is not None:
                entry.heartbeat = None
                self._touch_lessons(node)

    def node_names(self) -> set[str]:
        """Nodes that are there."""
        with self._lock:
            return {name for name, entry in self._nodes.items() if entry.present}

    def leased(self) -> set[str]:
        """Nodes whose Lease is known."""
        with self._lock:
            return {name for name, entry in self._nodes.items() if entry.heartbeat is not None}

    def put_pod(self, pod: PodInfo) -> None:
        """Take in a pod as it is now."""
        with self._lock:
            known = self._pods.get(pod.uid)
            if known == pod:
                return
            if known is None or known.declared.problems != pod.declared.problems:
                self.annotation_problems.update(problem.key for problem in pod.declared.problems)
            self._pods[pod.uid] = pod
            if pod.node or pod.ended:
                self._forget_assumed(pod.uid)
            self._count(known, pod)
            self._note_times(pod, self._clock())
            if known is not None and known.node and known.node != pod.node:
                self._leave(known)
            if pod.node:
                entry = self._entry(pod.node)
                entry.pods[pod.uid] = pod
                if pod.ended:
                    entry.end(pod.uid)
                self._touch(pod.node)

    def drop_pod(self, uid: str) -> None:
        """The Pod object is gone."""
        with self._lock:
            pod = self._pods.pop(uid, None)
            self._forget_assumed(uid)
            self._running_since.pop(uid, None)
            if self._waiting_since.pop(uid, None) is not None:
                self._waiting_changed = True
                self._changed.set()
            if pod is None:
                return
            self._mice_free_links.drop(pod)
            if pod.node:
                self._leave(pod)

    def assume(self, pod: PodInfo, node: str, seconds: float = ASSUME_SECONDS) -> None:
        """Count ``pod`` on ``node`` from now until the API shows where it went, for ``seconds`` at most.

        kube-scheduler asks about the next pod before the watch has shown this one's bind; without this the
        elephants of a burst would all be sent to the same free link.
        """
        with self._lock:
            known = self._pods.get(pod.uid)
            if known is not None and (known.node or known.ended):
                return
            self._forget_assumed(pod.uid)
            until = self._clock() + seconds
            self._entry(node).assumed[pod.uid] = pod
            self._assumed[pod.uid] = (node, until)
            heapq.heappush(self._ends, (until, pod.uid))
            self._show({node})

    def forget_assumed(self, uid: str) -> None:
        """A new question about the pod: its last attempt is void, and must not stand in its own way."""
        if uid in self._assumed:
            with self._lock:
                if (assumed := self._assumed.get(uid)) is not None:
                    self._forget_assumed(uid)
                    self._show({assumed[0]})

    def _forget_assumed(self, uid: str) -> None:
        if (assumed := self._assumed.pop(uid, None)) is not None:
            self._entry(assumed[0]).assumed.pop(uid, None)
            self._touch(assumed[0])

    def nodes_of(self, uids: Iterable[str]) -> dict[str, str]:
        """The nodes of those of the pods that are bound and there."""
        with self._lock:
            return {uid: pod.node for uid in uids if (pod := self._pods.get(uid)) is not None and pod.node}

    def now(self) -> float:
        """Seconds of the clock that everything here is timed by."""
        return self._clock()

    def without(self, pod: PodInfo) -> Snapshot:
        """The snapshot as it would be had ``pod`` not been placed yet: it must not stand in its own way when it is
        asked why it went where it went. What it has taught of its workload stays known."""
        with self._lock:
            snapshot, now = self.snapshot, self._clock()
            name = self._pods.get(pod.uid, pod).node or self._assumed.get(pod.uid, ("", now))[0]
            entry, before = self._nodes.get(name), snapshot.nodes.get(name)
            if not pod.uid or entry is None or not entry.present or before is None:
                return snapshot
            facts = unplaced(_facts(name, entry, self._bound(entry, now)), pod.uid)
            view, links = view_node(facts, now, self._stale_after, self._hold), replace(self._links)
            links.swap(before, view)
            scarce = _scarce(links.to_keep(self._mice_free_links), links)
            return replace(snapshot, nodes=self._views.after({name: view}), scarce=scarce)

    def find_pod(self, namespace: str, name: str) -> PodInfo | None:
        """The pod as the watch shows it; looks through all of them."""
        with self._lock:  # held for no longer than a copy takes: answers wait for it
            pods = list(self._pods.values())
        return next((pod for pod in pods if (pod.ns, pod.name) == (namespace, name)), None)

    @property
    def pods_waiting(self) -> int:
        """Pods without a node, now; snapshots show them once a tick."""
        return len(self._waiting_since)

    def pod_uids(self) -> set[str]:
        with self._lock:
            return set(self._pods)

    def put_records(self, changes: Mapping[WorkloadKey, Record | None]) -> None:
        """Take in what TrafficFootprints say of some workloads; None: nothing any more."""
        with self._totals_lock:
            self._totals.put_records(changes)
            with self._lock:
                self._changed.set()

    def measured(self) -> dict[WorkloadKey, Tally]:
        """What is measured of each workload, over all nodes whose data is fresh."""
        with self._totals_lock:
            return dict(self._totals.totals)

    def _count(self, known: PodInfo | None, pod: PodInfo) -> None:
        if known is not None and known.key != pod.key:
            self._mice_free_links.drop(known)
        self._mice_free_links.put(pod)

    def _leave(self, pod: PodInfo) -> None:
        entry = self._entry(pod.node)
        entry.pods.pop(pod.uid, None)
        entry.end(pod.uid)
        self._touch(pod.node)

    def _note_times(self, pod: PodInfo, now: float) -> None:
        if pod.running:
            self._running_since.setdefault(pod.uid, now)
        waits = not pod.node and not pod.ended
        if waits == (pod.uid in self._waiting_since):
            return
        if waits:
            self._waiting_since[pod.uid] = now
        else:
            del self._waiting_since[pod.uid]
        self._waiting_changed = True
        self._changed.set()

    # The snapshot.

    def run(self, stop: threading.Event) -> None:
        """Keep the snapshot current until ``stop``; blocking, never raises."""
        while not stop.is_set():
            if self._changed.wait(TICK_SECONDS):
                stop.wait(COALESCE_SECONDS)
            try:
                self.apply()
            except Exception:  # a fault here must not freeze the snapshot for ever
                _log.exception("snapshot not updated")
                stop.wait(TICK_SECONDS)

    def wake(self) -> None:
        """Let ``run`` look at its stop event at once."""
        self._changed.set()

    def apply(self) -> bool:
        """Work out what changed and swap the snapshot; False when nothing did."""
        different = False
        while self._pass_moments():
            time.sleep(_LET_IN_SECONDS)
        while True:
            self._learn()
            with self._lock:
                some = set(itertools.islice(self._dirty, AT_ONCE))
                copied = self._copy_waiting()
                if some or copied or self._totals_differ:
                    different = True
                    self._show(some)
                elif not self._tallies_due and not self._totals.pending:
                    self._changed.clear()
                    self.rounds += 1
                    return different
            if len(some) == AT_ONCE:
                time.sleep(_LET_IN_SECONDS)

    def _copy_waiting(self) -> bool:
        """Show who waits, if that changed. In a burst thousands do, and each bind changes it: once a tick will do
        for what is measured in minutes."""
        now = self._clock()
        if not self._waiting_changed or now < self._copy_at:
            return False
        self._waiting, self._waiting_changed = dict(self._waiting_since), False
        self._copy_at = now + TICK_SECONDS
        return True

    @property
    def settled(self) -> bool:
        """The snapshot shows all that was taken in, and of who waits what was known a tick ago."""
        with self._lock:
            return not (self._dirty or self._tallies_due or self._totals.pending or self._totals_differ)

    @property
    def _totals_differ(self) -> bool:
        """From those that the snapshot shows."""
        shown = self.snapshot
        return shown.learned is not self._totals.demands or shown.records is not self._totals.records

    def _show(self, names: set[str]) -> None:
        """Swap the snapshot for one in which ``names`` are as they are now, by what was learned so far."""
        self._dirty -= names
        judged = self._update_views(names, self._clock())
        before, keep = self.snapshot, self._links.to_keep(self._mice_free_links)
        scarce = _scarce(keep, self._links)
        self.snapshot = Snapshot(
            self._views, self._totals.demands, self._waiting, self._default_rate, scarce,
            before.version + 1, (*before.recent[1 - REMEMBERED_CHANGES :], judged),
            elephants_known=keep > 0, records=self._totals.records,
        )  # fmt: skip

    def _pass_moments(self) -> bool:
        """End old assumptions; note nodes whose views time alone has changed. True when more may be due."""
        with self._lock:
            now = self._clock()
            while self._ends and self._ends[0][0] <= now:
                until, uid = heapq.heappop(self._ends)
                if uid in self._assumed and self._assumed[uid][1] == until:
                    self._forget_assumed(uid)
            for _ in range(_DUE_AT_ONCE):
                if not self._moments or self._moments[0][0] > now:
                    return False
                self._pass_moment(*heapq.heappop(self._moments), now)
            return True

    def _pass_moment(self, moment: float, name: str, now: float) -> None:
        entry = self._nodes.get(name)
        if entry is None or entry.look_at != moment:
            return
        entry.look_at = NEVER
        if (view := self._views.get(name)) is None:
            return
        if view.changes_at <= now:
            self._touch_lessons(name)  # its next view notes the next moment
        else:
            self._look_again(name, entry, view.changes_at)

    def _look_again(self, name: str, entry: _Node, moment: float) -> None:
        """Note ``moment``, unless an earlier look is due that will note the next one."""
        if moment < entry.look_at:
            entry.look_at = moment
            heapq.heappush(self._moments, (moment, name))

    def _learn(self) -> None:
        """Update workloads' demands; nodes that expect pods of a changed one become dirty."""
        with self._totals_lock:
            with self._lock:
                names, self._tallies_due = self._tallies_due, set()
            changed: set[WorkloadKey] = set()
            for name in names:
                changed |= self._totals.replace_node(name, self._tallies_of(name))
            different = self._totals.update(changed)
            with self._lock:
                self._mice_free_links.update(self._totals.demands, ())
            for key in different:
                with self._lock:
                    self._mice_free_links.update(self._totals.demands, (key,))
                    self._dirty.update(self._open.get(key, ()))

    def _tallies_of(self, name: str) -> NodeTallies | None:
        """What the node measures_now now; counts as done."""
        with self._lock:
            if (entry := self._nodes.get(name)) is None:
                return None
            entry.counted = self._counts(entry, self._clock())
            return entry.said.tallies if entry.counted else None

    def _counts(self, entry: _Node, now: float) -> bool:
        return measures_now(entry.said.footprint, entry.heartbeat, now, self._stale_after)

    def _update_views(self, names: set[str], now: float) -> frozenset[str]:
        """Work out ``names`` anew; those of which placement may judge differently."""
        changed, gone, judged = {}, set(), set()
        for name in names:
            entry = self._nodes.get(name)
            if entry is None:
                continue
            if entry.counted is not self._counts(entry, now):
                self._tallies_due.add(name)
                self._changed.set()
            bound = self._bound(entry, now)
            self._reopen(name, entry, frozenset(b.pod.key for b in bound))
            before = self._views.get(name)
            if entry.present:
                facts = _facts(name, entry, bound)
                view = changed[name] = view_node(facts, now, self._stale_after, self._hold)
                self._look_again(name, entry, view.changes_at)
                self._links.swap(before, view)
                if not view.judged_like(before):
                    judged.add(name)
                continue
            if before is not None:
                self._links.swap(before, None)
                gone.add(name)
                judged.add(name)
            if entry.heartbeat is None and not entry.pods and not entry.assumed:
                del self._nodes[name]
        self._views = self._views.after(changed, gone)
        return frozenset(judged)

    def _bound(self, entry: _Node, now: float) -> tuple[BoundPod, ...]:
        """The node's pods that may count by prediction."""
        learned, cut = self._totals.demands, entry.said.footprint is not None and mice_cut(entry.said.footprint)
        bound = []
        for pod in (*entry.pods.values(), *entry.assumed.values()):
            since = self._running_since.get(pod.uid)
            if not pod.ended and (cut or since is None or since + self._hold > now):
                bound.append(BoundPod(pod, predict(pod.declared, learned.get(pod.key), self._default_rate), since))
        return tuple(bound)

    def _reopen(self, name: str, entry: _Node, keys: frozenset[WorkloadKey]) -> None:
        for key in keys - entry.open:
            self._open.setdefault(key, set()).add(name)
        for key in entry.open - keys:
            self._open[key].discard(name)
            if not self._open[key]:
                del self._open[key]
        entry.open = keys
