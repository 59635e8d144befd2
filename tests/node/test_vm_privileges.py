# SPDX-License-Identifier: Apache-2.0
"""What agents that measure by eBPF do without each single capability or mount that the chart grants them.

They are bare pods on a node whose own agent has left, with pins of their own. What each lacks is named: by a
refusal, or in the log with what the agent does instead. ``node-sysctls`` is for ctnetlink, see
``test_strict_cluster.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from lab.nodes.real.cluster import RealLab
from nodeagent.sources.ebpf.compiling.build import SOURCES_VARIABLE
from tests.cluster.support.workloads import eventually
from tests.node.support import lesser, vm
from tests.node.support.chart import NAME
from tests.node.support.vm import VMS

pytestmark = [pytest.mark.node, pytest.mark.vm, pytest.mark.outage, pytest.mark.timeout(900)]

NODE: Final = VMS[0]
LEAVES: Final = ("type", "virtual-kubelet")
"""A label with which the chart's agents keep off a node."""
NOTHING: Final = "nothing"
SHOWN_ELSEWHERE: Final = {"node-sysctls"}
BROKEN: Final = "/run/broken-sources"
"""A folder on the node whose program no compiler takes."""
ROOT: Final = "/sys/fs/bpf/lesser"
_LIGHT: Final = (NOTHING, "SYS_ADMIN", "NET_ADMIN", "bpffs", "cgroup")
_COMPILE: Final = ("programs", "tmp")
"""A guest has memory for two compilers at once."""
SECONDS: Final = 400

UNPINNED: Final = "a restart of the agent will begin anew: nothing can be pinned"
UNLISTED: Final = "cannot list the open connections, their sizes stay unknown"

Said = dict[str, tuple[int | None, str]]


@pytest.fixture(scope="module")
def said(vm_lab: RealLab) -> Iterator[Said]:
    """By what was left out, the exit status (None: it measures) and the log."""
    eventually("the agents are ready", lambda: vm.all_ready(vm_lab, [NODE]), 420)
    key, value = LEAVES
    vm_lab.kubectl("label", "node", NODE, f"{key}={value}")
    guest = vm.machine(vm_lab, NODE)
    try:
        eventually("the agent has left", lambda: not _agents(vm_lab), 120)
        guest.run(["sh", "-c", f"mkdir -p {BROKEN} && echo '#error no program' >{BROKEN}/footprint.bpf.c"])
        whole = lesser.template(vm_lab)
        assert lesser.granted(whole) == {*_LIGHT, *_COMPILE, *SHOWN_ELSEWHERE} - {NOTHING}
        found: Said = {}
        for each in (_LIGHT, _COMPILE):
            pods = {name: _pod(whole, name) for name in each}
            found |= lesser.run(vm_lab, pods, _measures, SECONDS)
        yield found
    finally:
        guest.run(["sh", "-c", f"rm -rf {ROOT} {BROKEN}"])
        vm_lab.kubectl("label", "node", NODE, f"{key}-")


def _agents(lab: RealLab) -> list[str]:
    """Pods of agents on the node, those that are ending too."""
    selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/component=nodeagent"
    fields = f"spec.nodeName={NODE}"
    return lab.kubectl("-n", NAME, "get", "pods", "-l", selector, "--field-selector", fields, "-o", "name").split()


def _pod(whole: dict[str, Any], left_out: str) -> dict[str, Any]:
    """With the chart's own arguments, but for the port. Its pins are in a folder of its own."""
    container = whole["spec"]["containers"][0]
    arguments = [each for each in container["args"] if not each.startswith("--metrics-port")]
    made = lesser.lesser(whole, left_out, NODE, [*arguments, "--metrics-port=0"])
    (container,) = made["spec"]["containers"]
    for volume in made["spec"]["volumes"]:
        if volume["name"] == "bpffs":
            volume["hostPath"] = {"path": f"{ROOT}/{made['metadata']['name']}", "type": "DirectoryOrCreate"}
    if left_out == "cgroup":  # the source that needs it, which auto takes where conntrack sees too little
        container["args"] = [*(a for a in container["args"] if "--source" not in a), "--source=ebpf-cgroup"]
    if left_out == "tmp":  # whole logs of failures are kept there, so that there must be one
        made["spec"]["volumes"].append({"name": "broken", "hostPath": {"path": BROKEN}})
        container["volumeMounts"].append({"name": "broken", "mountPath": BROKEN})
        container.setdefault("env", []).append({"name": SOURCES_VARIABLE, "value": BROKEN})
    return made


def _measures(log: str) -> bool:
    return '"event": "measuring"' in log or '"event":"measuring"' in log


def _lines(said: Said, left_out: str, event: str) -> list[dict[str, Any]]:
    """What was logged that contains ``event``."""
    lines = [json.loads(line) for line in said[left_out][1].splitlines() if line.startswith("{")]
    return [line for line in lines if event in line["event"]]


def _line(said: Said, left_out: str, event: str) -> dict[str, Any]:
    """The first of them; fails the test when there is none."""
    found = _lines(said, left_out, event)
    assert found, said[left_out][1]
    return found[0]


def _is_measured_by_fentry(said: Said, left_out: str, program: str = "kept") -> None:
    status, log = said[left_out]
    assert status is None, log
    line = _line(said, left_out, vm.MEASURES)
    assert (line["mode"], line["program"]) == ("fentry", program), log


def _falls_back(said: Said, left_out: str, reason: str) -> None:
    """ctnetlink measures, and the log says why eBPF does not."""
    status, log = said[left_out]
    assert status is None, log
    refused = _line(said, left_out, "flow source cannot run here")
    assert refused["source"] == "ebpf"
    assert reason in refused["reason"]
    assert _line(said, left_out, "flow source chosen")["source"] == "ctnetlink"


def test_with_everything_it_measures_by_fentry_and_pins(said: Said) -> None:
    _is_measured_by_fentry(said, NOTHING)
    for missing in (UNPINNED, UNLISTED):
        assert _lines(said, NOTHING, missing) == []


def test_without_sys_admin_ctnetlink_measures_and_the_refusal_names_it(said: Said) -> None:
    _falls_back(said, "SYS_ADMIN", "SYS_ADMIN")


def test_without_net_admin_what_old_connections_carried_stays_unknown(said: Said) -> None:
    _is_measured_by_fentry(said, "NET_ADMIN")
    assert _line(said, "NET_ADMIN", UNLISTED)["problem"]


def test_without_bpffs_a_restart_begins_anew(said: Said) -> None:
    _is_measured_by_fentry(said, "bpffs")
    assert _line(said, "bpffs", UNPINNED)["problem"]


def test_without_the_folder_of_kept_programs_each_start_compiles(said: Said) -> None:
    _is_measured_by_fentry(said, "programs", "compiled")


def test_without_cgroups_nothing_counts_at_sockets_and_the_last_line_says_what_to_mount(said: Said) -> None:
    status, log = said["cgroup"]
    assert status == 2, log
    assert "mount the machine's cgroup2 file system" in log.splitlines()[-1]


def test_without_tmp_the_whole_log_of_a_failure_is_lost(said: Said) -> None:
    _falls_back(said, "tmp", "the whole log could not be kept")
