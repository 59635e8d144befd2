# SPDX-License-Identifier: Apache-2.0
"""A flow source whose owner sends at a steady rate."""

from __future__ import annotations

import time

from nodeagent.sources.base import Counters, FlowThresholds, Locality, Reading


class SteadySource:
    """1 MB more of ``owner`` at each reading."""

    name = "steady"
    keep = pinned = False

    def __init__(self, owner: str = "host") -> None:
        self.owner = owner
        self.localities: list[Locality] = []
        """In the order in which they were set."""
        self.sent = 0

    def open(self) -> None: ...
    def close(self) -> None: ...
    def set_thresholds(self, thresholds: FlowThresholds) -> None: ...
    def set_locality(self, locality: Locality) -> None:
        self.localities.append(locality)

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False

    def read(self, now: float) -> Reading:
        self.sent += 10**6
        return Reading(now, 1, {self.owner: Counters(tx_bytes=self.sent)})
