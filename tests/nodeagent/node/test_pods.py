# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from nodeagent.node.locality import locality
from nodeagent.node.pods import LocalPod, PodStore, decode_pod


def raw(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "uid": "u1", "namespace": "d", "name": "web-7d4b9c-x2x", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"pod-template-hash": "7d4b9c"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-7d4b9c", "controller": True}],
        },
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running", "podIP": "10.0.0.1", **status},
    }  # fmt: skip


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def info(uid: str, *addresses: str, started: float = 0.0, phase: str = "Running", host: bool = False) -> LocalPod:
    return LocalPod(
        uid=uid, ns="d", name=uid, workload="w", phase=phase, started=started, host_network=host,
        addresses=tuple(map(packed, addresses)),
    )  # fmt: skip


def test_a_pod_is_decoded_with_its_workload_and_both_address_families() -> None:
    pod = decode_pod(raw(podIPs=[{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], startTime="2026-01-01T00:01:00Z"))
    assert pod.workload == "Deployment/web"
    assert pod.addresses == (packed("10.0.0.1"), packed("fd00::1"))
    assert pod.started == decode_pod(raw()).started + 60


@pytest.mark.parametrize(
    "status", [{"podIP": "banana"}, {"podIPs": [{"ip": 7}, "x", {}], "podIP": None}, {"startTime": "soon"}]
)
def test_what_cannot_be_read_of_a_status_is_passed_over(status: dict[str, Any]) -> None:
    assert decode_pod(raw(**status)).uid == "u1"


def test_a_pod_that_runs_a_virtual_machine_is_known_as_one() -> None:
    machine = raw()
    machine["metadata"]["labels"] = {"vm.kubevirt.io/name": "db"}
    assert decode_pod(machine).vm == "db"
    assert decode_pod(raw()).vm is None


def test_annotations_that_are_not_understood_are_kept_as_problems() -> None:
    wrong = raw()
    wrong["metadata"]["annotations"] = {"traffic-footprint.io/class": "whale"}
    [problem] = decode_pod(wrong).problems
    assert "whale" in problem.message


def test_the_generation_grows_with_changes_that_matter_and_only_then() -> None:
    store = PodStore()
    store.replace([info("a", "10.0.0.1")])
    first = store.snapshot()
    store.upsert(info("a", "10.0.0.1"))
    store.delete(info("b"))
    assert store.snapshot() is first
    store.upsert(info("a", "10.0.0.2"))
    second = store.snapshot()
    assert second.generation == first.generation + 1
    assert first.pods["a"].addresses == (packed("10.0.0.1"),)  # a snapshot never changes
    store.delete(info("a"))
    assert store.snapshot().pods == {}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([info("a", "10.0.0.1", "fd00::1")], {"10.0.0.1": "a", "fd00::1": "a"}),
        ([info("a", "10.0.0.1", phase="Succeeded")], {}),
        ([info("a", "10.0.0.1", phase="Failed")], {}),
        ([info("a", "192.0.2.1", host=True)], {}),
        ([info("a", "192.0.2.1")], {}),  # the node's own address is never a pod's
        ([info("a", "10.0.0.1", started=5), info("b", "10.0.0.1", started=9)], {"10.0.0.1": "b"}),
        ([info("b", "10.0.0.1", started=9), info("a", "10.0.0.1", started=5)], {"10.0.0.1": "b"}),
        ([info("a", "10.0.0.1", started=5), info("b", "10.0.0.1", started=9, phase="Failed")], {"10.0.0.1": "a"}),
    ],
)
def test_who_owns_which_address(pods: list[LocalPod], expected: dict[str, str]) -> None:
    here = locality(pods, frozenset([packed("192.0.2.1")]))
    assert here.pods == {packed(address): uid for address, uid in expected.items()}
    assert here.node == {packed("192.0.2.1")}


def test_pods_on_the_nodes_network_are_named_as_their_cgroups_are() -> None:
    static = raw()
    static["spec"]["hostNetwork"] = True
    static["metadata"]["annotations"] = {"kubernetes.io/config.hash": "b0f4f2a9d0e15d5a3a3d1e6f7a8b9c0d"}
    found = locality(
        [decode_pod(static), info("u2", "10.0.0.2", host=True), info("u3", "10.0.0.3"),
         info("u4", host=True, phase="Succeeded")],
        node=frozenset({packed("10.0.0.2")}),
    )  # fmt: skip
    assert found.sharing == {"u1": "b0f4f2a9d0e15d5a3a3d1e6f7a8b9c0d", "u2": "u2"}
    assert found.pods == {packed("10.0.0.3"): "u3"}
