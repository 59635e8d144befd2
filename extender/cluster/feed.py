# SPDX-License-Identifier: Apache-2.0
"""What fills the cluster state while the extender serves: watches, watches with learning, or a saved file.

Enters: nothing. Leaves: two protocols. Every feed of the extender satisfies ``Feed``; metrics read its watches as
``WatchCounters``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


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
