# SPDX-License-Identifier: Apache-2.0
"""The five seconds after SIGTERM: what the last reading found is published, and each part has its share."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from footprint.models import LinkRates
from nodeagent import agent as module
from nodeagent.agent import Agent
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.metrics import LoopState, new_registry
from nodeagent.node.link import Link
from nodeagent.node.pods import PodStore
from nodeagent.publishing import node_writer as kubernetes_writer
from nodeagent.publishing.decide import WritePolicy
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.node_writer import NodeWriter
from nodeagent.sources.base import Counters, FlowThresholds, Locality, Reading
from nodeagent.sources.ctnetlink.socket import SILENCE_SECONDS

API: Any = object()


class Bursting:
    """Carries nothing until ``stop`` is set; the reading after that finds ten megabytes."""

    name = "bursting"
    keep = pinned = False

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def open(self) -> None: ...
    def close(self) -> None: ...
    def set_thresholds(self, thresholds: FlowThresholds) -> None: ...
    def set_locality(self, locality: Locality) -> None: ...
    def wait(self, timeout: float) -> bool:
        self._stop.wait(timeout)
        return False

    def read(self, now: float) -> Reading:
        carried = 10**7 if self._stop.is_set() else 0
        return Reading(now, 1, {"host": Counters(tx_bytes=carried)})


def test_a_change_that_only_the_last_reading_holds_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    def request(_api: Any, _method: str, _path: str, *, body: Any, **_options: Any) -> dict[str, Any]:
        written.append(body)
        return {}

    monkeypatch.setattr(kubernetes_writer, "request", request)
    stop, synced, writer, figures = threading.Event(), threading.Event(), NodeWriter(API, "n1"), LoopState()
    synced.set()
    writer.start()
    _registry, durations = new_registry()
    looping = Agent(
        source=Bursting(stop), store=PodStore(), synced=synced, writer=writer, reporter=EventReporter(API, "n1"),
        aggregator=Aggregator("bursting"), policy=WritePolicy(), figures=figures, durations=durations,
        find_link=lambda: Link("lo", LinkRates(1e9, 1e9)), poll_interval=0.05,
    )  # fmt: skip
    thread = threading.Thread(target=looping.run, args=(stop,))
    thread.start()
    assert writer.published.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(written) == 2, "nothing, and then what the last reading found"
    assert figures.footprint is not None
    assert figures.footprint.host.tx > 0
    assert writer.pending_age() == 0.0


def test_the_parts_of_an_exit_with_nobody_answering_fit_into_five_seconds() -> None:
    metrics_server = 0.5  # how often the standard library's server looks whether it is to end
    assert module._HEARS_STOP + SILENCE_SECONDS + module._LAST_WRITE + metrics_server < 5
    assert sum(kubernetes_writer.LAST_TIMEOUT) <= module._LAST_WRITE
