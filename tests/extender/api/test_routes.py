# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from extender.api.protocol import MAX_BODY
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.feed import OUTDATED_SECONDS
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.cost import LinkLoad
from extender.placement.tables import Tables
from footprint.declared import PlacementMode
from footprint.keys import POD_CLASS
from tests.extender.builders import M, annotation, elephant, mouse, node_json, patient, pod_info, pod_json
from tests.extender.client import Client


class Feed:
    """Stands in for the watches."""

    def __init__(self) -> None:
        self.by_resource: dict[str, Any] = {}
        self.waiting_for: list[str] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self) -> None:
        self.running = False


@pytest.fixture
def state() -> ClusterState:
    state = ClusterState(stale_after=180.0)
    pods = {"busy": [elephant("e", tx=180 * M)], "mice": [mouse("m")], "free": []}
    state.put_nodes([NodeInfo(name, annotation(*found)) for name, found in pods.items()])
    state.put_nodes([NodeInfo("broken", "{")])
    for name in pods:
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    return state


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def app(state: ClusterState, feed: Feed) -> FastAPI:
    return create_app(Service(state, feed, patient()))


@pytest.fixture
def client(app: FastAPI) -> Client:
    return Client(app)


NODES = ["busy", "broken", "mice", "free"]


def ask(names: list[str] | None = None, **pod: Any) -> dict[str, Any]:
    return {"Pod": pod_json(**pod), "Nodes": None, "NodeNames": NODES if names is None else names}


def metric(client: Client, line: str) -> float:
    found = [text for text in client.get("/metrics").text.splitlines() if text.startswith(line + " ")]
    return float(found[0].rsplit(" ", 1)[1]) if found else 0.0


def test_filter_answers_names_with_names(client: Client) -> None:
    answer = client.post("/filter", json=ask())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["NodeNames"] == ["broken", "free"]
    assert answer.json()["FailedAndUnresolvableNodes"] == {
        "busy": "elephants use 90 percent of the link (1 pod, 180 Mbit/s of 200 Mbit/s), "
        "too little is left for another 180 Mbit/s",
        "mice": "1 pod with mice flows lives here, elephants would use 90 percent of the link with this pod",
    }
    assert answer.json()["Error"] == ""


def test_filter_answers_nodes_with_nodes(client: Client) -> None:
    sent = {
        "Pod": pod_json(),
        "Nodes": {"metadata": {}, "items": [node_json(n) for n in NODES]},
        "NodeNames": None,
    }
    answer = client.post("/filter", json=sent).json()
    assert answer["Nodes"]["items"] == [node_json("broken"), node_json("free")]
    assert "NodeNames" not in answer


def test_filter_asked_twice_answers_the_same(client: Client) -> None:
    assert client.post("/filter", json=ask()).content == client.post("/filter", json=ask()).content


def test_prioritize_scores_every_name_with_an_integer(client: Client) -> None:
    answer = client.post("/prioritize", json=ask()).json()
    assert answer == [
        {"Host": "busy", "Score": 0},  # both elephants take twice as long: 15 * 2
        {"Host": "broken", "Score": 5},
        {"Host": "mice", "Score": 1},  # W(0.9) = 19 for one mouse: 10 * (1 - log 20 / log 31)
        {"Host": "free", "Score": 10},
    ]
    assert all(type(entry["Score"]) is int for entry in answer)


def test_prioritize_takes_full_nodes_too(client: Client) -> None:
    sent = {"Pod": pod_json(), "Nodes": {"items": [node_json(n) for n in NODES]}}
    assert [entry["Host"] for entry in client.post("/prioritize", json=sent).json()] == NODES


def test_a_pod_that_wishes_to_be_ignored_is(client: Client) -> None:
    sent = ask(annotations={"traffic-footprint.io/placement": "ignore"})
    assert client.post("/filter", json=sent).json()["NodeNames"] == NODES
    assert {entry["Score"] for entry in client.post("/prioritize", json=sent).json()} == {5}


def test_daemon_pods_are_never_touched(client: Client) -> None:
    sent = ask(owner=("DaemonSet", "bulk"), annotations={"traffic-footprint.io/class": "elephant"})
    assert client.post("/filter", json=sent).json()["NodeNames"] == NODES
    assert {entry["Score"] for entry in client.post("/prioritize", json=sent).json()} == {5}


def test_an_unknown_annotation_value_is_treated_as_absent(client: Client) -> None:
    sent = ask(annotations={"traffic-footprint.io/class": "whale", "traffic-footprint.io/placement": "maybe"})
    assert client.post("/filter", json=sent).json()["NodeNames"] == ["broken", "free"]  # as learned


