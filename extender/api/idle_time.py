# SPDX-License-Identifier: Apache-2.0
"""Work between requests: stale entries of the tables are computed again before the next request needs them.

Enters: the moments at which responses were sent. Leaves: calls of ``work``, each a slice of 0.3 ms. Guarantees: a
slice begins only after 1 ms without a response, since prioritize follows filter in less; from a minute after
the last response on, the extender recomputes nothing. Belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

IDLE_SECONDS: Final = 0.001
"""Seconds after a response before a slice may begin."""
FOLLOW_SECONDS: Final = 0.02
"""Seconds between two checks for entries that the cluster's changes made stale, while no request comes."""
EXPECTED_SECONDS: Final = 60.0
"""Seconds after a response during which further requests are prepared for: a large cluster changes everywhere
within a minute. The first response after a longer silence takes as long as the very first one."""


class IdleTime:
    """See the module. ``work`` does one slice and says whether there is more to do."""

    def __init__(self, work: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._work, self._clock = work, clock
        self._slice: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._responded_at = self._expected_until = 0.0

    def response_sent(self) -> None:
        """A response was just sent: idle time begins anew."""
        self._responded_at = self._clock()
        self._expected_until = self._responded_at + EXPECTED_SECONDS
        if self._slice is None:
            self._slice = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._use)

    def _use(self) -> None:
        self._slice = None
        loop = asyncio.get_running_loop()
        if (rest := self._responded_at + IDLE_SECONDS - self._clock()) > 0:
            self._slice = loop.call_later(rest, self._use)
        elif self._work():
            self._slice = loop.call_later(0, self._use)
        elif self._pause is None:
            self._pause = loop.call_later(FOLLOW_SECONDS, self._check_again)

    def _check_again(self) -> None:
        self._pause = None
        if self._slice is None and self._clock() < self._expected_until:
            self._use()
