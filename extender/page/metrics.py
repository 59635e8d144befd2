# SPDX-License-Identifier: Apache-2.0
"""Metrics of the live page. Enters: the page. Leaves: a collector that reads it at each scrape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from extender.page.app import Page
from extender.page.decisions import Recorder

_P: Final = "traffic_footprint_extender_page_"
_REASONS: Final = ("too-many", "slow")


class PageCollector(Collector):
    """See the module."""

    def __init__(self, page: Page, recorder: Recorder) -> None:
        self._page, self._recorder = page, recorder

    def collect(self) -> Iterable[Metric]:
        board, refused = self._page.board, self._page.readers.refused
        yield GaugeMetricFamily(_P + "readers", "Readers of the page's stream now", len(self._page.readers))
        family = CounterMetricFamily(
            _P + "dropped_readers", "Readers that were refused or cut", labels=["reason"]
        )  # fmt: skip
        for reason in _REASONS:
            family.add_metric([reason], refused[reason])
        yield family
        yield CounterMetricFamily(
            _P + "merged_events", "Events that took together what a slow reader missed", board.merged
        )
        yield CounterMetricFamily(
            _P + "reloads", "Readers that were told to load the whole again", board.reloads
        )  # fmt: skip
        yield CounterMetricFamily(
            _P + "decisions_without_details", "Decisions whose lists were let go before they were read",
            self._recorder.lost_details,
        )  # fmt: skip
        yield CounterMetricFamily(_P + "failures", "Updates of the page that failed", board.failures)
        history = GaugeMetricFamily(_P + "history_bytes", "Memory of the last hour", labels=["of"])
        for name, size in board.history_sizes():
            history.add_metric([name], size)
        yield history
