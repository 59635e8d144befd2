# SPDX-License-Identifier: Apache-2.0
"""What agents publish, held against what programs sent and what the pods' own interfaces counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from footprint.classes import TrafficClass
from footprint.keys import NODE_ELEPHANT_SHARE, NODE_SUMMARY
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4, OUTSIDE_V6
from lab.traffic import argv
from tests.cluster.conftest import running as lab_running
from tests.cluster.support.workloads import (
    created,
    eventually,
    footprint,
    get,
    interface_ip_bytes,
    measured,
    owner_bytes,
    pod,
    result,
    running,
    then_interface,
)

pytestmark = pytest.mark.cluster

PORT = 5001
PAYLOAD = 120_000_000
RATE = 80e6
TOLERANCE = 0.02
RATE_TOLERANCE = 0.05
"""Of a rate in an annotation: two digits, and a mean that still holds a little of the time before the transfer."""

SERVICE: dict[str, Any] = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "store"},
    "spec": {
        "selector": {"app": "store"}, "ipFamilyPolicy": "RequireDualStack",
        "ports": [{"port": 80, "targetPort": PORT}],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Agents that publish every change of a rate: by default one waits until it has moved by a fifth."""
    yield from lab_running(LabConfig(agent_args=("--deadband", "0.01", "--write-interval", "1")))


@pytest.fixture(scope="module")
def sinks(lab: Lab) -> Iterator[dict[str, str]]:
    """Receivers outside the cluster and behind a Service (its pod on node2): path → address and port."""
    lab.spawn_in("outside", argv("sink", "--port", str(PORT)), name="sink")
    store = pod("store", argv("sink", "--port", str(PORT)), node="node2", labels={"app": "store"})
    with running(lab, SERVICE, store):
        v4, v6 = get(lab, "service", "store")["spec"]["clusterIPs"]
        eventually("the Service has its pod", lambda: _endpoints(lab) == 2)
        yield {
            "outside over IPv4": f"{OUTSIDE_V4}:{PORT}", "outside over IPv6": f"[{OUTSIDE_V6}]:{PORT}",
            "Service over IPv4": f"{v4}:80", "Service over IPv6": f"[{v6}]:80",
        }  # fmt: skip


def _endpoints(lab: Lab) -> int:
    slices = get(lab, "endpointslices", "-l", "kubernetes.io/service-name=store")["items"]
    return sum(endpoint["conditions"].get("ready", False) for s in slices for endpoint in s["endpoints"] or ())


@pytest.mark.parametrize(
    ("path", "node"),  # from nodes in turn: each has a budget of writes
    [("outside over IPv4", 1), ("outside over IPv6", 3), ("Service over IPv4", 4), ("Service over IPv6", 1)],
)
def test_a_transfer_is_counted_to_two_per_cent_under_its_pods_uid(
    lab: Lab, sinks: dict[str, str], path: str, node: int
) -> None:
    name = "sender-" + path.lower().replace(" ", "-")
    sender = argv("elephant", sinks[path], "--bytes", str(PAYLOAD), "--rate", f"{RATE:.0f}")
    receiver_uid = get(lab, "pod", "store")["metadata"]["uid"]
    received_before = owner_bytes(2, receiver_uid, "rx")
    with created(lab, pod(name, then_interface(sender), node=f"node{node}")):
        uid = get(lab, "pod", name)["metadata"]["uid"]

        def annotated() -> Any:
            shown = measured(lab, f"node{node}", name)
            return shown if shown and shown.el and shown.cls is TrafficClass.ELEPHANT else None

        def settled() -> Any:
            """The rate of the paced payload with its headers."""
            shown = annotated()
            return shown if shown and shown.tx == pytest.approx(RATE * 1.02, rel=RATE_TOLERANCE) else None

        shown = eventually("the annotation shows the elephant", annotated, 20)
        assert shown.uid == uid
        assert shown.wl == f"Pod/{name}"
        shown = eventually("the annotation shows its rate", settled, 20)
        assert shown.etx == pytest.approx(shown.tx, rel=RATE_TOLERANCE)

        log = eventually("the sender ends", lambda: _finished(lab, name), 40)
        sent = result(log)
        carried = interface_ip_bytes(log)
        assert sent is not None
        assert carried is not None
        assert sent["bytes"] >= PAYLOAD
        transmitted, acknowledgements = carried
        assert sent["bytes"] < transmitted < sent["bytes"] * 1.06, "payload plus headers is what the pod sent"

        eventually(
            "the agent has counted the end",
            lambda: owner_bytes(node, uid, "tx") >= transmitted * (1 - TOLERANCE),
            10,
        )
        assert owner_bytes(node, uid, "tx") == pytest.approx(transmitted, rel=TOLERANCE)
        assert owner_bytes(node, uid, "rx") == pytest.approx(acknowledgements, rel=0.05, abs=20_000)
        assert owner_bytes(node, uid, "local") == 0
        if path.startswith("Service"):
            due = received_before + transmitted * (1 - TOLERANCE)
            eventually("the receiver's agent counts it", lambda: owner_bytes(2, receiver_uid, "rx") >= due, 10)
            received = owner_bytes(2, receiver_uid, "rx") - received_before
            assert received == pytest.approx(transmitted, rel=TOLERANCE)


