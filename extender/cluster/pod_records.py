# SPDX-License-Identifier: Apache-2.0
"""All pods of the cluster: where they are, since when they run or wait, and what they are expected to send.

Enters: pods as the watch shows them. Leaves: for each change, what was known before. Used under its owner's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from extender.cluster.guests import Guests, machine_of, standing_for
from extender.cluster.waiting_pods import WaitingPods
from extender.model.mice_free_links import MiceFreeLinks
from extender.model.pods import PodInfo


class PodChange(NamedTuple):
    """What one event changed."""

    before: PodInfo | None
    """The pod as it was known; None: it was not."""
    waiting: bool
    """Who waits for a node has changed."""
    machine: tuple[PodInfo, ...] = ()
    """All pods of the same virtual machine, where it has several: what counts of each may have changed."""


class PodRecords:
    """``default_rate`` is bit/s, ``tick`` seconds between copies of who waits."""

    def __init__(self, default_rate: float, tick: float) -> None:
        self.by_uid: dict[str, PodInfo] = {}
        self.running_since: dict[str, float] = {}
        """Monotonic seconds when each running pod was first seen to run, with its guest in it, by UID."""
        self.guests = Guests()
        self.waiting = WaitingPods(tick)
        self.expected = MiceFreeLinks(default_rate)
        self.problems: Counter[str] = Counter()
        """Annotations that were not understood, by key."""

    def put(self, pod: PodInfo, now: float) -> PodChange | None:
        """Take in a pod as it is at ``now``; None: it is known as such."""
        before = self.by_uid.get(pod.uid)
        if before == pod:
            return None
        if before is None or before.declared.problems != pod.declared.problems:
            self.problems.update(problem.key for problem in pod.declared.problems)
        self.by_uid[pod.uid] = pod
        if before is not None and before.key != pod.key:
            self.expected.drop(before)
        left: tuple[PodInfo, ...] = ()
        if before is not None and machine_of(before) != machine_of(pod):  # its label was changed
            left = self._share(self.guests.leave(before), now)
        self.expected.put(pod)
        machine = left + self._share(self.guests.put(pod), now)
        if pod.running and pod.uid not in self.guests.incoming:
            self.running_since.setdefault(pod.uid, now)
        return PodChange(before, self.waiting.put(pod, now), machine)

    def drop(self, uid: str, now: float) -> PodChange:
        """The Pod object is gone at ``now``."""
        before = self.by_uid.pop(uid, None)
        self.running_since.pop(uid, None)
        machine: tuple[PodInfo, ...] = ()
        if before is not None:
            self.expected.drop(before)
            machine = self._share(self.guests.drop(before), now)
        return PodChange(before, self.waiting.drop(uid), machine)

    def _share(self, machine: list[PodInfo], now: float) -> tuple[PodInfo, ...]:
        """One of a machine's pods is expected to send what it sends, and the one that its guest came to has been
        running since then."""
        stands = standing_for(machine)
        for pod in machine:
            if pod is stands:
                self.expected.put(pod)
            else:
                self.expected.drop(pod)
            if pod.uid in self.guests.incoming:
                self.running_since.pop(pod.uid, None)
            elif pod.running and pod.uid in self.by_uid:
                self.running_since.setdefault(pod.uid, now)
        return tuple(machine)

    def settled(self, uid: str) -> bool:
        """The pod is bound or has ended."""
        pod = self.by_uid.get(uid)
        return pod is not None and (bool(pod.node) or pod.ended)

    def nodes_of(self, uids: Iterable[str]) -> dict[str, str]:
        """The nodes of those of the pods that are bound and there."""
        return {uid: pod.node for uid in uids if (pod := self.by_uid.get(uid)) is not None and pod.node}
