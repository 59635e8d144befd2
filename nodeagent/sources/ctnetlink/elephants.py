# SPDX-License-Identifier: Apache-2.0
"""Which flows are elephants: enough bytes, and a rate sustained over a window, with hysteresis on the way out.

Enters: flows whose counters grew, and ``now``. Leaves: the set of elephants. Guarantees: flows below
``elephant_bytes`` cost nothing. A window is never shorter than ``rate_window`` (less a tolerance for jitter),
however often readings are taken. Packet sizes play no part.
"""

from __future__ import annotations

from typing import Final

from nodeagent.sources.base import FlowThresholds
from nodeagent.sources.ctnetlink.flow import Standing, TrackedFlow

WINDOW_TOLERANCE: Final = 0.9
"""Part of ``rate_window`` after which a window may close; a reading may come a little early."""


class ElephantWatch:
    """All flows share one window; each remembers its bytes when it first moved in it."""

    def __init__(self, thresholds: FlowThresholds, now: float) -> None:
        self.thresholds = thresholds
        self.window = 0
        self.elephants: dict[int, TrackedFlow] = {}  # by identity: flows are mutable
        self._large: dict[int, TrackedFlow] = {}
        self._opened = now

    def moved(self, flow: TrackedFlow, bytes_orig: int, bytes_reply: int) -> None:
        """``flow`` is about to go from its recorded bytes to these."""
        if flow.window != self.window:
            flow.window, flow.base_orig, flow.base_reply = self.window, flow.bytes_orig, flow.bytes_reply
        if bytes_orig + bytes_reply >= self.thresholds.elephant_bytes:
            self._large[id(flow)] = flow

    def rebased(self, flow: TrackedFlow) -> None:
        """The flow's counters started again: its rate in this window is not known."""
        flow.window, flow.base_orig, flow.base_reply = self.window, flow.bytes_orig, flow.bytes_reply

    def forget(self, flow: TrackedFlow) -> None:
        """The flow ended."""
        self.elephants.pop(id(flow), None)
        self._large.pop(id(flow), None)
        flow.standing = None

    def judge(self, now: float) -> None:
        """Close the window if it is long enough, and decide who is an elephant."""
        elapsed = now - self._opened
        if elapsed < self.thresholds.rate_window * WINDOW_TOLERANCE or elapsed <= 0:
            return
        for flow in list(self.elephants.values()):
            self._stays(flow, self._rate(flow, elapsed), now)
        for flow in self._large.values():
            rate = self._rate(flow, elapsed)
            if flow.standing is None and rate >= self.thresholds.elephant_rate:
                flow.standing = Standing(now, rate)
                self.elephants[id(flow)] = flow
        self._large.clear()
        self.window += 1
        self._opened = now

    def _rate(self, flow: TrackedFlow, elapsed: float) -> float:
        if flow.window != self.window:
            return 0.0
        return max(flow.bytes_orig - flow.base_orig, flow.bytes_reply - flow.base_reply, 0) * 8 / elapsed

    def _stays(self, flow: TrackedFlow, rate: float, now: float) -> None:
        standing = flow.standing
        if standing is None:
            return
        standing.rate = rate
        if rate >= self.thresholds.elephant_rate * self.thresholds.exit_factor:
            standing.slow_since = None
            return
        if standing.slow_since is None:
            standing.slow_since = self._opened  # slow over the whole window
        if now - standing.slow_since >= self.thresholds.exit_hold:
            self.elephants.pop(id(flow))
            flow.standing = None
            # The next window judges it again.
            self._large.pop(id(flow), None)
