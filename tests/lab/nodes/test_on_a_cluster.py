# SPDX-License-Identifier: Apache-2.0
"""The lab's nodes under a real API server, controllers and scheduler."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from footprint.cluster.client import MERGE_PATCH, ApiError, request
from lab.lab import Lab, LabConfig
from lab.network import netns
from lab.nodes.registration import STATUS_SECONDS, NodeDescription, Registrar
from tests.labs import running

pytestmark = pytest.mark.cluster

PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from running(LabConfig(nodes=2, agents=False, extender=False))


def eventually(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def create(lab: Lab, name: str, script: str, **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "none", "command": ["sh", "-c", script], **spec.pop("container", {})}
    body = {"metadata": {"name": name}, "spec": {"containers": [container], **spec}}
    return request(lab.api, "POST", PODS, body=body)


def get(lab: Lab, name: str) -> dict[str, Any] | None:
    try:
        return request(lab.api, "GET", f"{PODS}/{name}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise


def in_phase(lab: Lab, name: str, phase: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        pod = get(lab, name)
        return pod if pod and pod["status"].get("phase") == phase else None

    found: dict[str, Any] = eventually(look, f"{name} did not become {phase}")
    return found


def delete(lab: Lab, name: str, **options: Any) -> None:
    request(lab.api, "DELETE", f"{PODS}/{name}", body=options)
    eventually(lambda: get(lab, name) is None, f"{name} was not deleted")


def answers(lab: Lab, url: str) -> bool:
    fetch = f"import urllib.request; print(urllib.request.urlopen({url!r}, timeout=3).status)"
    return lab.exec_in("node1", ["python3", "-c", fetch]).stdout.strip() == "200"


def namespace_of(lab: Lab, pod: dict[str, Any]) -> str:
    return f"tf-{lab.id}-p-{pod['metadata']['uid'].replace('-', '')[:10]}"


def test_a_node_reports_its_status_again_every_five_minutes(lab: Lab) -> None:
    now = 0.0
    node = NodeDescription("long-lived", 9)
    registrar = Registrar(lab.api, [node], clock=lambda: now)
    path = "/api/v1/nodes/long-lived"
    try:
        registrar.keep_alive()
        # What only a new report can bring back: somebody changed the addresses meanwhile.
        other = {"status": {"addresses": [{"type": "Hostname", "address": "changed"}]}}
        request(lab.api, "PATCH", f"{path}/status", body=other, content_type=MERGE_PATCH)
        for now in (STATUS_SECONDS, 2 * STATUS_SECONDS):  # noqa: B007 - the registrar's clock reads it
            registrar.keep_alive()
            found = request(lab.api, "GET", path)["status"]["addresses"]
            assert [each["address"] for each in found] == [*node.ips, "long-lived"]
    finally:
        request(lab.api, "DELETE", path)


def test_a_pod_runs_in_its_own_namespace_with_its_addresses_and_variables(lab: Lab) -> None:
    field = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    create(lab, "one", 'echo "$IP on $(ls /sys/class/net)"; sleep 1000', container={"env": [field]})
    pod = in_phase(lab, "one", "Running")
    conditions = {c["type"]: c["status"] for c in pod["status"]["conditions"]}
    assert conditions["Ready"] == conditions["PodScheduled"] == "True"
    assert len(pod["status"]["podIPs"]) == 2
    eventually(lambda: "eth0" in lab.pod_log("default", "one"), "the pod printed nothing")
    assert lab.pod_log("default", "one").startswith(pod["status"]["podIP"])
    assert netns.exists(namespace_of(lab, pod))
    delete(lab, "one")
    assert not netns.exists(namespace_of(lab, pod))


def test_exit_codes_reach_the_api_and_the_namespace_goes(lab: Lab) -> None:
    for name, script, phase, code in (("good", "exit 0", "Succeeded", 0), ("bad", "exit 3", "Failed", 3)):
        create(lab, name, script, restartPolicy="Never")
        pod = in_phase(lab, name, phase)
        assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == code
        assert not netns.exists(namespace_of(lab, pod))
        delete(lab, name)


def test_a_failing_container_is_started_again_and_counted(lab: Lab) -> None:
    create(lab, "crash", "exit 1", restartPolicy="OnFailure")

    def restarted() -> bool:
        statuses = (get(lab, "crash") or {}).get("status", {}).get("containerStatuses") or [{}]
        return bool(statuses[0].get("restartCount", 0) >= 2)

    eventually(restarted, "no restarts were counted")
    delete(lab, "crash")


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(lab: Lab) -> None:
    create(lab, "deaf", "trap '' TERM; echo up; while :; do sleep 0.1; done", terminationGracePeriodSeconds=1)
    pod = in_phase(lab, "deaf", "Running")
    eventually(lambda: "up" in lab.pod_log("default", "deaf"), "the pod did not start")
    delete(lab, "deaf")
    assert netns.pids([namespace_of(lab, pod)]) == []


def test_a_host_network_pod_has_its_nodes_addresses(lab: Lab) -> None:
    create(lab, "host", "sleep 1000", hostNetwork=True)
    pod = in_phase(lab, "host", "Running")
    assert pod["status"]["podIPs"] == pod["status"]["hostIPs"]
    node = f"tf-{lab.id}-{pod['spec']['nodeName']}"
    inside = netns.pids([node])
    assert inside
    delete(lab, "host")
    assert not set(inside) & set(netns.pids([node]))


def test_a_pod_the_lab_cannot_run_says_why(lab: Lab) -> None:
    body = {"metadata": {"name": "image"}, "spec": {"containers": [{"name": "main", "image": "nginx"}]}}
    request(lab.api, "POST", PODS, body=body)

    def waiting() -> Any:
        statuses = (get(lab, "image") or {}).get("status", {}).get("containerStatuses") or [{}]
        return statuses[0].get("state", {}).get("waiting")

    assert "give the first container a command" in eventually(waiting, "nothing was said")["message"]
    delete(lab, "image")


def test_a_forced_deletion_leaves_no_process(lab: Lab) -> None:
    create(lab, "forced", "trap '' TERM; while :; do sleep 0.1; done")
    pod = in_phase(lab, "forced", "Running")
    delete(lab, "forced", gracePeriodSeconds=0)
    eventually(lambda: not netns.exists(namespace_of(lab, pod)), "the namespace stayed")


def test_deployments_jobs_and_services_work_as_in_any_cluster(lab: Lab) -> None:
    web = ["/usr/bin/python3", "-m", "http.server", "80", "--bind", "::"]
    objects: list[dict[str, Any]] = [
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"terminationGracePeriodSeconds": 1,
                             "containers": [{"name": "main", "image": "none", "command": web}]},
                },
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ipFamilyPolicy": "RequireDualStack",
                     "ports": [{"port": 8080, "targetPort": 80}]},
        },
        {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "twice"},
            "spec": {"completions": 2, "template": {"spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "main", "image": "none", "command": ["true"]}],
            }}},
        },
    ]  # fmt: skip
    lab.kubectl("apply", "-f", "-", input="\n---\n".join(json.dumps(o) for o in objects))
    lab.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s")
    lab.kubectl("wait", "--for=condition=Complete", "job/twice", "--timeout=60s")
    addresses = request(lab.api, "GET", "/api/v1/namespaces/default/services/web")["spec"]["clusterIPs"]
    assert len(addresses) == 2
    for address in addresses:
        url = f"http://[{address}]:8080/" if ":" in address else f"http://{address}:8080/"
        eventually(partial(answers, lab, url), f"{url} did not answer")
    lab.kubectl("delete", "deployment/web", "service/web", "job/twice", "--wait")
    eventually(lambda: not request(lab.api, "GET", PODS)["items"], "pods stayed")
    assert netns.list_names(f"tf-{lab.id}-p-") == []
