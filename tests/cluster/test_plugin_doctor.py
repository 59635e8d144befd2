# SPDX-License-Identifier: Apache-2.0
"""The doctor before the chart's own release on a real API server: well first, then ill in ways made for real.

The tests are one story and run in the order they are written in. Agents, extender and kube-scheduler run with
their pods' own rights and files, on their nodes' addresses, and the API server's proxy reaches the extender there.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from footprint.cluster.client import MERGE_PATCH, request
from footprint.keys import NODE_FOOTPRINT
from lab import manifests, programs
from lab.config import LabConfig
from lab.controlplane.plane import answers
from lab.lab import Lab
from lab.network.addresses import node_v4
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.releases import NAME, VALUES, Release, merged
from tests.cluster.support.workloads import eventually, get, pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RENEWED: Final = {"nodeagent": {"settings": {"leaseRenew": 4}}}
"""A dead agent shows after three of these seconds."""
TOPICS: Final = (
    "agents", "measuring", "links", "extender", "schedulers", "certificates", "policies", "definition", "versions",
    "clocks", "rights",
)  # fmt: skip


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Two nodes, the chart, and all its programs; nothing of the lab's own installation."""
    config = LabConfig(nodes=2, agents=False, extender=False, keep_dir=logs_of("test_plugin_doctor"))
    for lab in running(config):
        lab.kubectl("delete", "-k", str(manifests.BASE), "--wait", "--timeout=120s")
        made = Release(lab, tmp_path_factory.mktemp("doctor"), {})
        values = merged(VALUES, RENEWED)
        done = made.helm("install", NAME, str(manifests.CHART), "--create-namespace", values=values)
        assert done.returncode == 0, done.stderr
        try:
            yield made
        finally:
            for name in list(made.containers):
                made.stop(name)


def start(release: Release, made: dict[str, Any], index: int, *, program: bool = True) -> None:
    """Run a pod's program on a node, and report it as a kubelet does: running, ready, with the node's address.

    Without ``program``, only report it.
    """
    if program:
        process = release.run(made, f"node{index}")
        if "-extender-" in process.name:  # kube-scheduler places a pod without an extender that has not begun
            process.wait_ready(answers(f"http://{node_v4(index)}:8891/readyz", None), 60)
    started = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    status = {
        "phase": "Running", "podIP": node_v4(index), "podIPs": [{"ip": node_v4(index)}],
        "conditions": [{"type": kind, "status": "True"} for kind in ("ContainersReady", "Ready")],
        "containerStatuses": [{
            "name": made["spec"]["containers"][0]["name"], "image": "none", "imageID": "", "restartCount": 0,
            "ready": True, "started": True, "state": {"waiting": None, **started},
        }],
    }  # fmt: skip
    path = f"/api/v1/namespaces/{NAME}/pods/{made['metadata']['name']}/status"
    body = {"status": status}
    request(release.lab.api, "PATCH", path, body=body, content_type=MERGE_PATCH)


