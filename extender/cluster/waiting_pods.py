# SPDX-License-Identifier: Apache-2.0
"""Since when pods have been waiting for a node.

Enters: pods as they come, bind and go. Leaves: an immutable copy for snapshots, renewed once a tick. A copy
per change would be costly in a burst, and waits are measured in minutes. Used under its owner's lock.
"""

from __future__ import annotations

from collections.abc import Mapping

from extender.model.ledger import NEVER
from extender.model.pods import PodInfo


class WaitingPods:
    """``tick`` is seconds between copies. Times are the caller's monotonic seconds."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._since: dict[str, float] = {}
        self._changed = False
        self._copy_at = -NEVER
        """The time from which a changed original is copied again."""
        self.shown: Mapping[str, float] = {}
        """Pod UID → when the pod was first seen without a node, as of the last copy."""

    def __len__(self) -> int:
        return len(self._since)

    def put(self, pod: PodInfo, now: float) -> bool:
        """Take in a pod as it is now; whether this changed who waits."""
        waits = not pod.node and not pod.ended
        if waits == (pod.uid in self._since):
            return False
        if not waits:
            return self.drop(pod.uid)
        self._since[pod.uid] = now
        self._changed = True
        return True

    def drop(self, uid: str) -> bool:
        """The pod is gone; whether this changed who waits."""
        if self._since.pop(uid, None) is None:
            return False
        self._changed = True
        return True

    def copy(self, now: float) -> bool:
        """Renew ``shown``, if the original changed and a tick has passed; whether it was renewed."""
        if not self._changed or now < self._copy_at:
            return False
        self.shown, self._changed = dict(self._since), False
        self._copy_at = now + self._tick
        return True
