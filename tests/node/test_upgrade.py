# SPDX-License-Identifier: Apache-2.0
"""The release and its nodes as operators change them, under traffic: upgrades, good and bad, rollbacks, a drain.

Pods want a place from the chart's kube-scheduler all the while. Each test leaves the release as it was.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from footprint.keys import NODE_FOOTPRINT, lease_name
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import ours_on
from tests.cluster.support.workloads import eventually, footprint, get
from tests.node.support import accounting, chart
from tests.node.support.chart import NAME
from tests.node.support.churn import Arrivals
from tests.node.support.streams import begin_traffic, elephant, end_traffic
from tests.node.support.workloads import PORT, carried, pod, running

pytestmark = [pytest.mark.node, pytest.mark.timeout(900)]

NODES: Final = ("node1", "node2")
NOBODYS: Final = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def agents(release: RealLab) -> RealLab:
    """Here the whole chart."""
    return release


def uids_of(lab: RealLab, component: str) -> set[str]:
    return {each["metadata"]["uid"] for each in chart.pods(lab, component)}


def changed(lab: RealLab) -> dict[str, Any]:
    """The usual values with a change that replaces every agent, extender and scheduler."""
    usual = chart.usual(lab)
    usual["nodeagent"]["settings"]["linkCapacity"] = "250M"
    usual |= {each: {"podAnnotations": {"example.com/changed": "yes"}} for each in ("extender", "scheduler")}
    return usual


def test_a_rolling_upgrade_and_its_rollback_under_traffic_block_nobody_and_count_nothing_twice(
    agents: RealLab, uids: dict[str, str]
) -> None:
    before = {component: uids_of(agents, component) for component in ("nodeagent", "extender", "scheduler")}
    counted = begin_traffic(agents, uids)
    at_first = carried(agents, "sender1")
    eventually("the elephant is annotated", lambda: elephant(agents), 60)
    with Arrivals(agents) as arrivals:
        chart.upgrade(agents, changed(agents))
        placed = arrivals.placed()
        for component, former in before.items():
            now = uids_of(agents, component)
            assert len(now) == len(former)
            assert not now & former, f"every {component} was replaced"
        for node in NODES:
            assert NODE_FOOTPRINT in ours_on(agents, node)
        eventually("node1 has the new capacity", lambda: _capacity(agents) == 250e6, 60)
        # Its counters begin anew, from what the connection had carried by then.
        shown = eventually("the new agent annotates the elephant", lambda: elephant(agents), 60)
        assert 100e6 < shown.etx <= 210e6, "no rate is taken over the change"
        counted.read()
        by_new = counted.now["tx"]
        moved = carried(agents, "sender1").since(at_first).tx
        assert by_new <= moved, "nothing of the old agent's time"
        chart.helm(agents, "rollback", NAME, "--wait", "--timeout=4m")
        eventually("node1 has the old capacity again", lambda: _capacity(agents) == 200e6, 60)
        eventually("pods are placed after the rollback", lambda: arrivals.placed() > placed + 1, 60)
    end_traffic(agents)
    accounting.across_nodes(agents, uids, "ClusterIP over IPv4")


def _capacity(lab: RealLab) -> float:
    """bit/s of node1's link, by its annotation."""
    shown = footprint(lab, "node1")
    return shown.cap.tx if shown else 0.0


def test_an_upgrade_to_an_image_that_nobody_has_stops_at_one_and_a_rollback_mends_it(
    agents: RealLab, uids: dict[str, str]
) -> None:
    before = {component: uids_of(agents, component) for component in ("extender", "nodeagent")}
    bad = chart.usual(agents)
    bad["nodeagent"]["image"] = {"digest": NOBODYS}
    bad["extender"] = {"image": {"digest": NOBODYS}}
    begin_traffic(agents, uids)
    with Arrivals(agents) as arrivals:
        done = chart.try_upgrade(agents, bad, timeout="15s")
        assert done.returncode, done.stdout
        waiting = eventually(
            "kubelets say why", lambda: found if len(found := _unpulled(agents)) == 2 else None, 60
        )
        assert {component: len(nodes) for component, nodes in waiting.items()} == {"nodeagent": 1, "extender": 1}
        # Extenders answer as before: a new one must be ready before an old one leaves.
        assert before["extender"] <= uids_of(agents, "extender")
        assert len(before["nodeagent"] & uids_of(agents, "nodeagent")) == 1
        for node in NODES:
            assert NODE_FOOTPRINT in ours_on(agents, node), "what was measured last stays"
        placed = arrivals.placed()
        eventually("pods are placed meanwhile", lambda: arrivals.placed() > placed, 60)
        chart.helm(agents, "rollback", NAME, "--wait", "--timeout=4m")
    assert _unpulled(agents) == {}
    assert before["extender"] == uids_of(agents, "extender"), "they were never replaced"
    assert len(chart.pods(agents, "nodeagent")) == len(NODES)
    eventually("the elephant is annotated again", lambda: elephant(agents), 60)
    end_traffic(agents)


