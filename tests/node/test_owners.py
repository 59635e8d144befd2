# SPDX-License-Identifier: Apache-2.0
"""Whose the bytes are where that is not plain: hostNetwork, node-local Services, restarts, pods of seconds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from lab.nodes.real.cluster import RealLab
from nodeagent.sources.base import HOST
from tests.cluster.support.workloads import eventually, footprint, get
from tests.node.support import accounting, chart, churn, policies
from tests.node.support.accounting import MEBIBYTES, STRAY, TOLERANCE, Counted, counting, read_on, settle
from tests.node.support.workloads import PORT, carried, pod, running, send, service

SHORT_PODS: Final = int(os.environ.get("SHORT_PODS", "60"))
"""How many pods live for seconds. ``SHORT_PODS=500 pytest tests/node/test_owners.py`` takes some minutes."""
pytestmark = [pytest.mark.node, pytest.mark.timeout(1200 + 4 * SHORT_PODS)]
_EACH: Final = 10
"""Of a wave, on each node."""
_HOSTS_OWN: Final = 2 * 2**20
"""Bytes at most that a node's own programs send meanwhile: kubelet, kube-proxy and the agent to the API server."""
_GROWTH: Final = 12 * 2**20
"""Bytes by which an agent's memory may be larger afterwards: its allocator keeps what it once had."""


@pytest.fixture(scope="module")
def agents(release: RealLab) -> RealLab:
    """Here the whole chart."""
    return release


def test_traffic_of_a_pod_on_the_nodes_network_is_the_hosts(agents: RealLab, uids: dict[str, str]) -> None:
    with running(agents, pod("walker", ["sleep", "100000"], node="node1", hostNetwork=True)):
        uid = get(agents, "pod", "walker")["metadata"]["uid"]
        (receiver,) = counting((2, uids["store"]))
        before, host = carried(agents, "store"), Counted(1, HOST)
        send(agents, "walker", accounting.address(agents, "pod address over IPv4"), MEBIBYTES)
        moved = carried(agents, "store").since(before).rx
        settle(receiver)
        read_on(host)
        receiver.is_about("rx", moved)
        assert moved * (1 - TOLERANCE) <= host("tx") <= moved * (1 + TOLERANCE) + _HOSTS_OWN, str(host)
        assert uid not in churn.owners()
        shown = footprint(agents, "node1")
        assert shown is not None
        assert uid not in {each.uid for each in shown.pods}


def test_a_service_with_internal_traffic_policy_local_leads_to_the_nodes_own_pod_and_no_further(
    agents: RealLab, uids: dict[str, str]
) -> None:
    inner = service("inner", internalTrafficPolicy="Local", selector={"app": "store"})
    with running(agents, inner):
        accounting.local(agents, uids, "sender2", to="inner")
        ends = counting((1, uids["sender1"]), (2, uids["store"]))
        address = accounting.address(agents, "ClusterIP over IPv4", "inner")
        rules = ["nft", "list", "table", "ip", "kube-proxy"]
        eventually("node1 has the Service's rules", lambda: "default/inner" in agents.node("node1").run(rules), 30)
        assert not policies.reaches(agents, "sender1", address, PORT)
        settle(*ends)
        for end in ends:
            for direction in accounting.DIRECTIONS:
                end.is_at_most(direction, accounting.STRAY)


def test_a_container_that_is_started_again_counts_on_for_the_same_pod(
    agents: RealLab, uids: dict[str, str]
) -> None:
    assert uids
    target = accounting.address(agents, "ClusterIP over IPv4")
    with running(agents, pod("phoenix", ["sleep", "100000"], node="node1")):
        found = get(agents, "pod", "phoenix")
        (end,) = counting((1, found["metadata"]["uid"]))
        before = carried(agents, "phoenix")
        send(agents, "phoenix", target, MEBIBYTES)
        os.kill(chart.process(agents, found), signal.SIGKILL)

        def again() -> Mapping[str, Any] | None:
            now: Mapping[str, Any] = get(agents, "pod", "phoenix")
            status = now["status"]["containerStatuses"][0]
            return now if status["ready"] and status["restartCount"] == 1 else None

        after = eventually("kubelet has started it again", again, 90)
        assert after["metadata"]["uid"] == found["metadata"]["uid"]
        assert _container(after) != _container(found)
        send(agents, "phoenix", target, MEBIBYTES)
        moved = carried(agents, "phoenix").since(before).tx
        assert moved > 2 * MEBIBYTES * 2**20, "the pod's interface outlives its container"
        settle(end)
        end.is_about("tx", moved)


