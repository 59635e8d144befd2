# SPDX-License-Identifier: Apache-2.0
"""The lab itself: it comes up as a real cluster, beside others, and nothing of it stays behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from footprint.cluster.client import request
from lab import programs, state
from lab.controlplane import pins
from lab.errors import LabError
from lab.lab import Lab, LabConfig
from lab.network import netns
from lab.processes import Process, start
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.workloads import get

pytestmark = pytest.mark.cluster

CHECKOUT = Path(__file__).parents[2]

SLEEPER: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "sleeper"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "sleeper"}},
        "template": {
            "metadata": {"labels": {"app": "sleeper"}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {"name": "main", "image": "none", "command": ["sh", "-c", "echo hello from a pod; sleep 600"]}
                ],
            },
        },
    },
}


def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.1)
    return False


def objects(lab: Lab, *arguments: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = get(lab, *arguments)["items"]
    return items


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two nodes, without agents and extender: only what this module is about."""
    module = request.module.__name__.rpartition(".")[2]
    yield from running(LabConfig(nodes=2, agents=False, extender=False, keep_dir=logs_of(module)))


def test_client_and_server_state_the_pinned_version(bare: Lab) -> None:
    versions = json.loads(bare.kubectl("version", "-o", "json"))
    pinned = pins.KUBERNETES_MODULE.version
    assert versions["serverVersion"]["gitVersion"] == f"v{pinned}"
    assert versions["serverVersion"]["minor"] == str(pinned.minor)


def test_every_node_is_ready(bare: Lab) -> None:
    nodes = {node["metadata"]["name"]: node for node in objects(bare, "nodes")}
    assert list(nodes) == bare.node_names == ["node1", "node2"]
    for node in nodes.values():
        assert {"type": "Ready", "status": "True"}.items() <= next(
            c for c in node["status"]["conditions"] if c["type"] == "Ready"
        ).items()


def test_a_deployments_pods_run_on_nodes_and_can_be_deleted(bare: Lab) -> None:
    bare.kubectl("apply", "-f", "-", input=json.dumps(SLEEPER))

    def phases() -> list[str]:
        return [pod["status"].get("phase", "") for pod in objects(bare, "pods", "-l", "app=sleeper")]

    assert eventually(lambda: phases() == ["Running"] * 2), bare.kubectl("describe", "pods")
    pods = objects(bare, "pods", "-l", "app=sleeper")
    assert {pod["spec"]["nodeName"] for pod in pods} <= set(bare.node_names)
    for pod in pods:
        name = pod["metadata"]["name"]
        assert eventually(lambda name=name: bare.pod_log("default", name) == "hello from a pod\n")  # type: ignore[misc]
    bare.kubectl("delete", "deployment", "sleeper")
    assert eventually(lambda: phases() == [])


def test_an_account_may_do_what_its_role_says_and_nothing_else(bare: Lab) -> None:
    def may(account: str, *what: str) -> bool:
        user = f"--as=system:serviceaccount:{programs.NAMESPACE}:{account}"
        try:
            return bare.kubectl("auth", "can-i", *what, user).strip() == "yes"
        except LabError:  # "no" is an exit status as well
            return False

    agent, extender, here = programs.AGENT_ACCOUNT, programs.EXTENDER_ACCOUNT, f"-n={programs.NAMESPACE}"
    assert may(agent, "patch", "nodes")
    assert may(agent, "watch", "pods", "-A")
    assert may(agent, "create", "leases", here)
    assert may(agent, "create", "events.events.k8s.io", "-n=default")
    assert may(extender, "watch", "nodes")
    assert may(extender, "watch", "leases", here)
    assert not may(agent, "create", "leases", "-n=kube-node-lease")
    assert not may(agent, "delete", "nodes")
    assert not may(agent, "get", "secrets", here)
    assert not may(extender, "patch", "nodes")
    assert may(extender, "create", "events.events.k8s.io", "-n=default")
    assert not may(extender, "delete", "events.events.k8s.io", "-n=default")
    # RBAC ties creation to no name. A policy does, and test_least_privilege holds it to that.
    assert may(extender, "create", "leases", here)
    assert not may(extender, "create", "leases", "-n=default")
    assert not may(extender, "delete", "leases", here)
    assert not may(extender, "create", "pods/binding", "-n=default")


def test_kubectl_errors_are_passed_on(bare: Lab) -> None:
    with pytest.raises(LabError, match=r'kubectl get node nowhere failed: .*"nowhere" not found'):
        bare.kubectl("get", "node", "nowhere")


def test_the_api_comes_back_after_a_restart_with_what_it_knew(bare: Lab) -> None:
    bare.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    bare.restart_apiserver()
    assert objects(bare, "configmaps", "--field-selector=metadata.name=kept")[0]["data"] == {"a": "b"}
    assert bare.ended() == []