def _unpulled(lab: RealLab) -> dict[str, set[str]]:
    """Nodes of pods whose image cannot be pulled, by component."""
    found: dict[str, set[str]] = {}
    for each in get(lab, "pods", "-n", NAME)["items"]:
        for status in each["status"].get("containerStatuses", ()):
            if status["state"].get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff"):
                component = each["metadata"]["labels"]["app.kubernetes.io/component"]
                found.setdefault(component, set()).add(each["spec"]["nodeName"])
    return found


def test_a_drained_node_keeps_its_agent_and_every_byte_is_counted_where_pods_go(
    agents: RealLab, uids: dict[str, str]
) -> None:
    """A Deployment's pods send from the node that is drained, then from the other one, to a sink there."""
    target = accounting.address(agents, "ClusterIP over IPv4")
    loop = f"while :; do dd if=/dev/zero bs=65536 count=16 2>/dev/null | nc {target} {PORT}; sleep 0.2; done"
    movers = deployment("mover", ["sh", "-c", loop])
    (receiver,) = accounting.counting((2, uids["store"]))
    at_first = carried(agents, "store")
    with running(agents, movers), Arrivals(agents):
        agents.kubectl("rollout", "status", "deployment/mover", "--timeout=110s")
        assert {each["spec"]["nodeName"] for each in pods_of(agents, "mover")} == {"node1"}
        receiver.grows("rx", 8 * 2**20)
        lease = get(agents, "lease", lease_name("node1"), "-n", NAME)["spec"]["renewTime"]
        try:
            agents.kubectl(
                "drain", "node1", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=110s",
                "--pod-selector=app notin (sender1,arrival)",
            )  # fmt: skip
            eventually("its pod is on node2", lambda: _all_on(agents, "mover", "node2"), 90)
            eventually("node1 holds its Lease", lambda: _renewed(agents, "node1") != lease, 60)
            assert {each["spec"]["nodeName"] for each in chart.pods(agents, "nodeagent")} == set(NODES)
            (mover,) = pods_of(agents, "mover")
            accounting.Counted(2, mover["metadata"]["uid"]).grows("local", 4 * 2**20)
        finally:
            agents.kubectl("uncordon", "node1")
        agents.kubectl("delete", "deployment", "mover", "--timeout=60s")
        eventually("the mover is gone", lambda: not get(agents, "pods", "-l", "app=mover")["items"], 90)
    for component in ("extender", "scheduler"):
        agents.kubectl("-n", NAME, "rollout", "status", f"deployment/{NAME}-{component}", "--timeout=110s")
    accounting.settle(receiver)  # without a grace period, a pod's object goes before its container
    moved = carried(agents, "store").since(at_first)
    both = receiver("rx") + receiver("tx") + receiver("local")
    due = moved.rx + moved.tx
    assert abs(both - due) <= due * accounting.TOLERANCE, f"{due} bytes moved; {receiver}"


def _renewed(lab: RealLab, node: str) -> str:
    return str(get(lab, "lease", lease_name(node), "-n", NAME)["spec"]["renewTime"])


def pods_of(lab: RealLab, app: str) -> list[dict[str, Any]]:
    """Those that are not being deleted."""
    found = get(lab, "pods", "-l", f"app={app}")["items"]
    return [each for each in found if not each["metadata"].get("deletionTimestamp")]


def _all_on(lab: RealLab, app: str, node: str) -> bool:
    found = pods_of(lab, app)
    return bool(found) and all(
        each["spec"].get("nodeName") == node and each["status"]["phase"] == "Running" for each in found
    )


def deployment(name: str, command: list[str]) -> dict[str, Any]:
    """One pod, placed by the chart's kube-scheduler, on node1 while that takes pods."""
    spec = pod("x", command, schedulerName=NAME)["spec"]
    wish = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["node1"]}]}
    spec["affinity"] = {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "preference": wish}]}
    }
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    }  # fmt: skip
