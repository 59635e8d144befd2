# SPDX-License-Identifier: Apache-2.0
"""The elephants of a reading, with their rates. The kernel decides which flows are elephants.

Enters: the kernel's elephants and their flows, ``now``. Leaves: ``Elephant`` values. Guarantees: pure; costs
O(elephants). The kernel judges a flow at its packets, so only this module notices one that stops sending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from nodeagent.sources.base import UNATTRIBUTED, Elephant, FlowThresholds
from nodeagent.sources.ebpf.kernel.layout import FLOW_LOCAL, ORIGINAL, REPLY, ElephantEvent, FlowEntry
from nodeagent.sources.ebpf.values import endpoint

_WINDOW_TOLERANCE: Final = 0.9
"""Part of the window after which a rate is measured again; a reading may come a little early."""


@dataclass(slots=True)
class _Known:
    began: int
    """The kernel's time of its beginning. It differs when the flow ended being one and began again."""
    bytes: tuple[int, int]
    seen_at: float
    rate: float
    slow_since: float | None = None


class ElephantView:
    """Remembers each elephant's bytes from reading to reading."""

    def __init__(self, thresholds: FlowThresholds) -> None:
        self.thresholds = thresholds
        self._known: dict[int, _Known] = {}

    def advance(
        self,
        events: Iterable[tuple[ElephantEvent, FlowEntry]],
        uid_of: Callable[[int], str],
        now: float,
    ) -> tuple[Elephant, ...]:
        """The elephants at ``now`` (monotonic seconds), fastest first."""
        before, self._known, found = self._known, {}, []
        for event, flow in events:
            known = self._advance(before.get(event.flow), event, flow, now)
            self._known[event.flow] = known
            if not self._is_silent(known, now):
                found.append(_elephant(event, flow, known, uid_of))
        return tuple(sorted(found, key=lambda elephant: -elephant.rate))

    def _advance(self, known: _Known | None, event: ElephantEvent, flow: FlowEntry, now: float) -> _Known:
        carried = (flow.bytes[ORIGINAL], flow.bytes[REPLY])
        if known is None or known.began != event.time_ns:
            # No window has passed yet: it carried at least the elephants' rate.
            start = (event.bytes[ORIGINAL], event.bytes[REPLY])
            known = _Known(event.time_ns, start, event.time_ns / 1e9, self.thresholds.elephant_rate)
        elapsed = now - known.seen_at
        if elapsed < self.thresholds.rate_window * _WINDOW_TOLERANCE or elapsed <= 0:
            return known
        moved = max(carried[0] - known.bytes[0], carried[1] - known.bytes[1], 0)
        known.rate = moved * 8 / elapsed
        if known.rate >= self.thresholds.elephant_rate * self.thresholds.exit_factor:
            known.slow_since = None
        elif known.slow_since is None:
            known.slow_since = known.seen_at
        known.bytes, known.seen_at = carried, now
        return known

    def _is_silent(self, known: _Known, now: float) -> bool:
        return known.slow_since is not None and now - known.slow_since >= self.thresholds.exit_hold


def _elephant(event: ElephantEvent, flow: FlowEntry, known: _Known, uid_of: Callable[[int], str]) -> Elephant:
    tags = [flow.charge[0], *([flow.charge[1]] if flow.charge[1] else [])]
    return Elephant(
        owners=tuple(dict.fromkeys(uid_of(tag) for tag in tags)) or (UNATTRIBUTED,),
        protocol=event.protocol,
        source=endpoint(event.initiator, event.initiator_port),
        destination=endpoint(event.responder, event.responder_port),
        bytes=flow.bytes[ORIGINAL] + flow.bytes[REPLY],
        rate=known.rate,
        since=event.time_ns / 1e9,
        local=bool(flow.flags & FLOW_LOCAL),
    )
