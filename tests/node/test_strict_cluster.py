# SPDX-License-Identifier: Apache-2.0
"""The chart in a cluster with rules of its own: Pod Security, agents with less, a kube-scheduler that exists.

The tests are one story and run in the order they are written in. A namespace enforces ``restricted`` when the
chart comes. Then it is labelled as the documentation says. Then agents run on node2 with one capability or mount
less. Last the cluster's own kube-scheduler, a static pod of node1 as kubeadm makes it, is given the extender.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import pytest
import yaml

from footprint.keys import NODE_FOOTPRINT, POD_CLASS
from lab import manifests
from lab.controlplane import scheduler_config
from lab.errors import LabError
from lab.network.addresses import OUTSIDE_V4
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import ours_on
from tests.cluster.support.workloads import eventually, get
from tests.node.support import chart, documented, lesser
from tests.node.support.chart import NAME
from tests.node.support.static_scheduler import CONFIG, SKIPPED, ControlPlaneHost
from tests.node.support.workloads import PORT, SINK, inside, pod, running

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

INSTALL_PAGE: Final = "docs/how-to/install-with-helm.md"
EXISTING_PAGE: Final = "docs/how-to/use-an-existing-kube-scheduler.md"
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
ENDS: Final = {"NET_ADMIN": "NET_ADMIN", "node-sysctls": "nf_conntrack_acct"}
"""What an agent that reads by ctnetlink cannot do without, and what its last line names."""
ATTEMPTS: Final = 5
ACCOUNTING: Final = "net.netfilter.nf_conntrack_acct"


@pytest.fixture(scope="module")
def kind() -> Mapping[str, Any]:
    """A lab of its own: its nodes' settings and programs are changed."""
    return {}


def values(lab: RealLab) -> dict[str, Any]:
    """Agents on node1 alone: node2 is for lesser ones."""
    return {
        "nodeagent": {
            "nodeSelector": {"kubernetes.io/hostname": "node1"},
            "settings": {"linkCapacity": lab.config.link},
        }
    }


@pytest.fixture(scope="module")
def release(lab: RealLab) -> RealLab:
    """The lab with the chart in a namespace whose level is ``restricted``; nobody waits for it."""
    lab.kubectl("create", "namespace", NAME)
    lab.kubectl("label", "namespace", NAME, f"{ENFORCE}=restricted")
    chart.helm(lab, "install", NAME, str(manifests.CHART), values=values(lab))
    return lab


# -- Pod Security ---------------------------------------------------------------------------------------------


def test_extenders_and_scheduler_run_where_restricted_is_enforced(release: RealLab) -> None:
    for component in ("extender", "scheduler"):
        release.kubectl("-n", NAME, "rollout", "status", f"deployment/{NAME}-{component}", "--timeout=110s")
        assert len(chart.pods(release, component)) == 2


def test_agents_are_refused_there_and_an_event_says_why(release: RealLab) -> None:
    def refused() -> str:
        events = get(release, "events", "-n", NAME, "--field-selector", f"involvedObject.name={NAME}-nodeagent")
        return next((e["message"] for e in events["items"] if e["reason"] == "FailedCreate"), "")

    message = eventually("the refusal is an event", refused, 60)
    assert 'violates PodSecurity "restricted:latest"' in message
    for reason in ("host namespaces (hostNetwork=true)", "hostPath", "SYS_ADMIN", "runAsUser=0"):
        assert reason in message
    assert chart.pods(release, "nodeagent") == []


@pytest.mark.parametrize("level", ["baseline", "privileged"])
def test_the_agents_need_the_level_that_is_documented_and_no_lower_one(release: RealLab, level: str) -> None:
    name = f"level-{level}"
    release.create_namespace(name)
    release.kubectl("label", "namespace", name, f"{ENFORCE}={level}")
    spec = lesser.template(release)["spec"]
    for account in ("serviceAccountName", "serviceAccount"):
        spec.pop(account, None)
    asked = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent"}, "spec": spec}
    create = ("create", "-n", name, "--dry-run=server", "-f", "-")
    if level == "privileged":
        release.kubectl(*create, input=json.dumps(asked))
    else:
        with pytest.raises(LabError, match='violates PodSecurity "baseline:latest"'):
            release.kubectl(*create, input=json.dumps(asked))


def test_with_the_documented_label_the_agents_come(release: RealLab) -> None:
    label = documented.commands(INSTALL_PAGE, ENFORCE).splitlines()[-1].split()
    assert label[0] == "kubectl"
    release.kubectl(*label[1:], "--overwrite")
    release.kubectl("-n", NAME, "rollout", "restart", f"daemonset/{NAME}-nodeagent")
    release.kubectl("-n", NAME, "rollout", "status", f"daemonset/{NAME}-nodeagent", "--timeout=110s")
    eventually("node1 is annotated", lambda: NODE_FOOTPRINT in ours_on(release, "node1"), 60)


# -- least privilege ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def said(release: RealLab) -> dict[str, tuple[int | None, str]]:
    """By what was left out, the exit status of an agent on node2 (None: it measures) and its log."""
    whole = lesser.template(release)
    release.node("node2").run(["sysctl", "-w", f"{ACCOUNTING}=0"])
    # The one that switches byte accounting on comes last: the others would find it switched on.
    for_good = [name for name in sorted(lesser.granted(whole)) if name not in ENDS]
    return lesser.said(release, whole, sorted(ENDS), "node2") | lesser.said(release, whole, for_good, "node2")


@pytest.mark.parametrize("left_out", sorted(ENDS))
def test_an_agent_without_what_it_reads_by_ends_and_its_last_line_says_what_to_add(
    said: dict[str, tuple[int | None, str]], left_out: str
) -> None:
    status, log = said[left_out]
    assert status == 2
    assert ENDS[left_out] in log.splitlines()[-1]


