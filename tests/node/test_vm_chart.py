# SPDX-License-Identifier: Apache-2.0
"""The chart's agents at their defaults on nodes with kernels of their own: eBPF attaches, and AppArmor enforces.

The nodes find their images on their disks. How images are pulled is shown on nodes in namespaces. The tests are
one story and run in the order they are written in.
"""

from __future__ import annotations

from typing import Final

import pytest

from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, NODE_SUMMARY
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import ours_on
from tests.cluster.support.workloads import eventually, footprint, get
from tests.node.support import chart, vm
from tests.node.support.chart import NAME
from tests.node.support.vm import KERNELS, NATIVE, VMS
from tests.node.support.workloads import pod

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.timeout(900)]

ENFORCED: Final = "cri-containerd.apparmor.d (enforce)"
CAPABILITIES: Final = {"NET_ADMIN": 12, "SYS_ADMIN": 21, "PERFMON": 38, "BPF": 39}
"""Their numbers (linux/capability.h)."""


# -- what was started ---------------------------------------------------------------------------------------------


def test_each_node_runs_the_kernel_that_was_asked_for(vm_lab: RealLab) -> None:
    for name, kernel in zip(VMS, KERNELS, strict=True):
        assert get(vm_lab, "node", name)["status"]["nodeInfo"]["kernelVersion"].startswith(f"{kernel}.")


def test_every_node_has_an_agent_that_its_own_probes_call_ready(vm_lab: RealLab) -> None:
    """On a busy machine an emulated one may miss a probe, and come back."""
    nodes = (NATIVE, *VMS)
    eventually("all are ready", lambda: vm.all_ready(vm_lab, nodes), 420)
    assert sorted(each["spec"]["nodeName"] for each in chart.pods(vm_lab, "nodeagent")) == sorted(nodes)


def test_the_images_are_those_of_the_registry_by_digest(vm_lab: RealLab) -> None:
    digest = next(d for name, d in vm_lab.digests.items() if "traffic-footprint/nodeagent:" in name)
    for each in chart.pods(vm_lab, "nodeagent"):
        assert each["status"]["containerStatuses"][0]["imageID"].endswith(digest)


@pytest.mark.parametrize("node", VMS)
def test_agents_measure_by_fentry_and_say_so(vm_lab: RealLab, node: str) -> None:
    shown = eventually(f"{node} is annotated", lambda: footprint(vm_lab, node), 120)
    assert shown.src == "ebpf-fentry"
    assert set(ours_on(vm_lab, node)) == {NODE_FOOTPRINT, NODE_SUMMARY, NODE_ELEPHANT_SHARE}


def test_the_agent_beside_them_measures_by_ctnetlink(vm_lab: RealLab) -> None:
    shown = eventually(f"{NATIVE} is annotated", lambda: footprint(vm_lab, NATIVE), 90)
    assert shown.src == "ctnetlink"


@pytest.mark.parametrize("node", VMS)
def test_the_kernel_confines_the_agent_as_the_chart_asks(vm_lab: RealLab, node: str) -> None:
    each = vm.agent(vm_lab, node)
    asked = each["spec"]["containers"][0]["securityContext"]["capabilities"]["add"]
    status = vm.status(vm_lab, each)
    assert status["Seccomp"] == "2", "a filter, which is the runtime's default one"
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == sum(1 << CAPABILITIES[name] for name in asked)
    root = next(line.split() for line in status["mounts"].splitlines() if line.split()[1] == "/")
    assert root[3].split(",")[0] == "ro"
    assert status["apparmor"] == "unconfined", "as the chart states, for its pins"


def test_apparmor_confines_extenders_and_schedulers(vm_lab: RealLab) -> None:
    """Pods like theirs, there. Whether they ever become ready does not matter to the kernel."""
    made = []
    for component in ("extender", "scheduler"):
        spec = get(vm_lab, "deployment", f"{NAME}-{component}", "-n", NAME)["spec"]["template"]["spec"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            spec["containers"][0].pop(probe, None)
        spec |= {"nodeName": VMS[1], "nodeSelector": {}, "terminationGracePeriodSeconds": 0}
        about = {"name": f"{component}-there", "namespace": NAME}
        made.append({"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec})
    with vm.running(vm_lab, *made) as pods:
        for each in pods.values():
            assert vm.status(vm_lab, each)["apparmor"] == ENFORCED
        profiles = vm.machine(vm_lab, VMS[1]).run(["cat", "/sys/kernel/security/apparmor/profiles"])
    assert ENFORCED in profiles.splitlines()


def test_the_profile_forbids_what_the_capability_allows(vm_lab: RealLab) -> None:
    """Two pods that may mount by their capabilities: only the one without the profile can."""
    line = "mkdir /tmp/m && if mount -t tmpfs none /tmp/m; then echo mounted; else echo refused; fi; sleep 100000"
    made = []
    for kind in ("RuntimeDefault", "Unconfined"):
        made.append(pod(f"mounts-{kind.lower()}", ["sh", "-c", line], node=VMS[1]))
        (container,) = made[-1]["spec"]["containers"]
        container["securityContext"] = {"capabilities": {"add": ["SYS_ADMIN"]}, "appArmorProfile": {"type": kind}}
    with vm.running(vm_lab, *made):
        for name, outcome in (("mounts-runtimedefault", "refused"), ("mounts-unconfined", "mounted")):
            said = eventually(f"{name} has tried", lambda n=name: vm_lab.kubectl("logs", n), 60)  # type: ignore[misc]
            assert said.splitlines()[-1] == outcome
