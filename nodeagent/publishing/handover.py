# SPDX-License-Identifier: Apache-2.0
"""Whether another agent follows this one, which is about to end.

Enters: the signal to end, and a function that reads this agent's own Node. Leaves: yes, so that the program in the
kernel stays for the next agent; or no. An agent does not know whether it is replaced or removed for good. But an
uninstall removes the agent's rights, within moments of its DaemonSet (Helm) or before it (kustomize). So the
answer is yes only when the API server still lets the agent read its Node ``SETTLED`` seconds later. No response
means no. Two cases go unnoticed: a DaemonSet that is deleted alone, and a node that its selector now leaves out.
There ``traffic-footprint-nodeagent unload`` removes the program.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from footprint.cluster.client import ApiError

SETTLED: Final = 3.0
"""Seconds after which rights that go with the DaemonSet are gone."""
LIMIT: Final = 4.0
"""Seconds after the order to end; no response by then means no. One of the agent's five seconds remains."""
_BETWEEN: Final = 0.5
_TAKEN_AWAY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


def is_followed(
    read_node: Callable[[], object],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Read the Node (``read_node`` raises ApiError) until ``SETTLED`` seconds have passed, or the rights are gone.

    The last response counts.
    """
    end = clock() + SETTLED
    while True:
        last = clock() >= end
        try:
            read_node()
        except ApiError as error:
            if last or error.status in _TAKEN_AWAY:
                return False
        else:
            if last:
                return True
        sleep(_BETWEEN)


class Handover:
    """Runs ``is_followed`` in a thread of its own from the order to end on, beside the last reading and write."""

    def __init__(self, stop: threading.Event, ask: Callable[[], bool]) -> None:
        self._stop, self._ask = stop, ask
        self._followed = False
        self._until: float | None = None
        self._thread = threading.Thread(target=self._run, name="handover", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._stop.wait()
        self._until = time.monotonic() + LIMIT
        self._followed = self._ask()

    def followed(self) -> bool:
        """The answer, after the order to end was given; no when there is none within ``LIMIT`` seconds of it."""
        now = time.monotonic()
        self._thread.join(max(0.0, (self._until or now + LIMIT) - now))
        return self._followed
