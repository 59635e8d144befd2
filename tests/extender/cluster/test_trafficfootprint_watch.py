# SPDX-License-Identifier: Apache-2.0
"""Following TrafficFootprints, over real HTTP, from a server that has them, has them not, or refuses them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from extender.cli import read_settings
from extender.cluster.offline import StateFeed
from extender.cluster.state import ClusterState
from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.cluster.trafficfootprint_watch import ResourceState, TrafficFootprintWatch
from extender.learning.config import LearnerConfig
from extender.learning.feed import LearningFeed
from extender.model.trafficfootprint import new_object
from tests.extender.learning.builders import BACKUP
from tests.footprint.cluster.scripted_api import Script, items, serving, until

ABSENT: tuple[int, Any] = (404, {"message": "the server could not find the requested resource"})
FORBIDDEN: tuple[int, Any] = (403, {"message": "trafficfootprints is forbidden"})


def served(name: str = "backup") -> tuple[int, Any]:
    made = new_object(BACKUP)
    return 200, items({**made, "metadata": {**made["metadata"], "name": name}}, version="1")


@contextmanager
def following(
    script: Script, folder: Path, retry_seconds: float
) -> Iterator[tuple[TrafficFootprintWatch, TrafficFootprintIndex]]:
    with serving(script, folder) as client:
        index, stop = TrafficFootprintIndex(lambda _changes: None), threading.Event()
        watch = TrafficFootprintWatch(client, index, retry_seconds=retry_seconds)
        thread = watch.start(stop)
        try:
            yield watch, index
        finally:
            stop.set()
            script.over.set()
            watch.interrupt()
            thread.join(30)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("answer", "state", "remedy"),
    [(ABSENT, ResourceState.ABSENT, "crd.yaml"), (FORBIDDEN, ResourceState.FORBIDDEN, "extender-rbac.yaml")],
)
def test_a_cluster_without_the_resource_is_named_counted_and_logged_once(
    tmp_path: Path, answer: tuple[int, Any], state: ResourceState, remedy: str
) -> None:
    script = Script([answer, answer, answer, served()], [(200, [Script.HOLD])])
    with capture_logs() as logs, following(script, tmp_path, 0.01) as (watch, index):
        assert until(lambda: watch.state is ResourceState.FOLLOWED)
        assert until(lambda: BACKUP in index.records())
        assert watch.errors == 3
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [(w["state"], remedy in w["remedy"]) for w in warnings] == [(state.value, True)]


def test_a_cluster_without_the_resource_is_asked_again_at_leisure(tmp_path: Path) -> None:
    script = Script([ABSENT], [(200, [Script.HOLD])])
    with following(script, tmp_path, 3600) as (watch, _book):
        assert until(lambda: watch.state is ResourceState.ABSENT)
        assert not watch.synced.is_set()
    assert len(script.asked) == 1


def test_a_definition_that_is_removed_takes_what_was_remembered_with_it(tmp_path: Path) -> None:
    script = Script([served(), ABSENT], [(200, []), ABSENT])
    with following(script, tmp_path, 3600) as (watch, index):
        assert until(lambda: watch.state is ResourceState.ABSENT)
        assert index.records() == {}


def test_a_right_that_is_withdrawn_leaves_what_is_known(tmp_path: Path) -> None:
    script = Script([served()], [FORBIDDEN])
    with following(script, tmp_path, 3600) as (watch, index):
        assert until(lambda: watch.state is ResourceState.FORBIDDEN)
        assert BACKUP in index.records()


def test_an_object_that_is_none_is_passed_over_and_counted(tmp_path: Path) -> None:
    _, listing = served()
    script = Script([(200, {**listing, "items": [{"metadata": {}}, *listing["items"]]})], [(200, [Script.HOLD])])
    with following(script, tmp_path, 3600) as (watch, index):
        assert until(lambda: BACKUP in index.records())
        assert watch.undecodable == 1


def test_readiness_does_not_wait_for_learning_and_its_state_is_on_metrics(tmp_path: Path) -> None:
    script = Script([ABSENT], [(200, [Script.HOLD])])
    with serving(script, tmp_path) as client:
        state = ClusterState(stale_after=180.0)
        feed = LearningFeed(StateFeed(), state, client, namespace="tf", config=LearnerConfig())
        registry = CollectorRegistry()
        registry.register(feed.collectors[0])

        def shown(line: str) -> bool:
            return line in generate_latest(registry).decode()

        feed.start()
        try:
            assert feed.waiting_for == []
            assert until(lambda: shown('traffic_footprint_extender_learning_state{state="absent"} 1.0'))
            assert shown("traffic_footprint_extender_learning_leads 0.0")
            assert list(feed.by_resource) == ["trafficfootprints"]
        finally:
            feed.stop()
    assert all("trafficfootprints" in asked for asked in script.asked), "no election without anything to write"


@pytest.mark.parametrize(("arguments", "learns"), [([], True), (["--learn"], True), (["--no-learn"], False)])
def test_learning_is_on_unless_switched_off(arguments: list[str], learns: bool) -> None:
    assert read_settings(arguments).learn is learns


def test_learning_can_be_switched_off_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_FOOTPRINT_LEARN", "false")
    assert not read_settings([]).learn


def test_retention_is_given_in_days() -> None:
    settings = read_settings(["--learn-retention", "7", "--learn-interval", "5", "--learn-capacity", "9"])
    assert settings.learner == LearnerConfig(5.0, 7 * 86400.0, 9)
