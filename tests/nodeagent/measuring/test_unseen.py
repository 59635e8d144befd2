# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from nodeagent.measuring.unseen import Unseen, unseen
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import Counters, Reading

PLAIN = LocalPod("plain", "d", "plain", "Job/j", phase="Running")
DB = LocalPod("db", "d", "virt-launcher-db-x", "VirtualMachineInstance/db", phase="Running", vm="db")
FAST = LocalPod("fast", "d", "fast", "Job/j", phase="Running", passthrough=("net1",))
PODS = {pod.uid: pod for pod in (PLAIN, DB, FAST)}


def reading(**owners: Counters) -> Reading:
    return Reading(taken_at=1.0, epoch=1, owners=owners, elephants=(), lost={}, flows=0)


def test_no_source_sees_what_passes_the_kernel_by() -> None:
    for source in ("ebpf-fentry", "ctnetlink", "ebpf-cgroup"):
        assert unseen(PODS, reading(db=Counters(tx_bytes=1)), source).passthrough == {"fast"}
    assert unseen(PODS, reading(), "ctnetlink").reasons == ("passthrough-unseen",)


def test_at_sockets_a_guest_behind_a_tap_shows_nothing_and_one_behind_passt_does() -> None:
    assert unseen(PODS, reading(db=Counters()), "ebpf-cgroup").guests == {"db"}
    assert unseen(PODS, reading(), "ebpf-cgroup").reasons == ("passthrough-unseen", "guests-unseen")
    assert unseen(PODS, reading(db=Counters(rx_bytes=60)), "ebpf-cgroup").guests == frozenset()
    assert unseen(PODS, reading(), "ebpf-fentry").guests == frozenset(), "conntrack sees it forwarded"


def test_a_pod_that_does_not_run_sends_nothing() -> None:
    pods = {
        "a": LocalPod("a", "d", "a", "", phase="Pending", vm="a", passthrough=("n",)),
        "b": LocalPod("b", "d", "b", "", phase="Succeeded", vm="b", passthrough=("n",)),
    }
    assert unseen(pods, reading(), "ebpf-cgroup") == Unseen()
