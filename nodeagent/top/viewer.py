# SPDX-License-Identifier: Apache-2.0
"""Readings → views.

Enters: a flow source, who names the addresses, a way to find the link. Leaves: one ``View`` per reading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from footprint.classes import ClassThresholds
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.meter import Meter
from nodeagent.node.link import Link
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, FlowSource
from nodeagent.top.names import Named, NamedPods
from nodeagent.top.notes import Warnings, hints
from nodeagent.top.view import View, build

_ANYWHERE: Final = (bytes(4),)
"""An owner is measured when it has an address; these have none of their own."""
_OTHERS: Final[Mapping[str, LocalPod]] = MappingProxyType(
    {
        name: LocalPod(uid=name, ns="", name=name, workload="", addresses=_ANYWHERE)
        for name in (HOST, UNATTRIBUTED, CARRIER)
    }
)


class Viewer:
    """Readings → views. Raises LinkError."""

    def __init__(
        self,
        source: FlowSource,
        *,
        named: Named | None,
        find_link: Callable[[], Link],
        thresholds: ClassThresholds,
        warnings: Warnings,
    ) -> None:
        self._warnings = warnings
        node = Aggregator(source.name, retention=0, thresholds=thresholds)
        self._meter = Meter(source, pods=NamedPods(named, warnings), aggregator=node, find_link=find_link)
        # In the form of pods, so that they have elephants, flows, mice and a class as well.
        self._others = Aggregator(source.name, retention=0, thresholds=thresholds)

    def tick(self, now: float) -> View | None:
        """One reading at monotonic ``now``; None while there are too few for a rate. Raises SourceUnavailable."""
        found, links = self._meter.measure(now), self._meter.links
        reading, link = found.reading, found.link
        others = self._others.advance(reading, _OTHERS, link.capacity)
        if found.footprint is None or others is None:
            return None
        notes = hints(
            reading, interface=link.interface, capacity=link.capacity, low_coverage=links.coverage.low,
            too_much=links.truth.too_much,
        )  # fmt: skip
        return build(
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), reading=reading, node=found.footprint,
            others=others, pods=found.pods, link=link,
            used=found.footprint.used if links.measured else None, coverage=links.coverage.all.ratio,
            notes=(*self._warnings.texts, *notes),
        )  # fmt: skip
