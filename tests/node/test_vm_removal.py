# SPDX-License-Identifier: Apache-2.0
"""What a release leaves on nodes with kernels of their own: to a successor its program, and to nobody anything.

The tests are one story and run in the order they are written in. The last one removes the release.
"""

from __future__ import annotations

import pytest

from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import leases, ours_on
from tests.cluster.support.workloads import eventually, get
from tests.node.support import chart, vm
from tests.node.support.chart import NAME
from tests.node.support.vm import NODES, VMS

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.timeout(900)]


def test_an_agent_that_replaces_another_takes_its_program_over(vm_lab: RealLab) -> None:
    eventually("all agents are ready", lambda: vm.all_ready(vm_lab, NODES), 420)
    before = {node: vm.agent(vm_lab, node) for node in VMS}
    programs = {node: vm.programs(vm_lab, node) for node in VMS}
    last_words = vm.deleted(vm_lab, before.values())
    for node in VMS:
        assert vm.agent(vm_lab, node)["metadata"]["uid"] != before[node]["metadata"]["uid"]
        begun = vm.began(vm_lab, node)
        assert begun.adopted, (
            f"the program was not taken over. The agents before:\n{last_words}\nnow:\n{begun.log}"
        )
        assert begun.compiled == 0, begun.log
        assert vm.programs(vm_lab, node) == programs[node] != []


def test_uninstalling_leaves_no_program_no_pin_and_no_annotation(vm_lab: RealLab) -> None:
    eventually("all agents are ready", lambda: vm.all_ready(vm_lab, NODES), 420)
    for node in VMS:
        assert vm.left(vm_lab, node, vm.PINS)
    vm.uninstalled(vm_lab)
    eventually("no pod is left", lambda: not get(vm_lab, "pods", "-n", NAME)["items"], 240)
    assert leases(vm_lab) == []
    for node in NODES:
        assert ours_on(vm_lab, node) == {}
    for node in VMS:
        eventually(f"{node} has unloaded", lambda n=node: not vm.programs(vm_lab, n), 60)  # type: ignore[misc]
        assert vm.left(vm_lab, node, vm.PINS) == []
        assert all(name.endswith(".object") for name in vm.left(vm_lab, node, vm.KEPT)), "as documented"
    assert chart.helm(vm_lab, "list", "--short").strip() == ""
