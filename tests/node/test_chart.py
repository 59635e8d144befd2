# SPDX-License-Identifier: Apache-2.0
"""The chart at its defaults on real nodes: installed by Helm, measuring, placing, removed.

The tests are one story and run in the order they are written in. Images come from the lab's registry under
the names that the chart gives them; nothing was imported by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from footprint.classes import TrafficClass
from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, NODE_SUMMARY, lease_name
from lab.machine import cgroups
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import leases, ours_on
from tests.cluster.support.workloads import eventually, footprint, get, measured
from tests.node.support import accounting, chart
from tests.node.support.chart import NAME
from tests.node.support.workloads import inside, pod

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

NODES: Final = ("node1", "node2")
ACCOUNTING: Final = "/proc/sys/net/netfilter/nf_conntrack_acct"


@pytest.fixture(scope="module")
def release(lab: RealLab) -> Iterator[RealLab]:
    """The lab with the chart installed at its defaults. The last test removes it."""
    assert not chart.installed(lab)
    for node in NODES:
        lab.node(node).run(["sh", "-c", f"echo 0 >{ACCOUNTING}"])  # as Linux has it by default
    chart.install(lab)
    yield lab
    if chart.installed(lab):
        chart.helm(lab, "uninstall", NAME, "--wait", "--timeout=4m")


# -- what was started ---------------------------------------------------------------------------------------------


def test_every_pod_is_ready_by_its_own_probes_and_was_never_restarted(release: RealLab) -> None:
    for component, count in (("nodeagent", 2), ("extender", 2), ("scheduler", 2)):
        found = chart.pods(release, component)
        assert len(found) == count
        for each in found:
            (status,) = each["status"]["containerStatuses"]
            assert (status["ready"], status["restartCount"]) == (True, 0), each["metadata"]["name"]
        assert {each["spec"]["nodeName"] for each in found} == set(NODES)


def test_images_are_the_built_ones_pulled_from_the_registry(release: RealLab) -> None:
    for component in ("nodeagent", "extender"):
        digest = next(d for name, d in release.digests.items() if f"traffic-footprint/{component}:" in name)
        for each in chart.pods(release, component):
            assert each["status"]["containerStatuses"][0]["imageID"].endswith(digest)


@pytest.mark.parametrize(
    ("component", "capabilities", "user"),
    [
        ("nodeagent", "0000000000201000", 0),  # NET_ADMIN, SYS_ADMIN
        ("extender", "0000000000000000", 65532),
        ("scheduler", "0000000000000000", 65532),
    ],
)
def test_the_kernel_confines_each_program_as_the_chart_asks(
    release: RealLab, component: str, capabilities: str, user: int
) -> None:
    for each in chart.pods(release, component):
        pid = chart.process(release, each)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Seccomp"] == "2", "a filter, which is the runtime's default one"
        assert status["NoNewPrivs"] == "1"
        assert status["CapEff"] == status["CapBnd"] == capabilities
        assert status["Uid"].split()[0] == str(user)
        root = next(
            line for line in Path(f"/proc/{pid}/mounts").read_text().splitlines() if line.split()[1] == "/"
        )
        assert root.split()[3].split(",")[0] == "ro"


@pytest.mark.parametrize(("component", "limit"), [("nodeagent", 384), ("extender", 512)])
def test_the_memory_limit_is_the_cgroups(release: RealLab, component: str, limit: int) -> None:
    for each in chart.pods(release, component):
        assert _memory_limit(chart.process(release, each)) == limit * 2**20


def _memory_limit(pid: int) -> int:
    """Bytes, by the process's own cgroup, in either version."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("memory", ""):
            for file in (f"memory{path}/memory.limit_in_bytes", f"{path.lstrip('/')}/memory.max"):
                if (cgroups.ROOT / file).exists():
                    return int((cgroups.ROOT / file).read_text())
    raise AssertionError(f"process {pid} is in no memory cgroup")


# -- what it measures ---------------------------------------------------------------------------------------------


def test_the_agents_say_what_they_measure_by(release: RealLab) -> None:
    for node in NODES:
        shown = eventually(f"{node} is annotated", lambda n=node: footprint(release, n), 60)  # type: ignore[misc]
        assert set(ours_on(release, node)) == {NODE_FOOTPRINT, NODE_SUMMARY, NODE_ELEPHANT_SHARE}
        assert shown.src == "ctnetlink"
        assert lease_name(node) in leases(release)
        assert release.node(node).run(["cat", ACCOUNTING]).strip() == "1", "the agent switched accounting on"


@pytest.fixture(scope="module")
def uids(release: RealLab) -> Iterator[dict[str, str]]:
    """The UIDs of a receiver on node2 behind Services and of a sender on each node, by name."""
    with accounting.stage(release) as found:
        yield found


@pytest.mark.parametrize("path", accounting.ACROSS)
def test_bytes_across_nodes_are_counted_to_two_per_cent_at_both_ends(
    release: RealLab, uids: dict[str, str], path: str
) -> None:
    accounting.across_nodes(release, uids, path)


