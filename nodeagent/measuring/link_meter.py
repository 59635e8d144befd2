# SPDX-License-Identifier: Apache-2.0
"""The uplink's own counters → its rate: all that the link carries, whether conntrack sees it or not."""

from __future__ import annotations

from footprint.models import LinkRates
from footprint.units import MAX_RATE
from nodeagent.measuring.rates import RATE_TAU, Mean
from nodeagent.node.link import LinkCounters


class LinkMeter:
    """Smoothed like the owners' rates, so that both can be compared. No effects beyond its own state."""

    def __init__(self) -> None:
        self._previous: tuple[str, LinkCounters, float] | None = None
        self._tx, self._rx = Mean(RATE_TAU), Mean(RATE_TAU)

    def advance(self, interface: str | None, counters: LinkCounters | None, now: float) -> LinkRates | None:
        """bit/s at monotonic ``now``; None until two readings of one interface's growing counters."""
        previous = self._previous
        self._previous = (interface, counters, now) if interface and counters else None
        if self._previous is None or previous is None or previous[0] != interface or counters is None:
            self._restart()
            return None
        seconds = now - previous[2]
        tx, rx = counters.tx_bytes - previous[1].tx_bytes, counters.rx_bytes - previous[1].rx_bytes
        if seconds <= 0 or tx < 0 or rx < 0:
            self._restart()
            return None
        self._tx.add(min(tx * 8 / seconds, MAX_RATE), seconds)
        self._rx.add(min(rx * 8 / seconds, MAX_RATE), seconds)
        return LinkRates(self._tx.value, self._rx.value)

    def _restart(self) -> None:
        self._tx.restart()
        self._rx.restart()
