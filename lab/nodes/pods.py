# SPDX-License-Identifier: Apache-2.0
"""Pods of the API → workers: a new pod gets one, a changed or vanished one is told.

In: a reflector's calls, from its one thread. Guarantees: one worker for each UID, ever; pods that ended before
this kubelet saw them are not run again, only their deletion is confirmed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lab.nodes.plan import PodPlan
from lab.nodes.worker import Order, PodWorker


class PodDispatcher:
    """Sink of the pod reflector."""

    def __init__(self, make: Callable[[PodPlan], PodWorker]) -> None:
        self._make = make
        self._workers: dict[str, PodWorker] = {}

    def replace(self, items: Sequence[PodPlan]) -> None:
        present = {plan.uid for plan in items}
        for uid in [uid for uid in self._workers if uid not in present]:
            self._workers.pop(uid).tell(Order.ABANDON)
        for plan in items:
            self.upsert(plan)

    def upsert(self, item: PodPlan) -> None:
        worker = self._workers.get(item.uid)
        if worker is not None:
            if item.grace is not None:
                worker.tell(Order.DELETE, item.grace)
        elif not item.ended or item.grace is not None:
            self._workers[item.uid] = worker = self._make(item)
            worker.start()

    def delete(self, item: PodPlan) -> None:
        worker = self._workers.pop(item.uid, None)
        if worker is not None:
            worker.tell(Order.ABANDON)

    def shut_down(self, timeout: float) -> bool:
        """Stop every pod; whether all were gone within ``timeout`` seconds. For when the reflector has stopped."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.tell(Order.SHUT_DOWN)
        deadline = time.monotonic() + timeout
        return all(worker.join(max(0.0, deadline - time.monotonic())) for worker in workers)
