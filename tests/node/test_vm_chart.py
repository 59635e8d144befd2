# SPDX-License-Identifier: Apache-2.0
"""The chart's agents at their defaults on nodes with kernels of their own: eBPF attaches, and AppArmor enforces.

The nodes find their images on their disks. How images are pulled is shown on nodes in namespaces. The tests are
one story and run in the order they are written in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, NODE_SUMMARY
from lab.nodes.real.cluster import RealLab
from tests.cluster.support.releases import ours_on
from tests.cluster.support.workloads import eventually, footprint, get
from tests.node.support import chart, vm
from tests.node.support.chart import NAME
from tests.node.support.vm import KERNELS, NATIVE, NODES, VMS
from tests.node.support.workloads import pod

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.timeout(900)]

ENFORCED: Final = "cri-containerd.apparmor.d (enforce)"
CAPABILITIES: Final = {"NET_ADMIN": 12, "SYS_ADMIN": 21, "PERFMON": 38, "BPF": 39}
"""Their numbers (linux/capability.h)."""
OF_CONTAINERS_TOO: Final = {"runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "appArmorProfile"}
"""Fields of a pod's securityContext that a container's may state as well."""


# -- what was started ---------------------------------------------------------------------------------------------


def test_each_node_runs_the_kernel_that_was_asked_for(vm_lab: RealLab) -> None:
    for name, kernel in zip(VMS, KERNELS, strict=True):
        assert get(vm_lab, "node", name)["status"]["nodeInfo"]["kernelVersion"].startswith(f"{kernel}.")


def test_every_node_has_an_agent_that_its_own_probes_call_ready(vm_lab: RealLab) -> None:
    """On a busy machine an emulated one may miss a probe, and come back."""
    eventually("all are ready", lambda: vm.all_ready(vm_lab, NODES), 420)
    assert sorted(each["spec"]["nodeName"] for each in chart.pods(vm_lab, "nodeagent")) == sorted(NODES)


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


@pytest.fixture(scope="module")
def there(vm_lab: RealLab) -> Iterator[dict[str, Any]]:
    """A pod on one of these nodes: confined as extenders and schedulers are, and two that try to mount.

    It is one pod, and what it runs is small: an emulated processor takes a quarter of a minute for each container.
    """
    made = pod("there", [], node=VMS[-1])
    template = made["spec"]["containers"].pop()
    for component in ("extender", "scheduler"):
        spec = get(vm_lab, "deployment", f"{NAME}-{component}", "-n", NAME)["spec"]["template"]["spec"]
        security = {key: value for key, value in spec["securityContext"].items() if key in OF_CONTAINERS_TOO}
        security |= spec["containers"][0]["securityContext"]
        about = {"name": component, "command": ["sleep", "100000"], "securityContext": security}
        made["spec"]["containers"].append(template | about)
    line = "mkdir /tmp/m && if mount -t tmpfs none /tmp/m; then echo mounted; else echo refused; fi; sleep 100000"
    for kind in ("RuntimeDefault", "Unconfined"):
        security = {"capabilities": {"add": ["SYS_ADMIN"]}, "appArmorProfile": {"type": kind}}
        about = {"name": kind.lower(), "command": ["sh", "-c", line], "securityContext": security}
        made["spec"]["containers"].append(template | about)
    with vm.running(vm_lab, made) as found:
        yield found["there"]


def test_apparmor_confines_what_is_set_up_as_extenders_and_schedulers_are(
    vm_lab: RealLab, there: dict[str, Any]
) -> None:
    for component in ("extender", "scheduler"):
        assert vm.status(vm_lab, there, component)["apparmor"] == ENFORCED
    profiles = vm.machine(vm_lab, VMS[-1]).run(["cat", "/sys/kernel/security/apparmor/profiles"])
    assert ENFORCED in profiles.splitlines()


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(("kind", "outcome"), [("runtimedefault", "refused"), ("unconfined", "mounted")])
def test_the_profile_forbids_what_the_capability_allows(vm_lab: RealLab, kind: str, outcome: str) -> None:
    """Two that may mount by their capabilities: only the one without the profile can."""
    said = eventually("it has tried", lambda: vm_lab.kubectl("logs", "there", "-c", kind), 60)
    assert said.splitlines()[-1] == outcome
