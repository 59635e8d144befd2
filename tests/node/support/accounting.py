# SPDX-License-Identifier: Apache-2.0
"""Bytes by owner on real nodes, held against what the pods' own interfaces counted.

Enters: a lab with agents. Leaves: failed assertions where an agent counts more than two per cent too much or too
little, for the wrong pod, or on the link what never used it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from lab.network.addresses import node_v4
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.files import CLUSTER_DOMAIN
from tests.cluster.support.workloads import eventually, get, owner_bytes
from tests.node.support.workloads import PORT, SINK, carried, flood, pod, running, send, service

MEBIBYTES: Final = 60
TOLERANCE: Final = 0.02
_NODE_PORT: Final = 30001
_LOCAL_NODE_PORT: Final = 30002
_HOST_PORT: Final = 7001
_LOOKUPS: Final = 20_000
"""Bytes at most that asking CoreDNS takes, which may be on the sender's own node."""

HEADLESS: Final = "name of a headless Service"
ACROSS: Final = (
    "ClusterIP over IPv4", "ClusterIP over IPv6", "pod address over IPv4", "pod address over IPv6", HEADLESS,
)  # fmt: skip
DOORS: Final = {
    "NodePort of another node": (1, _NODE_PORT),
    "NodePort of its own node": (2, _NODE_PORT),
    "NodePort with externalTrafficPolicy Local": (2, _LOCAL_NODE_PORT),
    "hostPort": (2, _HOST_PORT),
}
"""How a host outside the cluster reaches the receiver: through which node, at which port."""


@contextmanager
def stage(lab: RealLab) -> Iterator[dict[str, str]]:
    """``store`` on node2 behind Services and a host port, ``sender1`` and ``sender2``; their UIDs.

    Its Services: ``store``, ``headless``, and ``near`` with externalTrafficPolicy Local.
    """
    store = pod("store", SINK, node="node2", labels={"app": "store"})
    store["spec"]["containers"][0]["ports"] = [{"containerPort": PORT, "hostPort": _HOST_PORT}]
    front = service("store", type="NodePort")
    front["spec"]["ports"][0]["nodePort"] = _NODE_PORT
    near = service("near", type="NodePort", externalTrafficPolicy="Local", selector={"app": "store"})
    near["spec"]["ports"][0]["nodePort"] = _LOCAL_NODE_PORT
    headless = service("headless", clusterIP="None", selector={"app": "store"})
    senders = [pod(f"sender{i}", ["sleep", "100000"], node=f"node{i}") for i in (1, 2)]
    with running(lab, front, near, headless, store, *senders):
        yield {name: get(lab, "pod", name)["metadata"]["uid"] for name in ("store", "sender1", "sender2")}


def address(lab: RealLab, path: str) -> str:
    """Where a sender sends to, so that its packets take ``path``, one of ACROSS."""
    if path == HEADLESS:
        return f"headless.default.svc.{CLUSTER_DOMAIN}"
    kind, family = path.split(" over ")
    number = {"IPv4": 0, "IPv6": 1}[family]
    if kind == "ClusterIP":
        return str(get(lab, "service", "store")["spec"]["clusterIPs"][number])
    return str(get(lab, "pod", "store")["status"]["podIPs"][number]["ip"])


def across_nodes(lab: RealLab, uids: dict[str, str], path: str) -> None:
    """A transfer from node1 to node2 is counted for both pods, on both nodes' links."""
    before = {name: carried(lab, name) for name in ("sender1", "store")}
    sender, receiver = Counted(1, uids["sender1"]), Counted(2, uids["store"])
    send(lab, "sender1", address(lab, path), MEBIBYTES)
    sent = carried(lab, "sender1").since(before["sender1"]).tx
    received = carried(lab, "store").since(before["store"]).rx
    assert MEBIBYTES * 2**20 < sent < MEBIBYTES * 2**20 * 1.06, "payload and headers"
    for end, direction, moved in ((sender, "tx", sent), (receiver, "rx", received)):
        end.comes_to(direction, moved)
        assert end("local") <= (_LOOKUPS if path == HEADLESS else 0)


def from_outside(lab: RealLab, uids: dict[str, str], door: str) -> None:
    """A transfer from a host outside through ``door``, one of DOORS, is counted for the pod that takes it."""
    node, port = DOORS[door]
    before, receiver = carried(lab, "store"), Counted(2, uids["store"])
    done = lab.exec_in("outside", ["sh", "-c", flood("busybox nc", node_v4(node), port, MEBIBYTES)])
    assert done.returncode == 0, done.stderr
    received = carried(lab, "store").since(before).rx
    assert received > MEBIBYTES * 2**20
    receiver.comes_to("rx", received)


def local(lab: RealLab, uids: dict[str, str], sender: str) -> None:
    """A transfer from a pod on node2 to the Service, whose pod is there too, is on no link."""
    before = carried(lab, sender)
    ends = [Counted(2, uids[name]) for name in {sender, "store"}]
    send(lab, sender, address(lab, "ClusterIP over IPv4"), MEBIBYTES)
    sent = carried(lab, sender).since(before).tx
    for end in ends:
        end.reaches("local", sent * (1 - TOLERANCE))
        assert end("tx") < sent * TOLERANCE, "it never used the link"
        assert end("rx") < sent * TOLERANCE


class Counted:
    """What an agent has counted for a pod since this was made."""

    def __init__(self, index: int, uid: str) -> None:
        self._read: Callable[[str], float] = lambda direction: owner_bytes(index, uid, direction)
        self._before = {direction: self._read(direction) for direction in ("tx", "rx", "local")}

    def __call__(self, direction: str) -> float:
        return self._read(direction) - self._before[direction]

    def reaches(self, direction: str, due: float) -> None:
        eventually(f"{due:.0f} bytes {direction} are counted", lambda: self(direction) >= due, 60)

    def comes_to(self, direction: str, moved: int) -> None:
        self.reaches(direction, moved * (1 - TOLERANCE))
        assert self(direction) == pytest.approx(moved, rel=TOLERANCE)
