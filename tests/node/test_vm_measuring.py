# SPDX-License-Identifier: Apache-2.0
"""What eBPF counts on nodes with kernels of their own, held against what pods' interfaces carried.

The last node has IPVS, the others nftables.

Transfers that do not share a pod's counter run at once, and counting settles once for all of them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import pytest

from lab.nodes.real.cluster import RealLab
from tests.cluster.support.workloads import eventually, get
from tests.node.support import vm
from tests.node.support.accounting import Counted, settle
from tests.node.support.vm import NATIVE, NODES, VMS
from tests.node.support.workloads import SINK, Carried, pod, service

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.timeout(900)]

MEBIBYTES: Final = 20
PATHS: Final = tuple(zip((NATIVE, *reversed(VMS)), (*reversed(VMS), NATIVE), strict=True))
"""From and to."""
STRAY: Final = 2
"""Calls that an interrupt may cost meanwhile, whoever looks at the node."""


class End(NamedTuple):
    """One pod after a round of transfers."""

    counted: Counted
    moved: Carried
    """By its own interface."""


class Pods(NamedTuple):
    """By name."""

    objects: Mapping[str, dict[str, Any]]
    places: Mapping[str, vm.Place]

    def counted(self, name: str) -> Counted:
        """From here on."""
        return Counted(vm.index(self.places[name].node), self.objects[name]["metadata"]["uid"])

    def carried(self, lab: RealLab, names: Iterable[str]) -> dict[str, Carried]:
        """So far, by their own interfaces."""
        return {name: vm.carried(lab, self.places[name]) for name in names}


@pytest.fixture(scope="module")
def pods(vm_lab: RealLab) -> Iterator[Pods]:
    """On each node a sender and a receiver behind a Service, by name; counting has settled."""
    eventually("all agents are ready", lambda: vm.all_ready(vm_lab, NODES), 420)
    made = [pod(f"sender-{node}", ["sleep", "100000"], node=node) for node in NODES]
    made += [pod(f"sink-{node}", SINK, node=node, labels={"app": f"sink-{node}"}) for node in NODES]
    with vm.running(vm_lab, *(service(f"sink-{node}") for node in NODES), *made) as found:
        they = Pods(found, vm.places(vm_lab, found))
        settle(*map(they.counted, found))
        yield they


def _round(lab: RealLab, pods: Pods, paths: Mapping[str, str], by: str) -> dict[str, End]:
    """Each sender among ``paths`` sends to its sink; what came of it, by pod."""
    names = sorted({*paths, *paths.values()})
    counted = {name: pods.counted(name) for name in names}
    before = pods.carried(lab, names)
    vm.at_once(lambda sender: vm.send(lab, sender, _address(lab, paths[sender], by), MEBIBYTES), paths)
    after = pods.carried(lab, names)
    settle(*counted.values())
    return {name: End(counted[name], after[name].since(before[name])) for name in names}


def _address(lab: RealLab, sink: str, by: str) -> str:
    if by == "Service":
        return str(get(lab, "service", sink)["spec"]["clusterIP"])
    return str(get(lab, "pod", sink)["status"]["podIP"])


@pytest.fixture(scope="module", params=["Service", "pod address"])
def across(request: pytest.FixtureRequest, vm_lab: RealLab, pods: Pods) -> dict[str, End]:
    """After a transfer on each of PATHS."""
    paths = {f"sender-{source}": f"sink-{target}" for source, target in PATHS}
    return _round(vm_lab, pods, paths, request.param)


@pytest.mark.parametrize(("source", "target"), PATHS)
def test_bytes_between_nodes_are_counted_at_both_ends(across: dict[str, End], source: str, target: str) -> None:
    """Where it sends to a Service, the sender's node translates."""
    sends, takes = across[f"sender-{source}"], across[f"sink-{target}"]
    payload = MEBIBYTES * 2**20
    for bytes_moved in (sends.moved.tx, takes.moved.rx):
        assert payload < bytes_moved < payload * 1.06, "payload and headers"
    sends.counted.is_about("tx", sends.moved.tx)
    takes.counted.is_about("rx", takes.moved.rx)
    for end in (sends, takes):
        end.counted.is_at_most("local", 0)


@pytest.fixture(scope="module")
def within(vm_lab: RealLab, pods: Pods) -> dict[str, End]:
    """After a transfer inside each of the virtual machines."""
    return _round(vm_lab, pods, {f"sender-{node}": f"sink-{node}" for node in VMS}, "Service")


@pytest.mark.parametrize("node", VMS)
def test_bytes_that_stay_on_the_node_are_on_no_link(within: dict[str, End], node: str) -> None:
    """Both directions are one sum there."""
    moved = within[f"sender-{node}"].moved
    assert moved.tx > MEBIBYTES * 2**20
    for name in (f"sender-{node}", f"sink-{node}"):
        end = within[name].counted
        end.is_about("local", moved.tx + moved.rx)
        for direction in ("tx", "rx"):
            end.is_at_most(direction, moved.tx * 0.02)


class Preflight(NamedTuple):
    """What came of one beside an agent."""

    done: subprocess.CompletedProcess[str]
    missed: float
    """Calls of the agent's hooks that the kernel skipped meanwhile."""


@pytest.fixture(scope="module")
def preflights(vm_lab: RealLab, pods: Pods) -> tuple[dict[str, Preflight], dict[str, End]]:
    """By node; and what is counted of transfers after them."""

    def preflight(node: str) -> Preflight:
        missed = vm.missed(node)
        done = vm.in_agent(vm_lab, node, "traffic-footprint-nodeagent", "preflight")
        return Preflight(done, vm.missed(node) - missed)

    found = vm.at_once(preflight, VMS)
    return found, _round(vm_lab, pods, {f"sender-{node}": f"sink-{NATIVE}" for node in VMS}, "pod address")


@pytest.mark.parametrize("node", VMS)
def test_preflight_in_the_agents_pod_says_measurable_and_disturbs_nothing(
    preflights: tuple[dict[str, Preflight], dict[str, End]], node: str
) -> None:
    found, ends = preflights
    done, missed = found[node]
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "this node can be measured"
    assert missed <= STRAY
    sends = ends[f"sender-{node}"]
    assert sends.moved.tx > MEBIBYTES * 2**20
    sends.counted.is_about("tx", sends.moved.tx)
