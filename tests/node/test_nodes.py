# SPDX-License-Identifier: Apache-2.0
"""The nodes themselves: what runs on them, how pods reach each other, what limits them, where images come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.network.addresses import node_v4
from lab.nodes.real import files, pins
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.images import BUSYBOX
from tests.cluster.support.workloads import eventually, get
from tests.node.support.workloads import PORT, SINK, inside, pod, running, send, service

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


def test_each_node_runs_the_pinned_programs(lab: RealLab) -> None:
    for node in get(lab, "nodes")["items"]:
        about = node["status"]["nodeInfo"]
        assert about["kubeletVersion"] == f"v{pins.KUBELET_MODULE.version}"
        assert about["containerRuntimeVersion"] == f"containerd://{pins.CONTAINERD_MODULE.version}"
    assert lab.lost() == []


def test_each_node_sees_its_own_name_disks_and_network_alone(lab: RealLab) -> None:
    for name, node in lab.nodes.items():
        assert node.run(["hostname"]).strip() == name
        assert f"inet {node_v4(node.spec.index)}/" in node.run(["ip", "-o", "addr", "show", "eth0"])
    with running(lab, pod("only-here", ["sleep", "1000"], node="node1")):
        assert "only-here" in lab.node("node1").crictl("ps")
        assert "only-here" not in lab.node("node2").crictl("ps")
    assert Path("/proc/sys/kernel/hostname").read_text().strip() not in lab.nodes


def test_pods_reach_each_other_by_address_service_and_name_in_both_families(lab: RealLab) -> None:
    store = pod("store", SINK, node="node2", labels={"app": "store"})
    with running(
        lab, service("store"), store, *(pod(f"client{i}", ["sleep", "1000"], node=f"node{i}") for i in (1, 2))
    ):
        addresses = [each["ip"] for each in get(lab, "pod", "store")["status"]["podIPs"]]
        clusters = get(lab, "service", "store")["spec"]["clusterIPs"]
        assert len(addresses) == len(clusters) == 2
        for client in ("client1", "client2"):
            for host in (*addresses, *clusters, f"store.default.svc.{files.CLUSTER_DOMAIN}", "store"):
                send(lab, client, host, 1)


def test_an_image_is_pulled_by_digest_as_by_name(lab: RealLab) -> None:
    by_digest = f"{BUSYBOX.rpartition(':')[0]}@{lab.digests[BUSYBOX]}"
    with running(lab, pod("by-digest", ["sleep", "1000"], node="node1", image=by_digest)):
        shown = get(lab, "pod", "by-digest")["status"]["containerStatuses"][0]
        assert shown["imageID"].endswith(lab.digests[BUSYBOX])
    assert f"GET /v2/library/busybox/manifests/{lab.digests[BUSYBOX]}" in lab.logs("registry").read_text()


def test_an_image_that_no_registry_has_is_not_pulled(lab: RealLab) -> None:
    missing = pod("missing", ["true"], node="node1", image="registry.k8s.io/nobody-made-this:v1")
    lab.kubectl("apply", "-f", "-", input=json.dumps(missing))
    try:
        waiting = eventually(
            "kubelet says why",
            lambda: [
                status["state"]["waiting"]["reason"]
                for status in get(lab, "pod", "missing")["status"].get("containerStatuses", ())
                if status["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff")
            ],
            90,
        )
        assert waiting
    finally:
        lab.kubectl("delete", "pod", "missing", "--timeout=60s")


def test_a_memory_limit_ends_the_container_that_passes_it(lab: RealLab) -> None:
    greedy = pod("greedy", ["sh", "-c", "tail /dev/zero"], node="node2", restartPolicy="Never")
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"memory": "32Mi"}}
    lab.kubectl("apply", "-f", "-", input=json.dumps(greedy))
    try:

        def ended() -> str | None:
            statuses = get(lab, "pod", "greedy")["status"].get("containerStatuses", ())
            return next((s["state"]["terminated"]["reason"] for s in statuses if "terminated" in s["state"]), None)

        assert eventually("the container ends", ended, 120) == "OOMKilled"
    finally:
        lab.kubectl("delete", "pod", "greedy", "--timeout=60s")


def test_logs_come_from_the_kubelet(lab: RealLab) -> None:
    with running(lab, pod("talks", ["sh", "-c", "echo a line; sleep 1000"], node="node2")):
        assert lab.kubectl("logs", "talks") == "a line\n"


def test_pods_survive_a_restart_of_kubelet_and_of_containerd(lab: RealLab) -> None:
    node = lab.node("node1")
    with running(lab, pod("stays", ["sleep", "100000"], node="node1")):
        before = get(lab, "pod", "stays")["status"]["containerStatuses"][0]["containerID"]
        node.stop_program(pins.KUBELET)
        node.stop_program(pins.CONTAINERD)
        node.start_containerd()
        node.start_kubelet()
        eventually("kubelet runs commands again", lambda: _answers(lab, "stays"), 60)
        after = get(lab, "pod", "stays")["status"]["containerStatuses"][0]
        assert (after["containerID"], after["restartCount"]) == (before, 0)


def _answers(lab: RealLab, name: str) -> bool:
    done = lab.exec_in(
        "cp", [str(lab.kubectl_path), "--kubeconfig", str(lab.kubeconfig), "exec", name, "--", "true"]
    )
    return done.returncode == 0


def test_a_host_port_leads_to_its_pod(lab: RealLab) -> None:
    door = pod("door", SINK, node="node2")
    door["spec"]["containers"][0]["ports"] = [{"containerPort": PORT, "hostPort": 7001}]
    with running(lab, door, pod("caller", ["sleep", "1000"], node="node1")):
        before = _received(lab, "door")
        send(lab, "caller", node_v4(2), 1, port=7001)
        assert _received(lab, "door") - before > 2**20


def _received(lab: RealLab, name: str) -> int:
    return int(inside(lab, name, "cat", "/sys/class/net/eth0/statistics/rx_bytes"))


def test_a_node_may_not_write_another_nodes_objects(lab: RealLab) -> None:
    kubectl = [str(lab.kubectl_path), "--kubeconfig", str(lab.dir / "kubelet-node1.kubeconfig")]
    for node, allowed in (("node1", True), ("node2", False)):
        done = lab.exec_in("cp", [*kubectl, "annotate", "--overwrite", "node", node, "by=node1"])
        assert (done.returncode == 0) is allowed, done.stderr
        assert allowed or "forbidden" in done.stderr
