# SPDX-License-Identifier: Apache-2.0
"""One worker for each pod: started for a new pod, told when the pod changes or disappears.

Enters: a reflector's calls, all from one thread. Leaves: orders to workers. Guarantees: a UID never gets a second
worker. A pod that had ended before this process saw it is not run again; only its deletion is confirmed.
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
        """Stop every pod once the reflector has stopped. Returns whether all ended within ``timeout`` seconds."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.tell(Order.SHUT_DOWN)
        deadline = time.monotonic() + timeout
        return all(worker.join(max(0.0, deadline - time.monotonic())) for worker in workers)
