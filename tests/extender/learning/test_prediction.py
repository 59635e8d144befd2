# SPDX-License-Identifier: Apache-2.0
"""What TrafficFootprints change about predictions, filters and explanations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.offline import SavedCluster, StateFeed, state_of
from extender.cluster.state import ClusterState
from extender.model.demand import DEFAULT_ELEPHANT_RATE, Demand, Origin, Tally, believed
from extender.model.pods import PodInfo
from extender.model.trafficfootprint import API_VERSION, PLURAL, Record, new_object, status_of
from extender.placement.explain import explain
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode
from plugin.cli import main
from tests.extender.builders import M, annotation, elephant, mouse, other, patient, pod_info, pod_json
from tests.extender.client import Client
from tests.extender.cluster.test_offline import saved
from tests.extender.learning.builders import NOW, profile, record
from tests.extender.states import Clock
from tests.plugin.api_server import by_path, kubeconfig, serving

E, X, MOUSE, Q = TrafficClass.ELEPHANT, TrafficClass.MIXED, TrafficClass.MOUSE, TrafficClass.QUIET
KEY = ("default", "CronJob/backup")
LIVE = Demand(E, 80 * M, 20 * M, 0.0, Origin.LEARNED, 4)
IDLE = Demand(Q, origin=Origin.LEARNED, pods=2)
OLD = Demand(E, 150 * M, 0.0, 0.0, Origin.REMEMBERED)
OLD_QUIET = Demand(Q, origin=Origin.REMEMBERED)
S = Origin.STATED


@pytest.mark.parametrize(
    ("stated", "live", "remembered", "expected"),
    [
        (Declared(), None, None, None),
        (Declared(), LIVE, OLD, LIVE),  # measured now comes first
        (Declared(), None, OLD, OLD),
        (Declared(), LIVE, None, LIVE),
        (Declared(), IDLE, OLD, OLD),  # resting now says nothing about what it does when it works
        (Declared(), IDLE, OLD_QUIET, OLD_QUIET),
        (Declared(), IDLE, None, IDLE),
        (Declared(cls=MOUSE), LIVE, OLD, Demand(MOUSE, 0, 0, 1.0, S, 4)),
        (Declared(cls=E), None, OLD, Demand(E, 150 * M, 0.0, 0.0, S)),  # the class stated, the rates remembered
        (Declared(cls=E), None, None, Demand(E, DEFAULT_ELEPHANT_RATE, DEFAULT_ELEPHANT_RATE, 0.0, S)),
        (Declared(bandwidth=400 * M), LIVE, OLD, Demand(E, 400 * M, 100 * M, 0.0, S, 4)),
        (Declared(placement=PlacementMode.STRICT), LIVE, OLD, LIVE),  # a mode says nothing about traffic
    ],
)
def test_stated_comes_before_measured_and_measured_before_remembered(
    stated: Declared, live: Demand | None, remembered: Demand | None, expected: Demand | None
) -> None:
    assert believed(stated, live, remembered) == expected


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ClusterState:
    return ClusterState(stale_after=180.0, hold=60.0, clock=clock)


def put(state: ClusterState, *records: Record) -> None:
    state.put_records({r.key: r for r in records})
    state.apply()


def publish(state: ClusterState, name: str, *pods: Any, marker: str = "1", **values: Any) -> None:
    state.put_nodes([NodeInfo(name, annotation(*pods, **values))])
    state.put_lease(LeaseInfo(name, marker))
    state.apply()


def a_backup(**values: Any) -> PodInfo:
    return pod_info("new", wl=KEY[1], **values)


def test_a_workload_without_any_pods_is_still_known(state: ClusterState) -> None:
    put(state, record(KEY, profile(150 * M)))
    assert state.snapshot.demand(a_backup()) == OLD
    assert OLD.describe() == "elephant, tx 150 Mbit/s, remembered in its TrafficFootprint"


def test_measuring_takes_over_and_hands_back_when_its_data_goes_stale(state: ClusterState, clock: Clock) -> None:
    put(state, record(KEY, profile(150 * M)))
    publish(state, "a", elephant("e", tx=50 * M, wl=KEY[1]))
    assert state.snapshot.demand(a_backup()).tx == 50 * M
    clock.now += 181
    state.apply()
    assert state.snapshot.demand(a_backup()) == OLD


def test_a_pods_own_annotation_wins_over_what_is_stated(state: ClusterState) -> None:
    put(state, record(KEY, profile(150 * M), stated=Declared(cls=MOUSE)))
    assert state.snapshot.demand(a_backup()).origin is Origin.STATED
    demand = state.snapshot.demand(a_backup(declared=Declared(cls=E, bandwidth=30 * M)))
    assert (demand.origin, demand.cls, demand.tx) == (Origin.DECLARED, E, 30 * M)


def test_deleting_the_object_withdraws_what_it_said(state: ClusterState) -> None:
    put(state, record(KEY, profile(150 * M)))
    state.put_records({KEY: None})
    assert state.apply()
    assert state.snapshot.demand(a_backup()) == Demand()
    assert state.snapshot.records == {}


def test_a_pod_bound_before_its_object_was_seen_counts_once_it_is(state: ClusterState) -> None:
    publish(state, "b")
    state.put_pod(a_backup(node="b"))
    state.apply()
    assert state.snapshot.nodes["b"].link.tx == 0
    put(state, record(KEY, profile(150 * M)))
    assert state.snapshot.nodes["b"].link.tx == 150 * M
    put(state, record(KEY, profile(150 * M), stated=Declared(cls=MOUSE)))
    assert state.snapshot.nodes["b"].link.tx == 0


def test_elephants_that_are_only_remembered_keep_links_free_of_mice_while_they_wait(state: ClusterState) -> None:
    for name in "abcd":
        publish(state, name)
    put(state, record(KEY, profile(150 * M)))
    assert not state.snapshot.elephants_known
    state.put_pod(a_backup())
    publish(state, "a", marker="2")
    assert state.snapshot.elephants_known


def test_what_objects_say_changes_nothing_for_other_workloads(state: ClusterState) -> None:
    publish(state, "a", mouse("m"))
    before = state.snapshot.nodes["a"]
    put(state, record(KEY, profile(150 * M)))
    assert state.snapshot.nodes["a"] is before


def test_without_news_of_objects_the_snapshot_stays_the_same(state: ClusterState) -> None:
    put(state, record(KEY, profile(150 * M)))
    before = state.snapshot
    assert not state.apply()
    assert state.snapshot is before


def test_what_is_measured_is_summed_over_nodes(state: ClusterState) -> None:
    publish(state, "a", elephant("e", tx=50 * M, wl=KEY[1]), ended=[elephant("f", tx=70 * M, wl=KEY[1])])
    publish(state, "b", other("q", Q, wl=KEY[1]))
    assert state.measured() == {
        KEY: Tally(active=2, quiet=1, hurting=2, tx=120 * M, peak_tx=70 * M, running=2)
    }  # fmt: skip
    state.drop_node("a")
    state.drop_node("b")
    state.apply()
    assert state.measured() == {}


def asked(client: Client, pod: dict[str, Any], *names: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post("/filter", json={"Pod": pod, "NodeNames": list(names)}).json()
    return answer


def test_an_override_turns_the_filters_verdict(state: ClusterState) -> None:
    publish(state, "busy", elephant("e", tx=180 * M))
    publish(state, "free")
    client = Client(create_app(Service(state, StateFeed(), patient())))
    pod = pod_json("web-1", owner=("StatefulSet", "web"))
    key = ("default", "StatefulSet/web")
    assert asked(client, pod, "busy", "free")["NodeNames"] == ["busy", "free"]
    put(state, record(key, stated=Declared(cls=MOUSE)))
    assert asked(client, pod, "busy", "free")["NodeNames"] == ["free"]
    put(state, record(key, stated=Declared(cls=MOUSE, placement=PlacementMode.SCORE)))
    assert asked(client, pod, "busy", "free")["NodeNames"] == ["busy", "free"]


@pytest.mark.parametrize(
    ("pods_own", "stated", "expected"),
    [
        (None, None, PlacementMode.PREFER),
        (None, PlacementMode.SCORE, PlacementMode.SCORE),
        (PlacementMode.STRICT, PlacementMode.SCORE, PlacementMode.STRICT),
        (None, PlacementMode.IGNORE, PlacementMode.IGNORE),
    ],
)
def test_a_stated_placement_holds_where_the_pod_asks_for_none(
    state: ClusterState, pods_own: PlacementMode | None, stated: PlacementMode | None, expected: PlacementMode
) -> None:
    put(state, record(KEY, stated=Declared(placement=stated)))
    told = explain(a_backup(declared=Declared(placement=pods_own)), [], state.snapshot, patient(), 0.0)
    assert told["placement"] == expected.value


def test_a_system_pod_is_not_touched_whatever_is_stated(state: ClusterState) -> None:
    put(state, record(("kube-system", "Job/x"), stated=Declared(placement=PlacementMode.STRICT)))
    pod = pod_info("p", wl="Job/x", ns="kube-system")
    assert explain(pod, [], state.snapshot, patient(), 0.0)["placement"] == "ignore"


def test_an_explanation_names_the_object_and_what_it_says(state: ClusterState) -> None:
    held = replace(record(KEY, profile(150 * M), stated=Declared(cls=MOUSE)), problems=("status",))
    put(state, held)
    told = json.loads(json.dumps(explain(a_backup(), [], state.snapshot, patient(), 0.0)))
    assert told["demand"]["origin"] == "stated"
    assert told["traffic_footprint"] == {
        "name": held.name, "malformed": ["status"],
        "spec": {"class": "mouse", "expected_bandwidth": None, "placement": None},
        "status": "elephant, tx 150 Mbit/s, remembered in its TrafficFootprint",
    }  # fmt: skip


def an_object(**spec: Any) -> dict[str, Any]:
    made = new_object(KEY)
    return {**made, "spec": {**made["spec"], **spec}, "status": status_of(profile(150 * M), NOW)}


CRONJOB = """
kind: CronJob
metadata: {name: backup}
spec: {jobTemplate: {spec: {template: {metadata: {}}}}}
"""


@pytest.mark.parametrize(
    ("spec", "lines"),
    [
        ({}, ["remembered in its TrafficFootprint",
              "TrafficFootprint cronjob-backup-ef0f7b2fd7: elephant, tx 150 Mbit/s, remembered"]),
        ({"class": "mouse"}, ["mouse, mice weight 1.0, stated in its TrafficFootprint",
                              "TrafficFootprint cronjob-backup-ef0f7b2fd7: spec: class mouse; elephant"]),
        ({"class": "fish"}, ["spec not understood"]),
    ],
)  # fmt: skip
def test_people_are_told_the_source_from_a_saved_cluster_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, spec: dict[str, Any], lines: list[str]
) -> None:
    (tmp_path / "state.json").write_text(json.dumps({"items": [*saved(), an_object(**spec)]}))
    (tmp_path / "m.yaml").write_text(CRONJOB)
    main(["explain", "-f", str(tmp_path / "m.yaml"), "--state", str(tmp_path / "state.json")])
    text = capsys.readouterr().out
    assert [line for line in lines if line not in text] == [], text


def test_a_saved_object_is_seen_as_a_live_one_would_be() -> None:
    state = state_of(SavedCluster([*saved(), an_object()]))
    assert state.snapshot.demand(a_backup()) == OLD


@pytest.mark.parametrize("status", [404, 403])
def test_a_live_cluster_without_such_objects_is_explained_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    objects = by_path(saved()) | {f"/apis/{API_VERSION}/{PLURAL}": status}
    (tmp_path / "m.yaml").write_text(CRONJOB)
    with serving(objects) as (port, asked):
        config = kubeconfig(tmp_path / "config", port)
        main(["explain", "-f", str(tmp_path / "m.yaml"), "--kubeconfig", str(config), "-o", "json"])
    told = json.loads(capsys.readouterr().out)
    assert f"/apis/{API_VERSION}/{PLURAL}" in [request.path for request in asked]
    assert told["traffic_footprint"] is None
    assert told["demand"]["origin"] == "unknown"
