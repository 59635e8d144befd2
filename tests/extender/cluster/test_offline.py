# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from extender.api.explainer import explained
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster import offline
from extender.cluster.offline import SavedCluster, StateFeed, StateFileError, read_objects, saved_at, state_of
from extender.cluster.state import ClusterState
from extender.model.pods import decode_pod
from extender.model.snapshot import NodeState
from footprint.classes import TrafficClass
from footprint.declared import Declared
from footprint.keys import POD_CLASS, lease_name
from tests.extender.api.test_hostile import HOSTILE
from tests.extender.builders import M, annotation, elephant, mouse, node_json, patient, pod_info, pod_json
from tests.extender.client import Client
from tests.extender.states import Clock
from tests.footprint.cluster.scripted_api import until


def lease(node: str, renewed: str | None) -> dict[str, Any]:
    metadata = {"name": lease_name(node), "namespace": "traffic-footprint", "resourceVersion": "4"}
    return {"kind": "Lease", "metadata": metadata, "spec": {"renewTime": renewed} if renewed else {}}


def saved() -> list[dict[str, Any]]:
    nodes = {
        "busy": annotation(elephant("e", tx=180 * M)), "mice": annotation(mouse("m")), "old": annotation(),
        "bare": None, "hostile": "[" * 60_000,
    }  # fmt: skip
    return [
        *({"kind": "Node", **node_json(name, text)} for name, text in nodes.items()),
        lease("busy", "2026-01-01T12:00:00.000000Z"),
        lease("mice", "2026-01-01T11:59:30.000000Z"),
        lease("old", "2026-01-01T11:00:00.000000Z"),
        {"kind": "Lease", "metadata": {"name": "kube-scheduler", "resourceVersion": "1"}, "spec": {}},
        {"kind": "Pod", **pod_json("bulk-x", uid="p", node="")},
        {"kind": "ConfigMap", "metadata": {"name": "c"}},
        {"kind": "Pod", "metadata": {}},
    ]


def test_a_saved_cluster_is_seen_as_a_live_one_would_be() -> None:
    cluster = SavedCluster(saved())
    nodes = state_of(cluster).snapshot.nodes
    assert {name: view.state for name, view in nodes.items()} == {
        "busy": NodeState.KNOWN, "mice": NodeState.KNOWN, "old": NodeState.STALE,
        "bare": NodeState.NO_FOOTPRINT, "hostile": NodeState.MALFORMED,
    }  # fmt: skip
    assert cluster.undecodable == 1
    assert nodes["busy"].utilisation == 0.9


def test_no_time_passes() -> None:
    state = state_of(SavedCluster(saved()))
    before = state.snapshot
    assert not state.apply()
    assert state.snapshot is before


def test_a_pod_is_found_by_its_name() -> None:
    cluster = SavedCluster(saved())
    assert cluster.pod("default", "bulk-x") is not None
    assert cluster.pod("other", "bulk-x") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind":"Node"}', '{"items":{}}', None])
def test_a_file_that_is_no_saved_cluster_names_the_command(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "state.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StateFileError, match="kubectl get nodes,pods,leases -A -o json"):
        read_objects(path)


def test_a_file_without_end_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "MAX_STATE", 2**20)
    with pytest.raises(StateFileError, match="/dev/zero is longer than 1 MiB"):
        read_objects(Path("/dev/zero"))