def _container(found: Mapping[str, Any]) -> str:
    return str(found["status"]["containerStatuses"][0]["containerID"])


def test_a_pod_that_comes_again_under_its_name_is_another_owner(agents: RealLab, uids: dict[str, str]) -> None:
    assert uids
    target = accounting.address(agents, "ClusterIP over IPv4")
    ends: list[Counted] = []
    for _ in range(2):
        with running(agents, pod("again", ["sleep", "100000"], node="node1")):
            ends += counting((1, get(agents, "pod", "again")["metadata"]["uid"]))
            before = carried(agents, "again")
            send(agents, "again", target, MEBIBYTES)
            moved = carried(agents, "again").since(before).tx
            settle(ends[-1])
            ends[-1].is_about("tx", moved)
    first, second = ends
    assert first.uid != second.uid
    first.read()
    first.is_at_most("tx", MEBIBYTES * 2**20 * 1.06)


# -- pods that live for seconds -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def memory(agents: RealLab) -> dict[str, int]:
    """Bytes resident of each node's agent, before the short pods."""
    return resident(agents)


def resident(lab: RealLab) -> dict[str, int]:
    """Bytes, by node."""
    found = {}
    for each in chart.pods(lab, "nodeagent"):
        status = Path(f"/proc/{chart.process(lab, each)}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        found[each["spec"]["nodeName"]] = int(line.split()[1]) * 1024
    return found


@pytest.fixture(scope="module")
def short(agents: RealLab, memory: dict[str, int]) -> Iterator[tuple[list[churn.Short], list[churn.Short]]]:
    """Pods that have lived for seconds: those that sent once their agents knew them, those that sent at once."""
    assert memory
    waves = max(2, SHORT_PODS // (len(churn.NODES) * _EACH))
    found: tuple[list[churn.Short], list[churn.Short]] = ([], [])
    try:
        for number in range(waves):
            known = number % 2 == 0
            found[0 if known else 1].extend(churn.wave(agents, number, _EACH, 5100 + number, known=known))
        yield found
    finally:
        churn.remove(agents)


def test_pods_that_live_for_seconds_are_counted_to_two_per_cent_though_addresses_come_again(
    short: tuple[list[churn.Short], list[churn.Short]],
) -> None:
    known, at_once = short
    every = [*known, *at_once]
    assert len({each.address for each in every}) < len(every), "addresses were used again"
    assert len({each.uid for each in every}) == len(every)
    wrong = [each for each in known if abs(each.counted - each.sent) > each.sent * TOLERANCE + STRAY]
    assert not wrong, wrong
    assert sum(each.sent for each in known) > len(known) * churn.MEBIBYTES * 2**20 * 0.9


def test_no_short_pod_is_charged_with_anothers_bytes(
    short: tuple[list[churn.Short], list[churn.Short]], record_property: Any
) -> None:
    """One that sends before its agent knows it has less: what came before is the node's, see ``sources.base``."""
    known, at_once = short
    for each in (*known, *at_once):
        assert each.counted <= each.sent * (1 + TOLERANCE) + STRAY, each
    share = sum(each.counted for each in at_once) / sum(each.sent for each in at_once)
    record_property("share of what pods sent at once that was attributed", round(share, 3))
    print(f"of what {len(at_once)} pods sent at once, {share:.1%} was attributed")


def test_nothing_of_short_pods_stays_with_an_agent(
    agents: RealLab, short: tuple[list[churn.Short], list[churn.Short]], memory: dict[str, int]
) -> None:
    gone = {each.uid for part in short for each in part}
    churn.remove(agents)
    eventually("their series are gone", lambda: not gone & churn.owners(), 90)
    now = resident(agents)
    for node, before in memory.items():
        print(f"agent of {node}: {before / 2**20:.1f} MiB before, {now[node] / 2**20:.1f} MiB after")
        assert now[node] - before < _GROWTH