def test_a_lab_says_which_component_is_lost_and_which_node_is_not_ready(bare: Lab) -> None:
    assert bare.lost() == bare.unready() == []
    agent = bare.start_agent("node1")
    agent.send(signal.SIGKILL)
    agent.wait(20)
    assert [line.partition(" has ended")[0] for line in bare.lost()] == ["nodeagent-node1"]
    bare.stop_agent("node1")
    bare.stop_apiserver()
    assert bare.unready()[0].startswith("the API server does not respond")
    bare.start_apiserver()
    said = {"status": {"conditions": [{"type": "Ready", "status": "False", "message": "unplugged"}]}}
    path = "/api/v1/nodes/node2/status"
    request(bare.api, "PATCH", path, body=said, content_type="application/strategic-merge-patch+json")
    assert bare.unready() == ["node node2 is NotReady: unplugged"]
    said["status"]["conditions"][0] |= {"status": "True", "message": "plugged in again"}
    request(bare.api, "PATCH", path, body=said, content_type="application/strategic-merge-patch+json")
    assert eventually(lambda: bare.unready() == [])


def _this_namespace() -> int:
    return Path("/proc/thread-self/ns/net").stat().st_ino


# The rest starts labs of its own, as another user of this machine would.


IN_BACKGROUND = ("env", "--default-signal", "sh", "-c", 'trap "" INT; exec "$@"', "sh")
"""Starts a program with SIGINT ignored, as ``sh -c 'program &'`` does."""


def up(log: Path, prefix: Sequence[str] = ()) -> Process:
    """``python -m lab up``, ready."""
    argv = [*prefix, sys.executable, "-m", "lab", "up", "--nodes", "1", "--no-extender", "--no-agents"]
    process = start(argv, log=log, name="lab-up", env={"PYTHONPATH": str(CHECKOUT)})
    try:
        process.wait_ready(lambda: "Ctrl-C removes it" in log.read_text(), 180)
    except BaseException:
        process.stop(signal.SIGINT, 20)
        raise
    return process


def lab_in(log: Path) -> str:
    match = re.search(r"^lab ([0-9a-f]+):", log.read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


def traces_of(lab_id: str) -> list[str]:
    """What of a lab is still there: namespaces, processes in them, its directory."""
    names = netns.list_names(state.namespace_prefix(lab_id))
    directory = state.ROOT / lab_id
    return [*names, *map(str, netns.pids(names)), *([str(directory)] if directory.exists() else [])]


def test_two_labs_run_side_by_side_and_end_alone(bare: Lab, tmp_path: Path) -> None:
    log = tmp_path / "up.log"
    process = up(log)
    try:
        other = lab_in(log)
        assert other != bare.id
        assert {e.id for e in state.entries() if e.live} >= {bare.id, other}
        command = re.search(r"kubectl: +(.+)", log.read_text())
        assert command is not None
        printed = subprocess.run(command[1].split(), capture_output=True, text=True, check=True).stdout
        assert "node1" in printed
        assert "node2" not in printed, "the printed command reached the wrong lab"
    finally:
        status = process.stop(signal.SIGINT, 20)
    assert status == 0, log.read_text()
    assert traces_of(other) == []
    assert len(objects(bare, "nodes")) == 2


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + 15), (signal.SIGHUP, 128 + 1)]
)
def test_a_lab_in_the_background_is_removed_by_each_signal(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    log = tmp_path / "up.log"
    process = up(log, IN_BACKGROUND)
    assert process.stop(number, 20) == status, log.read_text()
    assert "removing the lab" in log.read_text()
    assert traces_of(lab_in(log)) == []


def test_the_next_start_removes_what_a_killed_lab_left(bare: Lab, tmp_path: Path) -> None:
    log = tmp_path / "killed.log"
    process = up(log)
    killed = lab_in(log)
    process.stop(signal.SIGKILL)
    assert traces_of(killed) != []
    second = up(tmp_path / "next.log")
    try:
        assert traces_of(killed) == []
        assert objects(bare, "nodes"), "a living lab was touched"
    finally:
        second.stop(signal.SIGINT, 20)


def test_entering_a_lab_moves_this_thread_and_leaving_moves_it_back(bare: Lab) -> None:
    before = _this_namespace()
    assert before == (netns.DIRECTORY / bare.cp_namespace).stat().st_ino
    with Lab(LabConfig(nodes=1, agents=False, extender=False)) as inner:
        assert _this_namespace() == (netns.DIRECTORY / inner.cp_namespace).stat().st_ino
        inner_id = inner.id
    assert _this_namespace() == before
    assert traces_of(inner_id) == []


def test_a_component_that_fails_is_named_with_the_last_lines_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.network.addresses.SERVICE_CIDR_V4", "10.96.0.0/33")
    lab = Lab(LabConfig(nodes=1, agents=False, extender=False, keep_dir=tmp_path))
    with pytest.raises(LabError, match=r"(?s)kube-apiserver ended with status 1.*service-cluster-ip-range"), lab:
        pass
    assert traces_of(lab.id) == []
    assert (tmp_path / "logs" / "kube-apiserver.log").is_file()
