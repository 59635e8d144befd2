# SPDX-License-Identifier: Apache-2.0
"""What fills the cluster state while the extender serves: watches, watches with learning, or a saved file.

Enters: nothing. Leaves: two protocols. Every feed of the extender satisfies ``Feed``; metrics read its watches as
``WatchCounters``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from footprint.staleness import stale_after

OUTDATED_SECONDS: Final = stale_after()
"""The API server sends a bookmark every minute, and a node whose Lease is older than this is unknown anyway."""


class WatchCounters(Protocol):
    """What is counted of one watched collection (``footprint.cluster.reflector``)."""

    @property
    def connects(self) -> int: ...
    @property
    def connected(self) -> bool: ...
    @property
    def relists(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def undecodable(self) -> int: ...
    @property
    def age(self) -> float:
        """Seconds since the API server last said anything about the collection."""
        ...


def outdated(watches: Mapping[str, WatchCounters]) -> dict[str, float]:
    """Watched collections that nothing was heard of for ``OUTDATED_SECONDS``, with that time in seconds."""
    ages = {resource: watch.age for resource, watch in watches.items()}
    return {resource: age for resource, age in ages.items() if age > OUTDATED_SECONDS}


class Feed(Protocol):
    """Fills the cluster state between ``start`` and ``stop``."""

    @property
    def by_resource(self) -> Mapping[str, WatchCounters]:
        """Watched collections by the plural of their resource."""
        ...

    @property
    def waiting_for(self) -> list[str]:
        """Collections that were not listed yet; empty once the state is complete."""
        ...

    def start(self) -> None: ...
    def stop(self) -> None: ...