def test_objects_of_any_shape_are_passed_over_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    items = [None, 7, {}, {"kind": "Node"}, {"kind": "Lease", "metadata": None}, {"kind": "Pod", "spec": 3}]
    path.write_text(json.dumps({"items": items}))
    cluster = SavedCluster(read_objects(path))
    assert state_of(cluster).snapshot.nodes == {}
    assert cluster.undecodable == 3


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def asked(state: ClusterState, name: str = "p") -> dict[str, Any]:
    """What is answered about a pod, whole: every name and every number went into JSON."""
    client = Client(create_app(Service(state, StateFeed(), patient())))
    names = [*state.snapshot.nodes]
    question = {"Pod": pod_json(name, annotations={POD_CLASS: "elephant"}), "NodeNames": names}
    assert client.post("/filter", json=question).json()["Error"] == ""
    assert len(client.post("/prioritize", json=question).json()) == len(names)
    told: dict[str, Any] = client.post("/explain", json=question).json()
    return told


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_annotation_in_a_file_makes_one_node_unknown(
    tmp_path: Path, text: str, ascii_only: bool
) -> None:
    items = [*saved(), {"kind": "Node", **node_json("bad", text)}, lease("bad", "2026-01-01T12:00:00Z")]
    path = write(tmp_path / "state.json", json.dumps({"items": items}, ensure_ascii=ascii_only))
    cluster = SavedCluster(read_objects(path))
    state = state_of(cluster)
    assert state.snapshot.nodes["bad"].state is NodeState.MALFORMED
    assert state.snapshot.nodes["busy"].known
    assert cluster.undecodable == 1, "the one that is there anyway"
    assert asked(state)["nodes"]["bad"]["state"] == "malformed-footprint"


STRANGE = [
    "9" * 400,
    "-" + "9" * 5000,
    "1e400",
    "NaN",
    "-Infinity",
    '"\\ud800"',
    '"\\udc00\\ud800"',
    '"\xff"',
    "[]",
]


@pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
def test_a_strange_value_anywhere_costs_no_other_object(tmp_path: Path, value: str) -> None:
    annotated = node_json("bad", "MARK")
    odd = [
        {"kind": "Node", **annotated},
        {"kind": "Node", "metadata": {"name": "MARK"}},
        {"kind": "Node", "metadata": {"name": "spoiled", "generation": "MARK"}},
        {"kind": "Pod", **pod_json("MARK", uid="s", ns="MARK", node="MARK", phase="MARK")},
        {"kind": "Pod", "metadata": {"name": "odd", "uid": "o"}, "spec": {"nodeName": "busy"},
         "status": {"phase": "Running", "startTime": "MARK", "containerStatuses": "MARK"}},
        {"kind": "Lease", "metadata": {"name": "MARK"}, "spec": {"renewTime": "MARK"}},
        {"kind": "TrafficFootprint", "metadata": {"name": "MARK", "namespace": "default"}, "spec": "MARK"},
        {"kind": "MARK"},
    ]  # fmt: skip
    text = json.dumps({"items": [*saved(), *odd]}).replace('"MARK"', value)
    path = tmp_path / "state.json"
    path.write_bytes(text.encode("latin-1"))
    cluster = SavedCluster(read_objects(path))
    state = state_of(cluster)
    assert state.snapshot.nodes["bad"].state is NodeState.MALFORMED
    assert state.snapshot.nodes["busy"].known
    assert state.snapshot.nodes["spoiled"].state is NodeState.NO_FOOTPRINT
    assert cluster.pod("default", "bulk-x") is not None
    assert cluster.pod("", "odd") is not None
    assert asked(state)["nodes"]["busy"]["state"] == "known"
    for pod in cluster.pods:
        assert orjson.dumps(explained(pod, None, state, patient()))


def test_a_pod_has_run_or_waited_since_the_file_says_so() -> None:
    def pod(name: str, **values: Any) -> dict[str, Any]:
        return {
            "kind": "Pod",
            **pod_json(name, uid=name, owner=("Job", name), annotations={POD_CLASS: "elephant"}, **values),
        }

    def running(name: str, started: str | None) -> dict[str, Any]:
        found = pod(name, node="mice", phase="Running")
        found["status"]["containerStatuses"] = [
            {"state": {"waiting": {}}},
            {"state": {"running": {"startedAt": started}}},
        ]
        return found

    young, old, timeless = (
        running("young", "2026-01-01T11:59:01Z"),
        running("old", "2026-01-01T11:58:59Z"),
        running("t", None),
    )
    items = [*saved(), young, old, timeless, pod("waits")]
    state = state_of(SavedCluster(items))
    assert state.snapshot.nodes["mice"].ledger.elephants == 1, "the young one, for a second more"
    assert state.snapshot.waited(decode_pod(pod("waits")), state.now()) == 12 * 3600
    assert state_of(SavedCluster(items), hold=0).snapshot.nodes["mice"].ledger.elephants == 0
    without_leases = [item for item in items if item["kind"] != "Lease"]
    state = state_of(SavedCluster(without_leases))
    assert state.snapshot.waited(decode_pod(pod("waits")), state.now()) == 0, "nothing says what time it was"