def test_a_strict_pod_relaxes_after_it_waited_long_enough(state: ClusterState, feed: Feed) -> None:
    state.put_pod(pod_info("u-1"))
    state.apply()
    for relax_after, passed in ((1e6, []), (0.0, ["busy", "mice"])):
        policy = patient(PlacementMode.STRICT, relax_after)
        service, told = Service(state, feed, policy), list[tuple[str, float]]()
        service.verbs.on_relaxed = lambda pod, waited, told=told: told.append((pod.uid, waited))
        client = Client(create_app(service))
        answer = client.post("/filter", json=ask(["busy", "mice"])).json()
        assert answer["NodeNames"] == passed
        assert [uid for uid, waited in told if waited >= 0] == (["u-1"] if passed else [])
        assert metric(client, "traffic_footprint_extender_relaxed_requests_total") == bool(passed)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not-json"),
        (b"{", "not-json"),
        (b"[]", "wrong-shape"),
        (b'{"Pod":{"metadata":{"name":"p"}}}', "no-candidates"),
    ],
)
def test_a_malformed_body_is_answered_in_the_protocols_own_way(client: Client, body: bytes, reason: str) -> None:
    filtered, scored = client.post("/filter", content=body), client.post("/prioritize", content=body)
    assert (filtered.status_code, scored.status_code) == (200, 200)
    assert filtered.json()["Error"].startswith("not an ExtenderArgs: ")
    assert scored.json() == []
    for verb in ("filter", "prioritize"):
        line = f'traffic_footprint_extender_malformed_requests_total{{reason="{reason}",verb="{verb}"}}'
        assert metric(client, line) == 1
    if reason != "no-candidates":  # all nodes are, for an explanation
        assert client.post("/explain", content=body).status_code == 400


@pytest.mark.parametrize("verb", ["filter", "prioritize"])
def test_a_body_beyond_the_limit_is_refused_while_it_streams(client: Client, verb: str) -> None:
    pulled = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pulled
        for _ in range(20):
            pulled += 1
            yield b" " * 2**20

    assert client.post(f"/{verb}", content=endless()).status_code == 413
    line = f'traffic_footprint_extender_requests_total{{result="too-large",verb="{verb}"}}'
    assert metric(client, line) == 1
    assert pulled == MAX_BODY // 2**20 + 1


@pytest.mark.parametrize("path", ["/bind", "/preempt", "/nonsense"])
def test_unknown_verbs_are_not_found(client: Client, path: str) -> None:
    assert client.post(path, json={}).status_code == 404


def broken(*_: object) -> None:
    raise RuntimeError("boom")


def test_answers_that_fail_one_after_the_other_are_told_once_and_all_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tables, "filter", broken)
    with capture_logs() as lines:
        for _ in range(20):
            client.post("/filter", json=ask())
    assert [line["event"] for line in lines] == ["response failed, failed open"]
    assert metric(client, 'traffic_footprint_extender_requests_total{result="failed",verb="filter"}') == 20


def test_an_exception_inside_fails_open(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tables, "filter", broken)
    monkeypatch.setattr(Tables, "prioritize", broken)
    filtered, scored = client.post("/filter", json=ask()), client.post("/prioritize", json=ask())
    assert (filtered.status_code, scored.status_code) == (200, 200)
    assert filtered.json()["NodeNames"] == NODES
    assert filtered.json()["Error"] == ""
    assert {entry["Score"] for entry in scored.json()} == {5}
    assert "boom" not in filtered.text
    assert metric(client, 'traffic_footprint_extender_requests_total{result="failed",verb="filter"}') == 1
    assert metric(client, 'traffic_footprint_extender_requests_total{result="failed",verb="prioritize"}') == 1


def test_ready_only_after_the_first_sync(client: Client, feed: Feed) -> None:
    feed.waiting_for = ["pods"]
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "waiting for the first list of pods")
    assert client.get("/healthz").status_code == 200
    feed.waiting_for = []
    assert client.get("/readyz").status_code == 200


class Watch(NamedTuple):
    """What metrics read of one watch."""

    age: float
    connects: int = 1
    connected: bool = True
    relists: int = 0
    errors: int = 0
    undecodable: int = 0


def test_an_old_picture_of_the_cluster_is_named_by_health_and_metrics(state: ClusterState, feed: Feed) -> None:
    feed.by_resource = {"nodes": Watch(OUTDATED_SECONDS + 132.0), "pods": Watch(59.0)}
    client = Client(create_app(Service(state, feed, patient())))
    health = client.get("/healthz")
    assert (health.status_code, health.text) == (200, "ok\nnodes: nothing heard from the API server for 312 s")
    metrics = client.get("/metrics").text
    assert 'traffic_footprint_extender_watch_age_seconds{resource="nodes"} 312.0' in metrics
    assert 'traffic_footprint_extender_watch_age_seconds{resource="pods"} 59.0' in metrics


def test_nodes_that_could_not_be_computed_are_counted_by_stage(state: ClusterState, feed: Feed) -> None:
    service = Service(state, feed, patient())
    views = dict(state.snapshot.nodes)
    views["free"] = replace(views["free"], link=LinkLoad(5e-324, 0.0, tx=1.0))  # past the codec, which refuses it
    state.snapshot = replace(state.snapshot, nodes=views, version=state.snapshot.version + 1)
    client = Client(create_app(service))
    answer = client.post("/filter", json=ask(["free", "busy"], annotations={POD_CLASS: "elephant"})).json()
    assert "free" in answer["NodeNames"]
    metrics = client.get("/metrics").text
    assert 'traffic_footprint_extender_node_failures_total{stage="verdict"} 1.0' in metrics
    assert 'traffic_footprint_extender_node_failures_total{stage="view"} 0.0' in metrics


