# SPDX-License-Identifier: Apache-2.0
"""All pods of the cluster: where they are, since when they run or wait, and what they are expected to send.

Enters: pods as the watch shows them. Leaves: for each change, what was known before. Used under its owner's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from extender.cluster.waiting_pods import WaitingPods
from extender.model.mice_free_links import MiceFreeLinks
from extender.model.pods import PodInfo


class PodChange(NamedTuple):
    """What one event changed."""

    before: PodInfo | None
    """The pod as it was known; None: it was not."""
    waiting: bool
    """Who waits for a node has changed."""


class PodRecords:
    """``default_rate`` is bit/s, ``tick`` seconds between copies of who waits."""

    def __init__(self, default_rate: float, tick: float) -> None:
        self.by_uid: dict[str, PodInfo] = {}
        self.running_since: dict[str, float] = {}
        """Monotonic seconds when each running pod was first seen to run, by UID."""
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
        self.expected.put(pod)
        if pod.running:
            self.running_since.setdefault(pod.uid, now)
        return PodChange(before, self.waiting.put(pod, now))

    def drop(self, uid: str) -> PodChange:
        """The Pod object is gone."""
        before = self.by_uid.pop(uid, None)
        self.running_since.pop(uid, None)
        if before is not None:
            self.expected.drop(before)
        return PodChange(before, self.waiting.drop(uid))

    def settled(self, uid: str) -> bool:
        """The pod is bound or has ended."""
        pod = self.by_uid.get(uid)
        return pod is not None and (bool(pod.node) or pod.ended)

    def nodes_of(self, uids: Iterable[str]) -> dict[str, str]:
        """The nodes of those of the pods that are bound and there."""
        return {uid: pod.node for uid in uids if (pod := self.by_uid.get(uid)) is not None and pod.node}
