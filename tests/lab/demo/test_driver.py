# SPDX-License-Identifier: Apache-2.0
"""The scenario as it is played: a cluster and a clock that are stand-ins, the order of what is done real."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Self

import pytest

from footprint.classes import TrafficClass
from footprint.cluster.client import connect
from footprint.codec import encode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from lab.demo import driver, watcher
from lab.demo.report import DRAIN_SECONDS
from lab.demo.scenario import KIND_LABEL, NAMESPACE, PHASE_LABEL, Scenario, end_of, timeline
from lab.demo.watcher import PodSeen, Seen, Watcher
from lab.lab import LabConfig
from tests.lab.demo.test_results import elephant_log, mouse_log

SCENARIO = Scenario(nodes=2)


class DriverClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class PlayedCluster:
    """A lab and its API: remembers what was asked, and when; its pods print their results at the end."""

    def __init__(self, clock: DriverClock) -> None:
        self.clock, self.began, self.config = clock, clock.now, LabConfig()
        self.id, self.api = "standin", self
        self.spawned: list[str] = []
        self.namespaces: list[str] = []
        self.sent: list[tuple[float, str, str, Any]] = []
        self.pods: dict[str, PodSeen] = {}
        self.left = self.watched = self.unwatched = False
        self.prints_at = end_of(SCENARIO) + 1.0

    def made(self, config: LabConfig) -> Self:
        self.config = config
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True

    def create_namespace(self, name: str) -> None:
        self.namespaces.append(name)

    def spawn_in(self, where: str, _argv: list[str], *, name: str) -> None:
        assert where == "outside"
        assert not self.sent, "somebody has to listen before the first pod sends"
        self.spawned.append(name)

    def pod_log(self, namespace: str, name: str) -> str:
        assert namespace == NAMESPACE
        if self.clock.now - self.began < self.prints_at:
            return '{"progress":1}'
        pod = self.pods[name]
        return mouse_log({1: 10}) if pod.labels[KIND_LABEL] == TrafficClass.MOUSE else elephant_log(1e8, 1.0)

    def request(self, _api: object, method: str, path: str, *, body: Any = None, **_: Any) -> dict[str, Any]:
        if method == "GET":
            return {"items": [{"metadata": {"name": p.name, "labels": p.labels}} for p in self.pods.values()]}
        self.sent.append((self.clock.now - self.began, method, path, body))
        if method == "POST":
            labels = body["spec"]["template"]["metadata"]["labels"]
            for number in range(body["spec"].get("replicas", 1)):
                name = f"{body['metadata']['name']}-{number}"
                self.pods[name] = PodSeen(name, name, "node1", labels)
        return {}

    # The watcher's part.

    def start(self) -> None:
        self.watched = True

    def stop(self) -> Seen:
        self.unwatched = True
        return self.seen

    @property
    def seen(self) -> Seen:
        return Seen(pods=dict(self.pods), node_writes={"node1": 2})


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedCluster]:
    clock = DriverClock()
    made = PlayedCluster(clock)
    monkeypatch.setattr(driver, "time", clock)
    monkeypatch.setattr(driver, "Lab", made.made)
    monkeypatch.setattr(driver, "request", made.request)
    monkeypatch.setattr(driver, "Watcher", lambda _api: made)
    yield made
    assert made.left


def test_everything_arrives_at_its_time_and_history_ends_before_the_day(cluster: PlayedCluster) -> None:
    driver.run(SCENARIO, extender=True, say=lambda _text: None)
    due = [
        (a.at, m["metadata"]["name"])
        for a in timeline(SCENARIO, driver.mouse, driver.elephant)
        for m in a.manifests
    ]
    posted = [(at, body["metadata"]["name"]) for at, method, _, body in cluster.sent if method == "POST"]
    assert [name for _, name in posted] == [name for _, name in due]
    assert [at for at, _ in posted] == pytest.approx([at for at, _ in due])
    [(at, _, path, body)] = [sent for sent in cluster.sent if sent[1] == "PATCH"]
    assert at == pytest.approx(SCENARIO.history_seconds)
    assert body == {"spec": {"replicas": 0}}
    assert path == f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/web-history"
    assert cluster.namespaces == [NAMESPACE]
    assert cluster.spawned == ["sink", "mouse-server"]


@pytest.mark.parametrize(("extender", "name"), [(False, "default"), (True, "extender")])
def test_a_run_is_named_for_its_scheduler_and_has_agents_either_way(
    cluster: PlayedCluster, extender: bool, name: str
) -> None:
    report = driver.run(SCENARIO, extender=extender, say=lambda _text: None)
    assert report.scheduler == name
    assert (cluster.config.extender, cluster.config.agents, cluster.config.nodes) == (extender, True, 2)


def test_results_that_come_late_are_waited_for_and_everybodys_are_in_the_report(cluster: PlayedCluster) -> None:
    report = driver.run(SCENARIO, extender=False, say=lambda _text: None)
    mice = sum(workload.replicas for workload in SCENARIO.mice)
    elephants = sum(workload.replicas for workload in SCENARIO.elephants) + SCENARIO.burst
    assert (len(report.mice), len(report.elephants), report.unplaced) == (mice, elephants, ())
    assert end_of(SCENARIO) + 1 <= report.seconds <= end_of(SCENARIO) + 2
    assert cluster.watched
    assert cluster.unwatched
    assert report.node_writes == {"node1": 2}


def test_results_that_never_come_are_not_waited_for_for_ever_and_are_named(cluster: PlayedCluster) -> None:
    cluster.prints_at = float("inf")
    report = driver.run(SCENARIO, extender=False, say=lambda _text: None)
    day = [pod.name for pod in cluster.pods.values() if pod.labels[PHASE_LABEL] != "history"]
    assert sorted(report.unplaced) == sorted(day)
    assert report.seconds < end_of(SCENARIO) + 60


def test_the_watches_end_with_a_run_that_fails(cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> dict[str, Any]:
        raise RuntimeError("refused")

    monkeypatch.setattr(driver, "request", refuses)
    with pytest.raises(RuntimeError, match="refused"):
        driver.run(SCENARIO, extender=False, say=lambda _text: None)
    assert cluster.unwatched


def test_mice_wait_for_their_last_answers_as_long_as_a_lost_one_counts() -> None:
    command = driver.mouse(3.0)
    assert float(command[command.index("--drain") + 1]) == DRAIN_SECONDS


def node(uid: str = "", elephants: int = 0, text: str | None = None) -> dict[str, Any]:
    shown = PodFootprint(uid, "demo", uid, "Job/x", TrafficClass.ELEPHANT, el=elephants)
    annotation = (
        encode(NodeFootprint(src="t", cap=LinkRates(1e8, 1e8), pods=(shown,))).text if text is None else text
    )
    return {"metadata": {"name": "node1", "annotations": {NODE_FOOTPRINT: annotation}}}


def nodes(seen: Seen, *raw: dict[str, Any]) -> None:
    sink = watcher._Nodes(seen)
    for item in raw:
        sink.upsert(watcher._slim_node(item))


def test_changes_of_a_nodes_annotation_are_counted_and_the_first_sight_of_an_elephant_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, seen = DriverClock(), Seen()
    monkeypatch.setattr(watcher, "time", clock)
    sink = watcher._Nodes(seen)
    for raw in (node("a"), node("a"), node("a", 1), node("a", 2), {"metadata": {"name": "node2"}}):
        clock.sleep(1)
        sink.upsert(watcher._slim_node(raw))
    assert seen.node_writes == {"node1": 3}, "the same again is no write, a Node without annotation none"
    assert seen.elephant_shown == {"a": 1003.0}


def test_an_annotation_that_cannot_be_read_is_a_write_and_no_sight_of_anything() -> None:
    seen = Seen()
    nodes(seen, node(text="{"), node("a", 1))
    assert (seen.node_writes, seen.unreadable, list(seen.elephant_shown)) == ({"node1": 2}, 1, ["a"])


def test_a_pod_counts_from_when_it_is_bound_and_stays_after_it_is_gone() -> None:
    seen = Seen()
    sink = watcher._Pods(seen)
    raw: dict[str, Any] = {"metadata": {"uid": "u", "name": "p"}, "spec": {}}
    sink.replace([watcher._slim_pod(raw)])
    assert seen.pods == {}
    bound = watcher._slim_pod({**raw, "spec": {"nodeName": "node1"}})
    sink.upsert(bound)
    sink.delete(bound)
    assert seen.pods == {"u": PodSeen("u", "p", "node1", {})}


def test_the_watches_start_and_stop_although_the_api_is_away(tmp_path: Any) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    watching = Watcher(connect(str(path), user_agent="test"))
    watching.start()
    assert watching.stop() == Seen()
    assert not any(thread.is_alive() for thread in watching._threads)