def test_before_anything_is_known_every_node_passes_and_scores_alike(feed: Feed) -> None:
    client = Client(create_app(Service(ClusterState(stale_after=180.0), feed, patient(PlacementMode.STRICT))))
    sent = ask(annotations={"traffic-footprint.io/class": "elephant"})
    assert client.post("/filter", json=sent).json()["NodeNames"] == NODES
    assert {entry["Score"] for entry in client.post("/prioritize", json=sent).json()} == {5}


def test_watches_live_as_long_as_the_application(app: FastAPI, feed: Feed) -> None:
    async def live() -> bool:
        async with app.router.lifespan_context(app):
            return feed.running

    assert asyncio.run(live())
    assert not feed.running


def test_metrics_show_nodes_by_state(client: Client) -> None:
    assert metric(client, 'traffic_footprint_extender_nodes{state="known"}') == 3
    assert metric(client, 'traffic_footprint_extender_nodes{state="malformed-footprint"}') == 1
    assert metric(client, 'traffic_footprint_extender_malformed_footprints_total{reason="not-json"}') == 1


def asked_in_turn(client: Client, sent: dict[str, Any]) -> tuple[list[str], dict[str, int]]:
    """What kube-scheduler learns: which names pass the filter, and the scores of those."""
    passed = client.post("/filter", json=sent).json()["NodeNames"]
    scored = client.post("/prioritize", json={**sent, "NodeNames": passed}).json()
    return passed, {entry["Host"]: entry["Score"] for entry in scored}


ANNOTATIONS: list[dict[str, str]] = [
    {}, {"class": "mouse"}, {"class": "elephant", "expected-bandwidth": "50M"},
    {"class": "elephant", "placement": "strict"}, {"placement": "score"}, {"placement": "ignore"},
]  # fmt: skip


@pytest.mark.parametrize("declared", ANNOTATIONS, ids=str)
@pytest.mark.parametrize("names", [NODES, ["busy"], ["busy", "mice"], ["free", "broken"]], ids=",".join)
def test_an_explanation_agrees_with_filter_and_then_prioritize(
    state: ClusterState, feed: Feed, names: list[str], declared: dict[str, str]
) -> None:
    state.put_nodes([NodeInfo("idle", annotation())])  # as good as the other one: an elephant is committed to one
    state.put_lease(LeaseInfo("idle", "1"))
    state.apply()
    sent = ask([*names, "idle"], annotations={f"traffic-footprint.io/{key}": v for key, v in declared.items()})
    client = Client(create_app(Service(state, feed, patient())))
    told = client.post("/explain", json=sent).json()
    passed, scores = asked_in_turn(client, sent)
    assert [name for name, node in told["nodes"].items() if node["passes"]] == passed
    assert {name: node["score"] for name, node in told["nodes"].items() if node["score"] is not None} == scores
    best = [name for name, score in scores.items() if score == max(scores.values())]
    assert told["committed_to"] is None or best == [told["committed_to"]]


def test_a_node_that_the_filter_rejects_has_no_score(client: Client) -> None:
    told = client.post("/explain", json=ask()).json()["nodes"]
    assert {name: (node["passes"], node["score"]) for name, node in told.items()} == {
        "busy": (False, None), "broken": (True, 5), "mice": (False, None), "free": (True, 5),
    }  # fmt: skip


def test_of_a_pod_without_a_uid_it_is_not_told_which_of_equals_it_takes(client: Client) -> None:
    told = client.post("/explain", json=ask(["free"], uid="")).json()
    assert (told["committed_to"], told["nodes"]["free"]["score"]) == (None, 5)


def test_an_explanation_names_what_it_rests_on(client: Client) -> None:
    told = client.post("/explain", json=ask()).json()
    assert told["demand"]["text"] == "elephant, tx 180 Mbit/s, learned from 1 pod"
    assert told["nodes"]["mice"]["cost"]["harm"] == pytest.approx(19.0)
    assert told["nodes"]["broken"]["why"].startswith("not-json")
    assert client.post("/explain", json=ask(["elsewhere"])).json()["nodes"]["elsewhere"]["state"] == "unseen"


def test_the_api_describes_itself(client: Client) -> None:
    described: dict[str, Any] = client.get("/openapi.json").json()
    schemas = described["components"]["schemas"]
    assert set(schemas["ExtenderFilterResult"]["properties"]) == {
        "Nodes", "NodeNames", "FailedNodes", "FailedAndUnresolvableNodes", "Error",
    }  # fmt: skip
    assert "HostPriority" in schemas
    body = described["paths"]["/filter"]["post"]["requestBody"]
    assert "NodeNames" in json.dumps(body)


def test_httpx_sees_valid_json_whatever_the_names(client: Client) -> None:
    names = ["", "ü", 'quote"', "free", "free"]
    answer: httpx.Response = client.post("/filter", json=ask(names))
    assert answer.json()["NodeNames"] == names[1:]
