# SPDX-License-Identifier: Apache-2.0
"""The chart on real nodes while things fail under traffic: container runtimes, memory, disks.

And a day as it should be: programs of others, placed apart. Each test leaves the release as it was.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from footprint.keys import NODE_FOOTPRINT, lease_name
from lab.bench.scheduler.real import driver
from lab.errors import LabError
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import ours_on
from tests.cluster.support.workloads import eventually, footprint, get
from tests.node.support import accounting, chart, faults
from tests.node.support.chart import NAME
from tests.node.support.streams import begin_traffic, elephant, end_traffic
from tests.node.support.workloads import carried, inside, pod

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def agents(release: RealLab) -> RealLab:
    """Here the whole chart."""
    return release


def agent(lab: RealLab, node: str) -> dict[str, Any]:
    """The agent's pod of a node."""
    return next(each for each in chart.pods(lab, "nodeagent") if each["spec"]["nodeName"] == node)


def restarts(each: dict[str, Any]) -> int:
    return int(each["status"]["containerStatuses"][0]["restartCount"])


def renewed(lab: RealLab, node: str) -> str:
    return str(get(lab, "lease", lease_name(node), "-n", NAME)["spec"]["renewTime"])


def test_restarts_of_containerd_and_kubelet_under_traffic_lose_no_byte(
    release: RealLab, uids: dict[str, str]
) -> None:
    before, sent = agent(release, "node1"), carried(release, "sender1")
    counted = begin_traffic(release, uids)
    faults.restart_runtime(release, "node1")
    eventually("kubelet runs commands again", lambda: _answers(release), 60)
    end_traffic(release)
    accounting.settle(counted)
    counted.is_about("tx", carried(release, "sender1").since(sent).tx)
    after = agent(release, "node1")
    assert (after["metadata"]["uid"], restarts(after)) == (before["metadata"]["uid"], restarts(before))


def _answers(lab: RealLab) -> bool:
    try:
        inside(lab, "sender1", "true")
    except LabError:
        return False
    return True


def test_an_agent_without_memory_is_started_again_and_takes_no_rate_over_the_gap(
    release: RealLab, uids: dict[str, str]
) -> None:
    begin_traffic(release, uids)
    eventually("the elephant is annotated", lambda: elephant(release), 60)
    before, lease = agent(release, "node1"), renewed(release, "node1")
    pid = chart.process(release, before)
    eventually("the kernel ends it", lambda: faults.squeeze(pid, 1), 120)

    def again() -> Any:
        each = agent(release, "node1")
        status = each["status"]["containerStatuses"][0]
        return status if status["ready"] and status["restartCount"] > restarts(before) else None

    status = eventually("kubelet has started it again", again, 120)
    assert status["lastState"]["terminated"]["reason"] == "OOMKilled"
    eventually("it holds its Lease again", lambda: renewed(release, "node1") != lease, 90)
    shown = eventually("the elephant is annotated again", lambda: elephant(release), 60)
    assert 100e6 < shown.etx <= 210e6, "no rate is taken over the gap"
    end_traffic(release)


def test_a_full_disk_evicts_other_pods_and_leaves_the_agent(release: RealLab) -> None:
    before = agent(release, "node2")
    # What it has written makes it the first that kubelet evicts.
    victim = pod("victim", ["sh", "-c", "head -c 64M /dev/zero >/written; sleep 100000"], node="node2")
    release.kubectl("apply", "-f", "-", input=json.dumps(victim))
    release.kubectl("wait", "--for=condition=Ready", "pod/victim", "--timeout=110s")
    try:
        with faults.disk_pressure(release, "node2"):
            eventually(
                "kubelet evicts", lambda: get(release, "pod", "victim")["status"].get("reason") == "Evicted", 120
            )
            assert _pressure(release, "node2") == "True"
            lease = renewed(release, "node2")
            written = footprint(release, "node2")
            assert written is not None
            eventually("the agent goes on", lambda: renewed(release, "node2") != lease, 60)
            after = agent(release, "node2")
            assert (after["metadata"]["uid"], restarts(after)) == (before["metadata"]["uid"], restarts(before))
            assert NODE_FOOTPRINT in ours_on(release, "node2")
        eventually("the pressure is over", lambda: _pressure(release, "node2") == "False", 120)
    finally:
        release.kubectl("delete", "pod", "victim", "--ignore-not-found", "--timeout=60s")


def _pressure(lab: RealLab, node: str) -> str:
    conditions = get(lab, "node", node)["status"]["conditions"]
    return next(str(each["status"]) for each in conditions if each["type"] == "DiskPressure")


def test_programs_of_others_are_placed_apart(release: RealLab) -> None:
    """Elephants that nobody declared, and declared mice."""
    seen = driver.turn(release, NAME, replicas=2, seconds=5)
    assert len(seen.mice) == 4
    assert len(seen.elephants) == driver.ELEPHANTS
    assert seen.mixed == set()
    assert all(0 < each.p50 <= each.p99 for each in seen.latencies.values())
    assert all(each > 10e6 for each in seen.goodputs)