def _finished(lab: Lab, name: str) -> str | None:
    log = lab.pod_log("default", name)
    return log if result(log) is not None and interface_ip_bytes(log) is not None else None


def test_traffic_between_pods_of_one_node_never_uses_its_link(lab: Lab, sinks: dict[str, str]) -> None:
    neighbour = pod(
        "neighbour",
        then_interface(argv("elephant", sinks["Service over IPv4"], "--bytes", "30000000", "--rate", "40M")),
        node="node2",
    )
    with created(lab, neighbour):
        uid = get(lab, "pod", "neighbour")["metadata"]["uid"]
        log = eventually("the neighbour ends", lambda: _finished(lab, "neighbour"), 30)
        carried = interface_ip_bytes(log)
        assert carried is not None
        assert carried[0] > 30_000_000
        due = sum(carried) * (1 - TOLERANCE)
        eventually("its bytes are counted", lambda: owner_bytes(2, uid, "local") >= due, 10)
        assert owner_bytes(2, uid, "local") == pytest.approx(sum(carried), rel=TOLERANCE)
        assert owner_bytes(2, uid, "tx") == 0
        assert owner_bytes(2, uid, "rx") == 0


def test_people_and_score_plugins_read_the_same_of_a_node(lab: Lab, sinks: dict[str, str]) -> None:
    busy = pod("busy", argv("elephant", sinks["outside over IPv4"], "--seconds", "12"), node="node3")
    with created(lab, busy):

        def share() -> Any:
            annotations = get(lab, "node", "node3")["metadata"]["annotations"]
            return annotations if int(annotations.get(NODE_ELEPHANT_SHARE, "0")) > 80 else None

        annotations = eventually("the elephant fills the link", share, 20)
        assert annotations[NODE_SUMMARY].startswith(f"elephants {annotations[NODE_ELEPHANT_SHARE]}% of link (")
        assert "1 elephant" in annotations[NODE_SUMMARY]
        assert "source ctnetlink, ok" in annotations[NODE_SUMMARY]


def test_a_pod_that_ended_still_teaches(lab: Lab, sinks: dict[str, str]) -> None:
    brief = pod("brief", argv("elephant", sinks["outside over IPv4"], "--seconds", "6"), node="node4")
    with created(lab, brief):
        eventually("it ended", lambda: result(lab.pod_log("default", "brief")), 30)

    def remembered() -> Any:
        shown = footprint(lab, "node4")
        return next((p for p in shown.ended if p.name == "brief"), None) if shown else None

    ended = eventually("it is listed as ended", remembered, 30)
    assert ended.cls is TrafficClass.ELEPHANT
    assert ended.el == 1, "the most it had at once"
    assert ended.tx > 100e6
