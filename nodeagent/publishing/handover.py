# SPDX-License-Identifier: Apache-2.0
"""Whether another agent follows this one, which is about to end.

Enters: the signal to end, and a function that reads this agent's own Node. Leaves: yes, so that the program in the
kernel stays for the next agent; or no. An agent does not know whether it is replaced or removed for good. But an
uninstall removes the agent's rights, within moments of its DaemonSet (Helm) or before it (kustomize). So the
answer is yes only when the API server still lets the agent read its Node ``SETTLED`` seconds later. On a busy node
one response may take seconds, so that the question is repeated until ``LIMIT``. No response by then means no. Two
cases go unnoticed: a DaemonSet that is deleted alone, and a node that its selector now leaves out. There
``traffic-footprint-nodeagent unload`` removes the program.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import structlog

from footprint.cluster.client import ApiError

SETTLED: Final = 3.0
"""Seconds after which rights that go with the DaemonSet are gone."""
LIMIT: Final = 10.0
"""Seconds after the order to end; no response by then means no. Five of the chart's 15 seconds remain. An agent
that is killed meanwhile leaves its program."""
ASKING: Final = (2.0, 4.0)
"""Seconds to connect and to wait for one response."""
_BETWEEN: Final = 0.5
_TAKEN_AWAY: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})

_log = structlog.get_logger(__name__)


def is_followed(
    read_node: Callable[[], object],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Read the Node (``read_node`` raises ApiError) until a read that began ``SETTLED`` seconds from now or later
    succeeds, the rights are gone, or ``LIMIT`` seconds have passed."""
    begun = clock()
    while (asked := clock() - begun) < LIMIT:
        try:
            read_node()
        except ApiError as error:
            if error.status in _TAKEN_AWAY:
                _log.info("the rights to read the Node are gone, as after an uninstall", status=error.status)
                return False
        else:
            if asked >= SETTLED:
                return True
        rest = SETTLED - (clock() - begun)
        sleep(min(_BETWEEN, rest) if rest > 0 else _BETWEEN)
    return False


class Handover:
    """Runs ``is_followed`` in a thread of its own from the order to end on, beside the last reading and write."""

    def __init__(self, stop: threading.Event, ask: Callable[[], bool]) -> None:
        self._stop, self._ask = stop, ask
        self._followed: bool | None = None
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
        if self._followed is None:
            _log.warning("the API server did not say in time whether an agent follows", seconds=LIMIT)
        return bool(self._followed)
