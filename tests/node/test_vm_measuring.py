# SPDX-License-Identifier: Apache-2.0
"""What eBPF counts on nodes with kernels of their own, behind IPVS, held against what pods' interfaces carried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import eventually, get
from tests.node.support import vm
from tests.node.support.accounting import counting, settle
from tests.node.support.vm import NATIVE, VMS
from tests.node.support.workloads import SINK, carried, pod, service

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.timeout(900)]

MEBIBYTES: Final = 20
PATHS: Final = ((NATIVE, VMS[0]), (VMS[0], NATIVE), (VMS[1], VMS[0]))
"""From and to."""
STRAY: Final = 2
"""Calls that an interrupt may cost meanwhile, whoever looks at the node."""


@pytest.fixture(scope="module")
def uids(vm_lab: RealLab) -> Iterator[dict[str, str]]:
    """On each node a sender and a receiver behind a Service; their UIDs by name."""
    nodes = (NATIVE, *VMS)
    eventually("all agents are ready", lambda: vm.all_ready(vm_lab, nodes), 420)
    made = [pod(f"sender-{node}", ["sleep", "100000"], node=node) for node in nodes]
    made += [pod(f"sink-{node}", SINK, node=node, labels={"app": f"sink-{node}"}) for node in nodes]
    with vm.running(vm_lab, *(service(f"sink-{node}") for node in nodes), *made) as pods:
        yield {name: each["metadata"]["uid"] for name, each in pods.items()}


def _address(lab: RealLab, sink: str, by: str) -> str:
    if by == "Service":
        return str(get(lab, "service", sink)["spec"]["clusterIP"])
    return str(get(lab, "pod", sink)["status"]["podIP"])


@pytest.mark.parametrize("by", ["Service", "pod address"])
@pytest.mark.parametrize(("source", "target"), PATHS)
def test_bytes_between_nodes_are_counted_at_both_ends(
    vm_lab: RealLab, uids: dict[str, str], source: str, target: str, by: str
) -> None:
    """IPVS translates on nodes in virtual machines, nftables on the other."""
    sender, sink = f"sender-{source}", f"sink-{target}"
    sends, takes = ends = counting((vm.index(source), uids[sender]), (vm.index(target), uids[sink]))
    before = {name: carried(vm_lab, name) for name in (sender, sink)}
    vm.send(vm_lab, sender, _address(vm_lab, sink, by), MEBIBYTES)
    sent = carried(vm_lab, sender).since(before[sender]).tx
    taken = carried(vm_lab, sink).since(before[sink]).rx
    assert min(sent, taken) > MEBIBYTES * 2**20
    assert max(sent, taken) < MEBIBYTES * 2**20 * 1.06, "payload and headers"
    settle(*ends)
    sends.is_about("tx", sent)
    takes.is_about("rx", taken)
    for end in ends:
        end.is_at_most("local", 0)


@pytest.mark.parametrize("node", VMS)
def test_bytes_that_stay_on_the_node_are_on_no_link(vm_lab: RealLab, uids: dict[str, str], node: str) -> None:
    """Both directions are one sum there."""
    sender, sink = f"sender-{node}", f"sink-{node}"
    ends = counting(*((vm.index(node), uids[name]) for name in (sender, sink)))
    before = carried(vm_lab, sender)
    vm.send(vm_lab, sender, _address(vm_lab, sink, "Service"), MEBIBYTES)
    moved = carried(vm_lab, sender).since(before)
    settle(*ends)
    for end in ends:
        end.is_about("local", moved.tx + moved.rx)
        for direction in ("tx", "rx"):
            end.is_at_most(direction, moved.tx * 0.02)


@pytest.mark.parametrize("node", VMS)
def test_preflight_in_the_agents_pod_says_measurable_and_disturbs_nothing(
    vm_lab: RealLab, uids: dict[str, str], node: str
) -> None:
    sender, missed = f"sender-{node}", vm.missed(node)
    (sends,) = counting((vm.index(node), uids[sender]))
    before = carried(vm_lab, sender)
    done = vm.in_agent(vm_lab, node, "traffic-footprint-nodeagent", "preflight")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "this node can be measured"
    assert vm.missed(node) - missed <= STRAY
    vm.send(vm_lab, sender, _address(vm_lab, f"sink-{NATIVE}", "pod address"), MEBIBYTES)
    sent = carried(vm_lab, sender).since(before).tx
    settle(sends)
    sends.is_about("tx", sent)