def test_everything_else_that_is_granted_is_for_ebpf_and_ctnetlink_measures_without_it(
    said: dict[str, tuple[int | None, str]],
) -> None:
    rest = {name: status for name, (status, _) in said.items() if name not in ENDS}
    assert set(rest) >= {"SYS_ADMIN", "tmp", "bpffs"}
    assert set(rest.values()) == {None}


# -- the kube-scheduler that exists ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_scheduler(release: RealLab) -> Iterator[ControlPlaneHost]:
    """The cluster's own kube-scheduler, set up by what the page says, on node1."""
    host = ControlPlaneHost(release, "node1")
    host.prepare()
    # On both nodes from here on: beside a node of which nothing is known, no node is dropped for mice.
    agents = {"nodeagent": {"settings": {"linkCapacity": release.config.link}}}
    chart.upgrade(release, {**agents, "scheduler": {"enabled": False}, "extender": {"service": {"clusterIP": ""}}})
    admin = "/etc/kubernetes/admin.conf"
    host.write(admin, host.embedded("host-admin", "/O=system:masters/CN=host-admin"))
    snippet = host.shell(documented.commands(EXISTING_PAGE, "get configmap").splitlines()[-1], admin)
    address = host.shell(documented.commands(EXISTING_PAGE, "get service"), admin)
    host.shell(documented.commands(EXISTING_PAGE, "get secret"), admin)
    (extender,) = yaml.safe_load(snippet)["extenders"]
    extender["urlPrefix"] = re.sub(r"//[^:]+:", f"//{address}:", extender["urlPrefix"])
    host.write(CONFIG, yaml.safe_dump({**scheduler_config.shipped(), "extenders": [extender]}))
    release.stop_scheduler()
    host.run_scheduler()
    eventually("the static pod is ready", lambda: _ready(release, host.pod), 120)
    yield host
    host.end_scheduler()
    release.start_scheduler(extender=False)


def _ready(lab: RealLab, name: str) -> bool:
    found = get(lab, "pods", "-n", "kube-system", "--field-selector", f"metadata.name={name}")["items"]
    return any(
        c["type"] == "Ready" and c["status"] == "True" for p in found for c in p["status"].get("conditions", ())
    )


def test_a_pod_that_names_no_scheduler_is_placed_by_its_traffic(
    release: RealLab, own_scheduler: ControlPlaneHost
) -> None:
    release.spawn_in("outside", ["busybox", *SINK], name="outside-sink")
    send = f"dd if=/dev/zero bs=65536 2>/dev/null | nc {OUTSIDE_V4} {PORT}"
    with running(release, pod("bulk", ["sleep", "100000"], node="node1")), told(release, own_scheduler):
        inside(release, "bulk", "sh", "-c", f"(while sleep 0.1; do {send}; done) >/dev/null 2>&1 &")
        assert _undisturbed(release, own_scheduler) == {("default-scheduler", "node2")}
        assert "x509" not in own_scheduler.log()


def _undisturbed(lab: RealLab, host: ControlPlaneHost) -> set[tuple[str, str]]:
    """Where four mice were placed by whom, while extenders drop node1 and kube-scheduler hears them in time."""
    for attempt in range(ATTEMPTS):
        eventually("every extender drops node1 for mice, and keeps node2", lambda: _drop_node1(host), 120)
        before, skipped = chart.filtered(lab), host.log().count(SKIPPED)
        places = _placed(lab, [_mouse(f"mouse{attempt}-{i}") for i in range(4)])
        if host.log().count(SKIPPED) == skipped and _drop_node1(host):
            assert chart.filtered(lab) - before >= 4
            return places
    raise AssertionError(f"a busy machine has disturbed each of {ATTEMPTS} attempts")


def _mouse(name: str) -> dict[str, Any]:
    mouse = pod(name, ["sleep", "100000"])
    mouse["metadata"]["annotations"] = {POD_CLASS: "mouse"}
    return mouse


def _drop_node1(host: ControlPlaneHost) -> bool:
    """Every extender lets a mouse go to node2 alone."""
    answers = [answer["nodes"] for answer in host.explained(_mouse("asked-about")).values()]
    return all([name for name, node in nodes.items() if node["passes"]] == ["node2"] for nodes in answers)


def _placed(lab: RealLab, pods: Sequence[dict[str, Any]]) -> set[tuple[str, str]]:
    """By which schedulers and on which nodes, as soon as each has one."""
    names = [each["metadata"]["name"] for each in pods]
    lab.kubectl("create", "-f", "-", input=yaml.safe_dump_all(pods))

    def places() -> set[tuple[str, str]]:
        specs = [each["spec"] for each in get(lab, "pods", *names)["items"]]
        bound = all(spec.get("nodeName") for spec in specs)
        return {(spec["schedulerName"], spec["nodeName"]) for spec in specs} if bound else set()

    try:
        return eventually("they have nodes", places, 60)
    finally:
        lab.kubectl("delete", "pods", "--timeout=110s", *names)


@contextmanager
def told(lab: RealLab, host: ControlPlaneHost) -> Iterator[None]:
    """A failure shows what the extenders say of a mouse, and the ends of their logs and kube-scheduler's."""
    try:
        yield
    except AssertionError as error:
        error.add_note(json.dumps(host.explained(_mouse("asked-about")), indent=1))
        for each in chart.pods(lab, "extender"):
            error.add_note(lab.kubectl("-n", NAME, "logs", each["metadata"]["name"], "--tail=20"))
        error.add_note("\n".join(host.log().splitlines()[-40:]))
        raise
