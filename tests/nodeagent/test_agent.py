# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from footprint.cluster.client import ApiError
from footprint.models import LinkRates, NodeFootprint
from nodeagent.agent import Agent
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.coverage import Coverage
from nodeagent.metrics import AgentCollector, LoopState, new_registry
from nodeagent.metrics_port import MetricsPort
from nodeagent.node.link import Link
from nodeagent.node.pods import PodStore, decode_pod
from nodeagent.publishing import events, heartbeat
from nodeagent.publishing import node_writer as kubernetes_writer
from nodeagent.publishing.decide import WritePolicy
from nodeagent.publishing.events import EventReporter
from nodeagent.publishing.heartbeat import Heartbeat
from nodeagent.publishing.node_writer import NodeProblemError, NodeWriter, read_node
from nodeagent.sources.base import FlowSource
from nodeagent.sources.changing import PATIENCE, ChangingSource
from tests.nodeagent.steady_source import SteadySource

API: Any = object()


class Server:
    """Stands in for the API server: answers in turn, remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self.fail: list[int] = []
        self.answered = threading.Condition()

    def __call__(self, _api: Any, method: str, path: str, *, body: Any = None, **_options: Any) -> dict[str, Any]:
        with self.answered:
            self.asked.append((method, path, body))
            self.answered.notify_all()
            if self.fail and (status := self.fail.pop(0)) != 200:
                raise ApiError(status, f"status {status}")
        return {"metadata": {"uid": "node-uid"}}

    def wait_for(self, count: int) -> None:
        with self.answered:
            assert self.answered.wait_for(lambda: len(self.asked) >= count, 10)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    for module in (kubernetes_writer, heartbeat, events):
        monkeypatch.setattr(module, "request", found)
    monkeypatch.setattr(kubernetes_writer, "backoff", lambda _attempt: 0.01)
    return found


def footprint(rate: float) -> NodeFootprint:
    return NodeFootprint(src="t", cap=LinkRates(1e9, 1e9), el=LinkRates(rate, 0))


def share(asked: tuple[str, str, Any]) -> str:
    return str(asked[2]["metadata"]["annotations"]["traffic-footprint.io/elephant-share"])


def test_a_failed_write_is_repeated_until_it_succeeds(server: Server) -> None:
    server.fail = [0, 503]
    writer = NodeWriter(API, "n1")
    writer.start()
    writer.submit(footprint(1e8))
    assert writer.published.wait(10)
    assert (writer.writes, writer.errors, writer.pending_age()) == (1, 2, 0.0)
    assert [asked[:2] for asked in server.asked] == [("PATCH", "/api/v1/nodes/n1")] * 3
    assert writer.close(5)


def test_each_crossing_is_told_of_once_by_the_write_that_succeeds(server: Server) -> None:
    server.fail, told = [0, 503], list[float]()
    writer = NodeWriter(API, "n1", told=told.append)
    now = time.monotonic()
    writer.submit(footprint(1e8), (now - 100,))
    writer.submit(footprint(2e8), (now - 50,))
    writer.start()
    assert writer.published.wait(10)
    writer.submit(footprint(3e8), ())
    assert writer.close(5)
    assert [round(seconds, -1) for seconds in told] == [100, 50]


def test_only_the_latest_footprint_is_written_when_the_server_is_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes_writer, "backoff", lambda _attempt: 3600.0)
    server.fail = [0]
    writer = NodeWriter(API, "n1")
    writer.start()
    writer.submit(footprint(1e8))
    server.wait_for(1)
    writer.submit(footprint(2e8))
    writer.submit(footprint(3e8))
    assert writer.pending_age() > 0
    assert writer.close(5)  # closing does not wait for the backoff
    assert [share(asked) for asked in server.asked] == ["10", "30"]


def test_closing_gives_up_when_the_server_is_away(server: Server) -> None:
    server.fail = [0] * 1000
    writer = NodeWriter(API, "n1")
    writer.start()
    writer.submit(footprint(1e8))
    assert writer.close(5) is False


@pytest.mark.parametrize(("status", "named"), [(404, "kubectl get nodes"), (403, "ClusterRole")])
def test_a_node_that_cannot_be_read_names_the_remedy(server: Server, status: int, named: str) -> None:
    server.fail = [status]
    with pytest.raises(NodeProblemError) as caught:
        read_node(API, "n1")
    assert named in caught.value.remedy


def test_a_server_that_is_away_is_no_problem_of_the_node(server: Server) -> None:
    server.fail = [0]
    with pytest.raises(ApiError):
        read_node(API, "n1")


def beating(may_renew: bool = True) -> Heartbeat:
    return Heartbeat(API, node="n1", namespace="ns", renew=60, may_renew=lambda: may_renew)


def test_a_missing_lease_is_created_and_owned_by_the_node(server: Server) -> None:
    server.fail = [404]
    heart = beating()
    heart.beat()
    assert [asked[0] for asked in server.asked] == ["PATCH", "GET", "POST"]
    lease = server.asked[-1][2]
    assert lease["metadata"]["name"] == "traffic-footprint-node-n1"
    assert lease["metadata"]["ownerReferences"][0]["uid"] == "node-uid"
    assert lease["spec"]["leaseDurationSeconds"] == 180
    assert heart.renewals == 1


def test_an_existing_lease_is_renewed_with_one_request(server: Server) -> None:
    beating().beat()
    [(method, path, body)] = server.asked
    assert (method, path) == (
        "PATCH", "/apis/coordination.k8s.io/v1/namespaces/ns/leases/traffic-footprint-node-n1",
    )  # fmt: skip
    assert body["spec"]["renewTime"].endswith("Z")


def test_no_heartbeat_while_what_is_published_is_not_what_is_measured(server: Server) -> None:
    heart = beating(may_renew=False)
    heart.beat()
    assert server.asked == []
    assert heart.withheld == 1


def test_no_heartbeat_before_the_first_write(server: Server) -> None:
    published, stop = threading.Event(), threading.Event()
    heart = beating()
    heart.start(published, stop)
    assert not server.asked
    published.set()
    server.wait_for(1)
    stop.set()


def whale() -> Any:
    return decode_pod({
        "metadata": {"uid": "u", "namespace": "d", "name": "p" * 253,
                     "annotations": {"traffic-footprint.io/class": "whale"}},
    })  # fmt: skip


def test_a_problem_is_reported_once_per_pod_and_value(server: Server) -> None:
    reporter = EventReporter(API, "n1")
    reporter.start()
    reporter.offer([whale()])
    reporter.offer([whale()])
    server.wait_for(1)
    assert reporter.problems == 1
    [(method, path, body)] = server.asked
    assert (method, path) == ("POST", "/apis/events.k8s.io/v1/namespaces/d/events")
    assert body["regarding"]["uid"] == "u"
    assert "whale" in body["note"]
    assert len(body["metadata"]["name"]) <= 253


def test_an_event_that_exists_already_is_no_failure(server: Server) -> None:
    server.fail = [409, 403]
    reporter = EventReporter(API, "n1")
    [problem] = whale().problems
    reporter.send(whale(), problem)
    with pytest.raises(ApiError):
        reporter.send(whale(), problem)


def agent(
    server: Server,
    synced: bool = True,
    source: FlowSource | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Agent, NodeWriter, LoopState, PodStore, SteadySource]:
    assert server is not None
    steady, writer, figures, store, known = (
        SteadySource(),
        NodeWriter(API, "n1"),
        LoopState(),
        PodStore(),
        threading.Event(),
    )
    if synced:
        known.set()
    writer.start()
    _registry, durations = new_registry()
    found = Agent(
        source=source or steady, store=store, synced=known, writer=writer, reporter=EventReporter(API, "n1"),
        aggregator=Aggregator("steady"), policy=WritePolicy(), find_link=lambda: Link("lo", LinkRates(1e9, 1e9)),
        figures=figures, durations=durations, poll_interval=0.01, clock=clock,
    )  # fmt: skip
    return found, writer, figures, store, steady


def test_the_loop_publishes_and_stops_with_everything_written(server: Server) -> None:
    looping, writer, figures, _store, _source = agent(server)
    stop = threading.Event()
    thread = threading.Thread(target=looping.run, args=(stop,))
    thread.start()
    assert writer.published.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert figures.readings >= 3
    assert figures.footprint is not None
    assert writer.pending_age() == 0


def test_nothing_is_published_before_the_pods_are_known(server: Server) -> None:
    looping, writer, figures, _store, _source = agent(server, synced=False)
    for _ in range(5):
        looping.tick()
    assert figures.footprint is not None
    assert writer.close(5)
    assert server.asked == []


def test_the_source_is_told_of_pods_when_they_change_and_not_else(server: Server) -> None:
    looping, writer, _figures, store, source = agent(server)
    looping.tick()
    looping.tick()
    assert len(source.localities) == 1
    store.upsert(decode_pod({
        "metadata": {"uid": "u", "namespace": "d", "name": "p"},
        "status": {"podIP": "10.0.0.9", "phase": "Running"},
    }))  # fmt: skip
    looping.tick()
    assert list(source.localities[-1].pods.values()) == ["u"]
    writer.close(5)


def test_a_source_that_does_not_see_the_link_is_changed_and_the_footprint_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Coverage, "_judge", lambda self: setattr(self, "low", True))
    monkeypatch.setattr(Coverage, "ratio", property(lambda _: 0.02))
    other = SteadySource()
    other.name = "ebpf-cgroup"
    source, now = ChangingSource(SteadySource(), lambda: other, SteadySource), itertools.count(1.0)
    looping, writer, figures, _store, _ = agent(server, source=source, clock=lambda: next(now))
    for _ in range(10):
        looping.tick()
    assert figures.footprint is not None
    assert figures.footprint.src == "steady"
    for _ in range(int(PATIENCE) + 10):
        looping.tick()
    assert (figures.source, figures.source_changes, figures.footprint.src) == ("ebpf-cgroup", 1, "ebpf-cgroup")
    assert other.sent > 0
    writer.close(5)


def test_a_pod_that_no_source_sees_is_told_of_in_footprint_log_and_metrics(server: Server) -> None:
    looping, writer, figures, store, _source = agent(server)
    device = '[{"interface": "net1", "device-info": {"type": "pci"}}]'
    store.upsert(decode_pod({
        "metadata": {
            "uid": "u", "namespace": "d", "name": "p",
            "annotations": {"k8s.v1.cni.cncf.io/network-status": device},
        },
        "status": {"podIP": "10.0.0.9", "phase": "Running"},
    }))  # fmt: skip
    with structlog.testing.capture_logs() as said:
        for _ in range(5):
            looping.tick()
    assert figures.footprint is not None
    assert "passthrough-unseen" in figures.footprint.bad
    told = [line for line in said if line.get("reason") == "passthrough-unseen"]
    assert [(line["pod"], line["interfaces"]) for line in told] == [("d/p", ["net1"])], "once"
    shown = {sample.labels["reason"]: sample.value for family in AgentCollector(figures, dict, dict).collect()
             if family.name.endswith("pods_unseen") for sample in family.samples}  # fmt: skip
    assert shown == {"passthrough-unseen": 1, "guests-unseen": 0}
    writer.close(5)


@pytest.fixture
def metrics() -> Iterator[tuple[LoopState, MetricsPort]]:
    registry, _durations = new_registry()
    figures = LoopState(source="t")
    registry.register(AgentCollector(figures, lambda: {"node_writes": 3}, lambda: {"write_pending_seconds": 1.5}))
    found = MetricsPort(
        registry, "127.0.0.1", 0,
        alive=lambda: figures.alive(1.0), ready=lambda: figures.measuring(1.0),
    )  # fmt: skip
    yield figures, found
    found.close()


def fetch(server: MetricsPort, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as response:
        return str(response.read().decode())


def test_metrics_are_served_before_and_after_the_first_footprint(metrics: tuple[LoopState, MetricsPort]) -> None:
    figures, server = metrics
    assert "traffic_footprint_agent_node_writes_total 3.0" in fetch(server, "/metrics")
    figures.footprint = footprint(1e8)
    text = fetch(server, "/metrics")
    assert 'traffic_footprint_agent_link_elephant_bytes_per_second{direction="tx",uplink=""} 1.25e+07' in text
    assert "traffic_footprint_agent_scrape_duration_seconds_count 1.0" in text
    assert 'traffic_footprint_agent_losses_total{kind="events-overrun"} 0.0' in text


def refused(server: MetricsPort, path: str) -> bool:
    """Whether the probe fails."""
    try:
        return fetch(server, path) != "ok\n"
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 503


def test_before_the_first_reading_the_agent_lives_and_is_not_ready(metrics: tuple[LoopState, MetricsPort]) -> None:
    figures, server = metrics
    assert fetch(server, "/healthz") == "ok\n"
    assert refused(server, "/readyz")
    figures.beat_at = time.monotonic()
    assert fetch(server, "/readyz") == "ok\n"


def test_liveness_and_readiness_fail_once_the_loop_stands_still(metrics: tuple[LoopState, MetricsPort]) -> None:
    figures, server = metrics
    figures.beat_at = time.monotonic()
    assert fetch(server, "/healthz") == fetch(server, "/readyz") == "ok\n"
    figures.beat_at -= 1000
    assert refused(server, "/healthz")
    assert refused(server, "/readyz")


def test_a_reading_is_what_makes_the_agent_ready(server: Server) -> None:
    looping, writer, figures, _store, _source = agent(server)
    assert not figures.measuring(1.0)
    looping.tick()
    assert figures.measuring(1.0)
    writer.close(5)