def test_without_learning_the_objects_are_not_looked_at() -> None:
    record = {"kind": "TrafficFootprint", "metadata": {"name": "bulk", "namespace": "default"},
              "spec": {"workload": "Job/bulk", "class": "mouse"}}  # fmt: skip
    for learn in (True, False):
        snapshot = state_of(SavedCluster([*saved(), record], learn=learn)).snapshot
        assert (("default", "Job/bulk") in snapshot.records) is learn


@pytest.mark.parametrize("ahead", ["2026-01-01T14:00:00Z", "2099-12-31T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_one_lease_from_the_future_makes_no_other_node_stale(ahead: str) -> None:
    before = state_of(SavedCluster(saved())).snapshot.nodes
    liar = [{"kind": "Node", **node_json("liar", annotation())}, lease("liar", ahead)]
    after = state_of(SavedCluster([*saved(), *liar])).snapshot.nodes
    assert {name: after[name].state for name in before} == {name: view.state for name, view in before.items()}
    assert after["liar"].known, "its own clock says nothing about how long it is silent"


@pytest.mark.parametrize(
    ("renewals", "now"),
    [
        ([], None),
        ([100.0], 100.0),
        ([100.0, 160.0, 130.0], 160.0),
        ([100.0, 130.0, 9e9], 130.0),  # one is ahead
        ([0.0, 1.0, 2.0, 5000.0], 2.0),  # nobody confirms the newest one
        ([0.0, 1000.0, 2000.0], 2000.0),  # nobody confirms anybody
    ],
)
def test_a_cluster_was_saved_when_its_newest_confirmed_lease_was_renewed(
    renewals: list[float], now: float | None
) -> None:
    assert saved_at(renewals) == now


def test_leases_of_others_confirm_the_only_agent_that_is_alive() -> None:
    kubelet = {"kind": "Lease", "metadata": {"name": "busy", "namespace": "kube-node-lease"},
               "spec": {"renewTime": "2026-01-01T14:00:02Z"}}  # fmt: skip
    alone = [obj for obj in saved() if obj.get("metadata", {}).get("name") != lease_name("busy")]
    nodes = state_of(SavedCluster([*alone, lease("busy", "2026-01-01T14:00:00Z"), kubelet])).snapshot.nodes
    assert (nodes["busy"].state, nodes["mice"].state) == (NodeState.KNOWN, NodeState.STALE)


def test_assumed_pods_of_a_saved_cluster_expire_while_nothing_else_grows_older() -> None:
    clock = Clock()
    state = state_of(SavedCluster(saved()), assumption_clock=clock)
    before = state.snapshot.nodes
    pod = pod_info("bulk-1", declared=Declared(TrafficClass.ELEPHANT, 100 * M))
    state.assume(pod, "mice")
    assert state.snapshot.nodes["mice"].ledger.pods == 1
    clock.now += 3600.0
    state.apply()
    assert state.snapshot.nodes == before


def test_a_served_file_lets_assumed_pods_expire_by_itself() -> None:
    clock = Clock()
    state = state_of(SavedCluster(saved()), assumption_clock=clock)
    feed = StateFeed(state)
    feed.start()
    try:
        state.assume(pod_info("bulk-1", declared=Declared(TrafficClass.ELEPHANT, 100 * M)), "mice")
        clock.now += 3600.0
        assert until(lambda: state.snapshot.nodes["mice"].ledger.pods == 0)
    finally:
        feed.stop(30.0)
