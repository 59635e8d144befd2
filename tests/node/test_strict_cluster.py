# SPDX-License-Identifier: Apache-2.0
"""The chart in a cluster with rules of its own: Pod Security, agents with less, a kube-scheduler that exists.

The tests are one story and run in the order they are written in. A namespace enforces ``restricted`` when the
chart comes. Then it is labelled as the documentation says. Then agents run on node2 with one capability or mount
less. Last the cluster's own kube-scheduler, a static pod of node1 as kubeadm makes it, is given the extender.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
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
from tests.cluster.support.workloads import eventually, get, measured
from tests.node.support import chart, documented, lesser
from tests.node.support.chart import NAME
from tests.node.support.static_scheduler import CONFIG, ControlPlaneHost
from tests.node.support.workloads import PORT, SINK, inside, pod, running

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

INSTALL_PAGE: Final = "docs/how-to/install-with-helm.md"
EXISTING_PAGE: Final = "docs/how-to/use-an-existing-kube-scheduler.md"
ENFORCE: Final = "pod-security.kubernetes.io/enforce"
ENDS: Final = {"NET_ADMIN": "NET_ADMIN", "node-sysctls": "nf_conntrack_acct"}
"""What an agent that reads by ctnetlink cannot do without, and what its last line names."""
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
    with_address = {**values(release), "scheduler": {"enabled": False}}
    chart.upgrade(release, {**with_address, "extender": {"service": {"clusterIP": ""}}})
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
    endless = f"(dd if=/dev/zero bs=65536 count=131072 2>/dev/null | nc {OUTSIDE_V4} {PORT}) >/dev/null 2>&1 &"
    mice = [pod(f"mouse{i}", ["sleep", "100000"]) for i in range(4)]
    for mouse in mice:
        mouse["metadata"]["annotations"] = {POD_CLASS: "mouse"}
    before = chart.filtered(release)
    with running(release, pod("bulk", ["sleep", "100000"], node="node1")):
        inside(release, "bulk", "sh", "-c", endless)
        # A first rate may be too low to keep mice away.
        eventually(
            "node1 is full", lambda: (shown := measured(release, "node1", "bulk")) and shown.etx > 120e6, 90
        )
        with running(release, *mice):
            placed = [get(release, "pod", f"mouse{i}")["spec"] for i in range(4)]
    assert {(each["schedulerName"], each["nodeName"]) for each in placed} == {("default-scheduler", "node2")}
    assert chart.filtered(release) - before >= 4
    log = release.kubectl("-n", "kube-system", "logs", own_scheduler.pod)
    assert "x509" not in log
    assert "Skipping extender" not in log