@pytest.mark.parametrize("door", accounting.DOORS)
def test_bytes_from_outside_the_cluster_are_counted_for_the_pod_that_takes_them(
    release: RealLab, uids: dict[str, str], door: str
) -> None:
    accounting.from_outside(release, uids, door)


def test_a_pod_that_reaches_itself_through_its_service_uses_no_link(
    release: RealLab, uids: dict[str, str]
) -> None:
    accounting.local(release, uids, "store")


def test_bytes_between_pods_of_one_node_are_local(release: RealLab, uids: dict[str, str]) -> None:
    accounting.local(release, uids, "sender2")


def test_an_elephant_is_annotated_under_its_pods_uid_with_its_rate(release: RealLab, uids: dict[str, str]) -> None:
    address = accounting.address(release, "ClusterIP over IPv4")
    inside(
        release, "sender1", "sh", "-c",
        f"(dd if=/dev/zero bs=65536 count=163840 2>/dev/null | nc {address} 5001) >/dev/null 2>&1 &",
    )  # fmt: skip

    def elephant(node: str, name: str) -> Any:
        """Once its rate has been written that comes near the link's: a first one holds more of the time before."""
        shown = measured(release, node, name)
        if shown and shown.cls is TrafficClass.ELEPHANT and shown.el == 1 and shown.elephants.busier > 100e6:
            return shown
        return None

    sender = eventually("node1 shows the elephant", lambda: elephant("node1", "sender1"), 90)
    receiver = eventually("node2 shows it too", lambda: elephant("node2", "store"), 90)
    assert (sender.uid, sender.ns, sender.wl) == (uids["sender1"], "default", "Pod/sender1")
    assert receiver.uid == uids["store"]
    # The link carries 200 Mbit/s.
    assert 100e6 < sender.etx <= 210e6
    assert 100e6 < receiver.erx <= 210e6
    inside(release, "sender1", "killall", "dd", "nc")
    eventually("the elephant has left", lambda: not _elephants(release, "node2"), 90)


def _elephants(lab: RealLab, node: str) -> int:
    """Elephant flows in a node's annotation."""
    shown = footprint(lab, node)
    return sum(each.el for each in shown.pods) if shown else 0


# -- what it places -----------------------------------------------------------------------------------------------


def test_a_deployment_that_asks_for_it_is_placed_by_the_charts_scheduler(release: RealLab) -> None:
    asked = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "shop"}},
        "template": {"metadata": {"labels": {"app": "shop"}}, "spec": pod("x", ["sleep", "100000"])["spec"]},
    }}  # fmt: skip
    release.kubectl("apply", "-f", "-", input=json.dumps(asked))
    try:
        release.kubectl("rollout", "status", "deployment/shop", "--timeout=110s")
        patch = json.dumps({"spec": {"template": {"spec": {"schedulerName": NAME}}}})
        release.kubectl("patch", "deployment", "shop", "-p", patch)
        release.kubectl("rollout", "status", "deployment/shop", "--timeout=110s")
        moved = [p for p in get(release, "pods", "-l", "app=shop")["items"] if p["spec"]["schedulerName"] == NAME]
        assert len(moved) == 2
        for each in moved:
            selector = f"involvedObject.name={each['metadata']['name']},reason=Scheduled"
            (event,) = eventually(
                "kube-scheduler says so",
                lambda s=selector: get(release, "events", "--field-selector", s)["items"],  # type: ignore[misc]
            )
            assert (event.get("reportingComponent") or event["source"]["component"]) == NAME
    finally:
        release.kubectl("delete", "deployment", "shop", "--timeout=60s")


# -- how it goes --------------------------------------------------------------------------------------------------


def test_uninstalling_leaves_nothing_but_what_is_documented(release: RealLab, uids: dict[str, str]) -> None:
    assert uids
    before = {node: release.node(node).run(["sysctl", "-a", "--pattern", "^net"]) for node in NODES}
    agents = [chart.process(release, each) for each in chart.pods(release, "nodeagent")]
    chart.helm(release, "uninstall", NAME, "--wait", "--timeout=4m")
    eventually("no pod is left", lambda: not get(release, "pods", "-n", NAME)["items"], 60)
    for node in NODES:
        assert ours_on(release, node) == {}
        eventually(
            "the kubelet has removed the containers",
            lambda n=node: NAME not in release.node(n).crictl("ps", "--all"),  # type: ignore[misc]
            150,
        )
        after = release.node(node).run(["sysctl", "-a", "--pattern", "^net"])
        assert _settings(after) == _settings(before[node]), "uninstalling changes no setting of a node"
    assert leases(release) == []
    assert not [pid for pid in agents if Path(f"/proc/{pid}").exists()]
    for kind in (
        "clusterroles", "clusterrolebindings", "validatingadmissionpolicies", "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", "priorityclasses",
    ):  # fmt: skip
        assert NAME not in release.kubectl("get", kind, "-o", "name"), kind


def _settings(text: str) -> dict[str, str]:
    """Kernel settings, without those of pods' interfaces and those that count something by themselves."""
    pairs = (line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    return {key: value for key, value in pairs if ".veth" not in key and not key.endswith("_count")}