def run(lab: Lab, *arguments: str, kubeconfig: str = "") -> subprocess.CompletedProcess[str]:
    """The installed plugin, as the administrator unless another kubeconfig is given."""
    env = {**os.environ, "KUBECONFIG": kubeconfig or str(lab.kubeconfig)}
    argv = [programs.console_script("kubectl-footprint"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120, env=env)


def diagnosis(lab: Lab, *arguments: str, kubeconfig: str = "") -> dict[str, Any]:
    """``doctor -o json``, whose exit status says the same as its worst finding."""
    done = run(lab, "doctor", "-o", "json", *arguments, kubeconfig=kubeconfig)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == {None: 0, "note": 0, "warning": 1, "error": 3}[found["worst"]], done.stderr
    return found


def ills(lab: Lab, *arguments: str) -> dict[str, dict[str, Any]]:
    """Findings beyond notes, by their kind."""
    found = diagnosis(lab, *arguments)["findings"]
    return {one["id"]: one for one in found if one["severity"] != "note"}


def bound(release: Release, component: str) -> list[dict[str, Any]]:
    """Both pods of a component, once nodes have taken them."""

    def taken() -> list[dict[str, Any]]:
        found = release.pods(component)
        return found if len(found) == 2 and all(p.get("status", {}).get("hostIP") for p in found) else []

    return eventually(f"two pods of {component} are taken", taken, 60)


def place(lab: Lab, name: str) -> str:
    """The node where the release's kube-scheduler puts a new pod."""
    wanted = pod(name, ["sleep", "600"])
    wanted["spec"]["schedulerName"] = NAME
    lab.kubectl("apply", "-f", "-", input=json.dumps(wanted))
    found = eventually("the pod is placed", lambda: get(lab, "pod", name)["spec"].get("nodeName") or "", 60)
    return str(found)


def start_scheduler(release: Release) -> str:
    """Run the first pod of the release's kube-scheduler; its name. The second one is only reported."""
    first, second = bound(release, "scheduler")
    start(release, first, 2)
    start(release, second, 1, program=False)
    return str(first["metadata"]["name"])


def start_extender(release: Release) -> None:
    """A replica on each node; kube-scheduler is told the first one's address for the Service's name."""
    for index, each in enumerate(bound(release, "extender"), 1):
        start(release, each, index)


def test_a_release_that_works_needs_no_mending(release: Release) -> None:
    lab = release.lab
    for each in bound(release, "nodeagent"):
        start(release, each, int(each["spec"]["nodeName"].removeprefix("node")))
    start_extender(release)
    start_scheduler(release)
    place(lab, "qzv-first")
    told: list[dict[str, Any]] = []

    def well() -> bool:
        told[:] = [one for one in diagnosis(lab)["findings"] if one["severity"] != "note"]
        return not told

    try:
        eventually("nothing is left to mend", well, 120)
    except AssertionError as error:
        raise AssertionError(json.dumps(told, indent=1)) from error


def test_the_json_has_the_shape_that_is_documented(release: Release) -> None:
    found = diagnosis(release.lab)
    assert list(found) == ["apiVersion", "kind", "at", "worst", "counts", "looked_at", "findings"]
    assert (found["apiVersion"], found["kind"]) == ("plugin.traffic-footprint.io/v1", "Diagnosis")
    assert tuple(found["looked_at"]) == TOPICS
    assert found["counts"] == {"note": len(found["findings"]), "warning": 0, "error": 0}
    [sources] = [one for one in found["findings"] if one["id"] == "sources"]
    assert list(sources) == ["id", "topic", "severity", "what", "why", "mend", "about", "count", "said"]
    assert sources["what"] == "Measured: 2 nodes by ctnetlink."


def test_people_read_the_same_with_its_remedy(release: Release) -> None:
    shown = run(release.lab, "doctor")
    assert shown.returncode == 0, shown.stderr
    assert "Measured: 2 nodes by ctnetlink." in shown.stdout
    assert shown.stdout.splitlines()[-1].endswith(f"Looked at: {', '.join(TOPICS)}.")
    assert "\x1b" not in shown.stdout


def test_a_report_of_the_same_can_do_without_names(release: Release, tmp_path: Path) -> None:
    lab, file = release.lab, tmp_path / "report.html"
    done = run(lab, "report", str(file))
    assert done.returncode == 0, done.stderr
    known = ["node1", "node2", *(p["metadata"]["name"] for p in get(lab, "pods", "-A")["items"])]
    text = file.read_text()
    assert all(name in text for name in ("node1", "node2"))
    assert "2 nodes by ctnetlink" in text
    shown = run(lab, "report", "-", "--anonymise")
    assert shown.returncode == 0, shown.stderr
    assert [name for name in (*known, node_v4(1), node_v4(2)) if name in shown.stdout] == []
    assert "node-1" in shown.stdout


def test_another_namespace_holds_no_release(release: Release) -> None:
    found = ills(release.lab, "--release-namespace", "default")
    assert found["agents-absent"]["severity"] == "error"
    assert "--release-namespace" in found["agents-absent"]["mend"][0]


def test_an_agent_that_ended_is_found_by_its_node(release: Release) -> None:
    lab = release.lab
    [ended] = [p for p in release.pods("nodeagent") if p["spec"]["nodeName"] == "node2"]
    release.stop(ended["metadata"]["name"])
    found = eventually("its heartbeat is missed", lambda: ills(lab).get("heartbeats-stale"), 60)
    assert (found["about"], found["count"]) == (["node2"], 1)
    lab.kubectl("annotate", "--overwrite", "node", "node2", f"{NODE_FOOTPRINT}={{")
    assert ills(lab)["footprint-malformed"]["about"] == ["node2"]
    release.run(ended, "node2")
    eventually("it is well again", lambda: "heartbeats-stale" not in ills(lab), 60)


def test_a_right_that_is_missing_is_named_and_the_rest_is_looked_at(release: Release, tmp_path: Path) -> None:
    lab = release.lab
    lab.kubectl("create", "serviceaccount", "looker", "-n", "default")
    lab.kubectl("create", "clusterrolebinding", "looker", "--clusterrole=view", "--serviceaccount=default:looker")
    token = lab.kubectl("create", "token", "looker", "-n", "default").strip()
    users = tmp_path / "users"
    users.write_text(yaml.safe_dump({"users": [{"name": "looker", "user": {"token": token}}]}))
    found = diagnosis(lab, "--user", "looker", kubeconfig=f"{lab.kubeconfig}:{users}")
    missing = {one["what"]: one for one in found["findings"] if one["id"] == "not-looked-at"}
    for verb, resource in (("get", "secrets"), ("list", "nodes"), ("get", "pods/proxy")):
        [one] = [v for k, v in missing.items() if f"the right to {verb} {resource} is missing" in k]
        assert f"--verb={verb} --resource={resource}" in one["mend"][0]
        assert "looker" in one["said"], "the server's own words"
    assert found["worst"] == "warning"
    assert "scheduler-not-ready" not in {one["id"] for one in found["findings"]}
    # As printed, the command is one that kubectl takes, and the right is then there.
    for one in missing.values():
        command = one["mend"][0].partition("#")[0].split()
        assert command[:2] == ["kubectl", "create"]
        lab.kubectl(*command[1:], "--dry-run=server", "-o", "name")


def test_an_account_that_may_nothing_gets_a_list_of_rights_and_no_traceback(
    release: Release, tmp_path: Path
) -> None:
    lab = release.lab
    token = lab.kubectl("create", "token", "default", "-n", "default").strip()
    users = tmp_path / "users"
    users.write_text(yaml.safe_dump({"users": [{"name": "nobody", "user": {"token": token}}]}))
    done = run(lab, "doctor", "--user", "nobody", kubeconfig=f"{lab.kubeconfig}:{users}")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("the right to list") >= 7


def test_a_policy_that_nobody_bound_is_found(release: Release) -> None:
    lab, kind = release.lab, "validatingadmissionpolicybinding"
    kept = get(lab, kind, f"{NAME}-nodeagent")
    lab.kubectl("delete", kind, f"{NAME}-nodeagent")
    assert set(ills(lab)) == {"policy-not-bound"}
    lab.kubectl("apply", "-f", "-", input=json.dumps({**kept, "metadata": {"name": f"{NAME}-nodeagent"}}))
    patch = json.dumps({"spec": {"validationActions": ["Audit"]}})
    lab.kubectl("patch", kind, f"{NAME}-nodeagent", "--type", "merge", "-p", patch)
    [found] = ills(lab).values()
    assert found["id"] == "policy-does-not-deny"
    lab.kubectl(*_arguments(found["mend"][0]))
    assert ills(lab) == {}


def test_a_namespace_that_asks_for_the_scheduler_needs_a_policy_that_is_bound(release: Release) -> None:
    lab, binding = release.lab, "mutatingadmissionpolicybinding"
    asked = "traffic-footprint.io/scheduling"
    lab.kubectl("create", "namespace", "asking")
    lab.kubectl("label", "namespace", "asking", f"{asked}=enabled")
    assert set(ills(lab)) == {"routing-absent"}
    done = release.helm(
        "template", NAME, str(manifests.CHART), "--show-only", "templates/routing.yaml",
        "--set=routing.namespaceLabel.enabled=true", "--kube-version=v1.37.2",
        "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lab.kubectl("apply", "-f", "-", input=done.stdout)
    assert ills(lab) == {}
    lab.kubectl("delete", binding, f"{NAME}-routing")
    assert set(ills(lab)) == {"policy-not-bound"}
    other = done.stdout.replace(f"schedulerName: '{NAME}'", "schedulerName: 'another'")
    lab.kubectl("apply", "-f", "-", input=other)
    assert set(ills(lab)) == {"routing-elsewhere"}
    lab.kubectl("delete", "-f", "-", input=done.stdout)
    lab.kubectl("delete", "namespace", "asking", "--wait", "--timeout=120s")
    assert ills(lab) == {}


def _arguments(command: str) -> list[str]:
    """Of a kubectl command as printed."""
    return shlex.split(command)[1:]


def test_a_kube_scheduler_told_to_wait_for_the_extender_is_found(release: Release) -> None:
    lab = release.lab
    held = get(lab, "configmap", f"{NAME}-scheduler", "-n", NAME)["data"]["config.yaml"]
    told = yaml.safe_load(held)
    told["extenders"][0] |= {"ignorable": False, "httpTimeout": "30s", "weight": 1}
    _configure(lab, yaml.safe_dump(told))
    assert set(ills(lab)) == {"not-ignorable", "timeout-long", "weight"}
    _configure(lab, held)
    assert ills(lab) == {}


def _configure(lab: Lab, text: str) -> None:
    patch = json.dumps({"data": {"config.yaml": text}})
    lab.kubectl("patch", "configmap", f"{NAME}-scheduler", "-n", NAME, "--type", "merge", "-p", patch)


def test_a_ca_that_did_not_sign_the_extender_is_found_and_so_is_its_silence(release: Release) -> None:
    """kube-scheduler reads the wrong CA, refuses the real extender, and places the pod without it."""
    lab = release.lab
    shown = release.helm("template", NAME, str(manifests.CHART), "--show-only", "templates/certificates.yaml")
    others = {s["metadata"]["name"]: s["data"] for s in yaml.safe_load_all(shown.stdout) if s}
    secret = f"{NAME}-scheduler-tls"
    before = get(lab, "secret", secret, "-n", NAME)["data"]["ca.crt"]
    _trust(lab, secret, others[secret]["ca.crt"])
    found = ills(lab)
    assert set(found) == {"ca-mismatch"}
    assert found["ca-mismatch"]["severity"] == "error"
    for name in [n for n in release.containers if "-scheduler-" in n or "-extender-" in n]:
        release.stop(name)
    start_extender(release)  # its counters begin anew
    scheduler = start_scheduler(release)
    assert place(lab, "placed-without-it") in ("node1", "node2")
    both = eventually("nobody has asked", lambda: (f := ills(lab)).get("nobody-asks") and f, 60)
    assert {"ca-mismatch", "nobody-asks"} <= set(both)
    assert "default/placed-without-it" in both["nobody-asks"]["about"]
    _trust(lab, secret, before)
    release.stop(scheduler)
    start_scheduler(release)
    place(lab, "placed-with-it")
    eventually("it is asked again", lambda: not ills(lab), 60)


def _trust(lab: Lab, secret: str, authority: str) -> None:
    assert base64.b64decode(authority).startswith(b"-----BEGIN CERTIFICATE-----")
    patch = json.dumps({"data": {"ca.crt": authority}})
    lab.kubectl("patch", "secret", secret, "-n", NAME, "--type", "merge", "-p", patch)


def test_a_definition_that_is_gone_is_found(release: Release) -> None:
    release.lab.kubectl("delete", "crd", "trafficfootprints.traffic-footprint.io", "--wait", "--timeout=60s")
    found = eventually("the API server serves it no more", lambda: ills(release.lab), 60)
    assert set(found) == {"definition-absent"}
    assert "kubectl apply --server-side -f manifests/base/crd.yaml" in found["definition-absent"]["mend"][0]


def test_an_api_server_that_does_not_answer_is_one_line(release: Release) -> None:
    release.lab.stop_apiserver()
    try:
        done = run(release.lab, "doctor", "--request-timeout", "5s")
    finally:
        release.lab.start_apiserver()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "cannot reach the API server" in done.stderr
