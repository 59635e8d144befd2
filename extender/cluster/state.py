# SPDX-License-Identifier: Apache-2.0
"""What the watches have shown, and the snapshot made of it.

Enters: Nodes, Leases, Pods and TrafficFootprints, from the watches' threads. Leaves: an immutable Snapshot,
swapped as a whole in one place (``_publish``). Only what changed is computed again: one node's event costs one
node. Guarantees: taking in an object never raises over its data; readers take no lock.

Two locks. ``_lock`` guards everything that requests touch, and nobody holds it for longer than ``AT_ONCE`` views
take. ``_totals_lock`` guards what workloads were measured to do, which takes longer after a list; whoever needs
both takes it first.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

import structlog

from extender.cluster import explain_view
from extender.cluster.assumptions import ASSUME_SECONDS, Assumptions
from extender.cluster.deadlines import Deadlines
from extender.cluster.node_entry import NO_ANNOTATION, LeaseInfo, NodeInfo, read_annotation
from extender.cluster.node_views import NodeViews
from extender.cluster.pod_records import PodRecords
from extender.cluster.workload_totals import NodeTallies, WorkloadTotals
from extender.model.demand import DEFAULT_ELEPHANT_RATE, Tally
from extender.model.ledger import HOLD_SECONDS
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import REMEMBERED_CHANGES, Snapshot
from extender.model.trafficfootprint import Record
from footprint.models import NodeFootprint
from footprint.staleness import observe

COALESCE_SECONDS: Final = 0.005
"""How long the first event waits for others: a burst of binds becomes a few snapshots instead of one each."""

TICK_SECONDS: Final = 1.0
"""How often the state looks for what time alone has changed: staleness, predictions, assumptions."""

AT_ONCE: Final = 32
"""Views computed under one hold of the lock, some milliseconds. Requests wait for no longer than that, whatever a
list or a minute without Leases has changed."""

_LET_IN_SECONDS: Final = 0.0001
"""A thread that releases a lock and takes it again at once keeps it, unless it sleeps in between."""

_log = structlog.get_logger()


class ClusterState:
    """See the module. ``stale_after`` and ``hold`` are seconds, ``default_rate`` bit/s.

    ``clock`` is monotonic seconds; ``assumption_clock`` is the one by which assumed pods expire, where ``clock``
    stands still.
    """

    def __init__(
        self,
        *,
        stale_after: float,
        hold: float = HOLD_SECONDS,
        default_rate: float = DEFAULT_ELEPHANT_RATE,
        clock: Callable[[], float] = time.monotonic,
        assumption_clock: Callable[[], float] | None = None,
    ) -> None:
        self._default_rate, self._clock, self._assumption_clock = default_rate, clock, assumption_clock or clock
        self._lock, self._totals_lock = threading.Lock(), threading.Lock()
        self._changed = threading.Event()
        self._pods = PodRecords(default_rate, TICK_SECONDS)
        self._assumptions = Assumptions()
        self._deadlines = Deadlines()
        self._totals = WorkloadTotals(default_rate)
        self._views = NodeViews(
            self._totals, self._assumptions, self._pods.running_since,
            stale_after=stale_after, hold=hold, default_rate=default_rate,
        )  # fmt: skip
        self._dirty: set[str] = set()
        """Nodes whose views are to be computed again."""
        self._recount: set[str] = set()
        """Nodes whose tallies may differ from those in the totals."""
        self.rounds = 0
        """Times that nothing was left to take in."""
        self._followed: set[str] | None = None
        """Nodes that may look different since somebody who follows last asked; None: nobody follows."""
        self.snapshot = Snapshot(
            self._views.views, self._totals.demands, default_rate=default_rate, records=self._totals.records
        )
        """The current state; read it once per request."""
        self.malformed_footprints: Counter[str] = Counter()
        """Annotations that were no footprint, by reason."""

    # Intake: a few dictionary operations each; ``apply`` does the work.

    def _touch(self, name: str) -> None:
        self._dirty.add(name)
        self._changed.set()

    def _touch_tallies(self, name: str) -> None:
        self._recount.add(name)
        self._touch(name)

    def put_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        """Take in nodes as they are now."""
        for node in nodes:
            if not self._differs(node):
                continue
            annotation = read_annotation(node.annotation)
            if annotation.reason:
                self.malformed_footprints[annotation.reason] += 1
                _log.warning("annotation passed over", node=node.name, problem=annotation.problem)
            with self._lock:
                entry = self._views.entry(node.name)
                entry.put(True, node.annotation, annotation)
                entry.group = node.group
                self._touch_tallies(node.name)

    def _differs(self, node: NodeInfo) -> bool:
        """Most Node events (the kubelet's status) leave our annotation as it was. Those cost nothing."""
        entry = self._views.entries.get(node.name)
        return (
            entry is None or not entry.present or entry.text != node.annotation or entry.group != node.group
        )  # fmt: skip

    def drop_node(self, name: str) -> None:
        """The Node object is gone. Its Lease and pods may follow later, or not."""
        with self._lock:
            if (entry := self._views.entries.get(name)) is not None:
                entry.put(False, None, NO_ANNOTATION)
                self._touch_tallies(name)

    def put_lease(self, lease: LeaseInfo) -> None:
        """A sign of life, if the marker changed."""
        with self._lock:
            entry = self._views.entry(lease.node)
            renewal = observe(entry.renewal, lease.marker, self._clock())
            if renewal is not entry.renewal:
                entry.renewal = renewal
                self._touch_tallies(lease.node)

    def drop_lease(self, node: str) -> None:
        """The Lease object is gone."""
        with self._lock:
            if (entry := self._views.entries.get(node)) is not None:
                entry.renewal = None
                self._touch_tallies(node)

    def node_names(self) -> set[str]:
        """Nodes that are there."""
        with self._lock:
            return {name for name, entry in self._views.entries.items() if entry.present}

    def leased(self) -> set[str]:
        """Nodes whose Lease is known."""
        with self._lock:
            return {name for name, entry in self._views.entries.items() if entry.renewal is not None}

    def put_pod(self, pod: PodInfo) -> None:
        """Take in a pod as it is now."""
        with self._lock:
            change = self._pods.put(pod, self._clock())
            if change is None:
                return
            if pod.node or pod.ended:
                self._forget_assumed(pod.uid)
            if change.waiting:
                self._changed.set()
            if change.before is not None and change.before.node != pod.node:
                self._leave(change.before)
            self._touch_machine(change.machine)
            if pod.node:
                entry = self._views.entry(pod.node)
                entry.pods[pod.uid] = pod
                if pod.ended:
                    entry.end(pod.uid)
                self._touch(pod.node)

    def drop_pod(self, uid: str) -> None:
        """The Pod object is gone."""
        with self._lock:
            change = self._pods.drop(uid, self._clock())
            self._forget_assumed(uid)
            if change.waiting:
                self._changed.set()
            if change.before is not None:
                self._leave(change.before)
            self._touch_machine(change.machine)

    def _touch_machine(self, pods: Iterable[PodInfo]) -> None:
        """A pod of a virtual machine has changed, and with it perhaps what counts of the others."""
        for node in {pod.node for pod in pods if pod.node}:
            self._touch_tallies(node)

    def _leave(self, pod: PodInfo) -> None:
        """The pod is on its node no more."""
        if not pod.node:
            return
        entry = self._views.entry(pod.node)
        entry.pods.pop(pod.uid, None)
        entry.end(pod.uid)
        self._touch(pod.node)

    def put_records(self, changes: Mapping[WorkloadKey, Record | None]) -> None:
        """Take in what TrafficFootprints say of some workloads; None: nothing any more."""
        with self._totals_lock:
            self._totals.put_records(changes)
            with self._lock:
                self._changed.set()

    # Requests.

    def assume(self, pod: PodInfo, node: str, seconds: float = ASSUME_SECONDS) -> None:
        """Count ``pod`` on ``node`` from now until the watch shows where it went, for ``seconds`` at most."""
        with self._lock:
            if self._pods.settled(pod.uid):
                return
            if before := self._assumptions.node_of(pod.uid):
                self._touch(before)
            self._assumptions.add(pod, node, self._assumption_clock() + seconds)
            self._views.entry(node)
            self._publish({node})

    def considering(self, uid: str) -> Snapshot:
        """The snapshot for a request about the pod ``uid``. The request voids the pod's last attempt: the pod must
        not stand in its own way."""
        if uid in self._assumptions:
            with self._lock:
                if node := self._forget_assumed(uid):
                    self._publish({node})
        return self.snapshot

    def _forget_assumed(self, uid: str) -> str:
        if node := self._assumptions.forget(uid):
            self._touch(node)
        return node

    def now(self) -> float:
        """Seconds of the clock by which everything here is timed."""
        return self._clock()

    def without(self, pod: PodInfo) -> Snapshot:
        """The snapshot as it would be had ``pod`` not been placed yet (``extender.cluster.explain_view``)."""
        with self._lock:
            node = self._pods.by_uid.get(pod.uid, pod).node or self._assumptions.node_of(pod.uid)
            return explain_view.without(
                self.snapshot, self._views, self._pods.expected, uid=pod.uid, node=node, now=self._clock()
            )

    def nodes_of(self, uids: Iterable[str]) -> dict[str, str]:
        """The nodes of those of the pods that are bound and there."""
        with self._lock:
            return self._pods.nodes_of(uids)

    def find_pod(self, namespace: str, name: str) -> PodInfo | None:
        """The pod as the watch shows it; looks through all of them."""
        with self._lock:  # held for no longer than a copy takes: requests wait for it
            pods = list(self._pods.by_uid.values())
        return next((pod for pod in pods if (pod.ns, pod.name) == (namespace, name)), None)

    def published(self, name: str) -> tuple[NodeFootprint | None, str]:
        """What the node's annotation says, and the group it belongs to. Takes no lock."""
        entry = self._views.entries.get(name)
        return (None, "") if entry is None else (entry.annotation.footprint, entry.group)

    def follow(self) -> None:
        """Note from now on which nodes change; all of them count as changed at first."""
        with self._lock:
            self._followed = set(self._views.entries)

    def unfollow(self) -> None:
        """Nobody follows any more."""
        with self._lock:
            self._followed = None

    def changes(self) -> set[str]:
        """Nodes that the snapshot may show differently than when this was last asked."""
        with self._lock:
            followed = self._followed or set()
            self._followed = set()
            return followed

    def pods_on(self, name: str) -> list[PodInfo]:
        """Pods that are bound to the node."""
        with self._lock:
            entry = self._views.entries.get(name)
            return [] if entry is None else list(entry.pods.values())

    def pods_of(self, workloads: Collection[WorkloadKey]) -> dict[WorkloadKey, list[PodInfo]]:
        """The pods of each of the workloads; looks through all of them."""
        found: dict[WorkloadKey, list[PodInfo]] = {key: [] for key in workloads}
        if found:
            with self._lock:
                pods = list(self._pods.by_uid.values())
            for pod in pods:
                if pod.key in found:
                    found[pod.key].append(pod)
        return found

    # Figures.

    @property
    def pods_waiting(self) -> int:
        """Pods without a node, now; snapshots show them once a tick."""
        return len(self._pods.waiting)

    @property
    def annotation_problems(self) -> Counter[str]:
        """Pods' annotations that were not understood, by key."""
        return self._pods.problems

    @property
    def view_failures(self) -> int:
        """Views of single nodes that could not be computed; those nodes count as unknown."""
        return self._views.failures

    def pod_uids(self) -> set[str]:
        """All pods."""
        with self._lock:
            return set(self._pods.by_uid)

    def measured(self) -> dict[WorkloadKey, Tally]:
        """What is measured of each workload, over all nodes whose data is fresh."""
        with self._totals_lock:
            return dict(self._totals.totals)

    @property
    def settled(self) -> bool:
        """The snapshot shows all that was taken in, and who waited a tick ago."""
        with self._lock:
            return not (self._dirty or self._recount or self._totals.pending or self._totals_differ)

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
        """Let ``run`` check its stop event at once."""
        self._changed.set()

    def apply(self) -> bool:
        """Take in what changed and swap the snapshot; False when nothing did."""
        different = False
        while self._pass_deadlines():
            time.sleep(_LET_IN_SECONDS)
        while True:
            self._update_totals()
            with self._lock:
                some = set(itertools.islice(self._dirty, AT_ONCE))
                copied = self._pods.waiting.copy(self._clock())
                if some or copied or self._totals_differ:
                    different = True
                    self._publish(some)
                elif not self._recount and not self._totals.pending:
                    self._changed.clear()
                    self.rounds += 1
                    return different
            if len(some) == AT_ONCE:
                time.sleep(_LET_IN_SECONDS)

    @property
    def _totals_differ(self) -> bool:
        """From those that the snapshot shows."""
        shown = self.snapshot
        return shown.learned is not self._totals.demands or shown.records is not self._totals.records

    def _publish(self, names: set[str]) -> None:
        """Swap the snapshot for one in which ``names`` are as they are now."""
        self._dirty -= names
        if self._followed is not None:
            self._followed |= names
        rebuilt = self._views.rebuild(names, self._clock())
        for name, moment in rebuilt.change_at.items():
            self._deadlines.note(name, moment)
        if rebuilt.recount:
            self._recount |= rebuilt.recount
            self._changed.set()
        before, links = self.snapshot, self._views.links
        keep = links.to_keep(self._pods.expected)
        self.snapshot = Snapshot(
            self._views.views, self._totals.demands, self._pods.waiting.shown, self._default_rate,
            links.scarce(keep), before.version + 1, (*before.recent[1 - REMEMBERED_CHANGES :],
            frozenset(rebuilt.judged)), elephants_known=keep > 0, records=self._totals.records, )  # fmt: skip

    def _pass_deadlines(self) -> bool:
        """Note nodes whose views time alone has changed. True when more may be due."""
        with self._lock:
            for name in self._assumptions.expire(self._assumption_clock()):
                self._touch(name)
            now = self._clock()
            names, more = self._deadlines.due(now)
            for name in names:
                if (view := self._views.views.get(name)) is None:
                    continue
                if view.changes_at <= now:
                    self._touch_tallies(name)  # the next view notes the next moment
                else:
                    self._deadlines.note(name, view.changes_at)
            return more

    def _update_totals(self) -> None:
        """Update workloads' demands; nodes that expect pods of a changed workload become dirty."""
        with self._totals_lock:
            with self._lock:
                names, self._recount = self._recount | self._pods.guests.partners(self._recount), set()
            changed: set[WorkloadKey] = set()
            for name in names:
                changed |= self._totals.replace_node(name, self._tallies_of(name))
            different = self._totals.update(changed)
            with self._lock:
                self._pods.expected.update(self._totals.demands, ())
            for key in different:
                with self._lock:
                    self._pods.expected.update(self._totals.demands, (key,))
                    self._dirty.update(self._views.expecting(key))

    def _tallies_of(self, name: str) -> NodeTallies | None:
        """The node's tallies, if they count now; notes that they do."""
        with self._lock:
            pods, entry, now = self._pods, self._views.entries.get(name), self._clock()
            if entry is not None:
                entry.counted = self._views.counts(entry, now)
            if entry is None or not entry.present:
                pods.guests.forget(name, lambda pod: pod.uid not in pods.by_uid)
            if entry is None or not entry.counted:
                return None
            said = entry.annotation
            pods.guests.forget(name, lambda pod: pod.uid not in pods.by_uid and said.class_of(pod.uid) is None)
            twice = pods.guests.twice(name, lambda pod: self._views.measured_class(pod, now))
            return said.tallies_without(twice)
