from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extender.offline import SavedCluster, StateFileError, read_objects, state_of
from extender.snapshot import NodeState
from footprint.keys import lease_name
from tests.extender.builders import M, annotation, elephant, mouse, node_json, pod_json


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


def test_objects_of_any_shape_are_passed_over_not_fatal(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    items = [None, 7, {}, {"kind": "Node"}, {"kind": "Lease", "metadata": None}, {"kind": "Pod", "spec": 3}]
    path.write_text(json.dumps({"items": items}))
    cluster = SavedCluster(read_objects(path))
    assert state_of(cluster).snapshot.nodes == {}
    assert cluster.undecodable == 3
