# SPDX-License-Identifier: Apache-2.0
"""Bytes by owner on real nodes, held against what the pods' own interfaces counted.

Enters: a lab with agents. Leaves: failed assertions where an agent counts more than two per cent too much or too
little, for the wrong pod, or on the link what never used it. Guarantees: a baseline and a result are taken when
counting has settled, so that no test sees the tail of the one before, and no byte comes after the judgement.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from lab.network.addresses import node_v4
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.files import CLUSTER_DOMAIN
from nodeagent.sources.base import NO_PODS
from tests.cluster.support.workloads import agent_metrics, eventually, get
from tests.node.support.workloads import PORT, SINK, carried, flood, pod, running, send, service

MEBIBYTES: Final = 24
TOLERANCE: Final = 0.02
_NODE_PORT: Final = 30001
_LOCAL_NODE_PORT: Final = 30002
HOST_PORT: Final = 7001
DIRECTIONS: Final = ("tx", "rx", "local")
_OF_POD: Final = 'traffic_footprint_agent_pod_traffic_bytes_total{{direction="{}",uid="{}"}}'
_OF_OTHERS: Final = 'traffic_footprint_agent_traffic_bytes_total{{direction="{}",owner="{}"}}'
_READINGS: Final = "traffic_footprint_agent_readings_total"
STRAY: Final = 2000
"""Bytes that may come between two readings of a pod that is asked nothing, such as neighbour discovery's."""
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
    "hostPort": (2, HOST_PORT),
}
"""How a host outside the cluster reaches the receiver: through which node, at which port."""


@contextmanager
def stage(lab: RealLab) -> Iterator[dict[str, str]]:
    """``store`` on node2 behind Services and a host port, ``sender1`` and ``sender2``; their UIDs.

    Its Services: ``store``, ``headless``, and ``near`` with externalTrafficPolicy Local.
    """
    store = pod("store", SINK, node="node2", labels={"app": "store"})
    store["spec"]["containers"][0]["ports"] = [{"containerPort": PORT, "hostPort": HOST_PORT}]
    front = service("store", type="NodePort")
    front["spec"]["ports"][0]["nodePort"] = _NODE_PORT
    near = service("near", type="NodePort", externalTrafficPolicy="Local", selector={"app": "store"})
    near["spec"]["ports"][0]["nodePort"] = _LOCAL_NODE_PORT
    headless = service("headless", clusterIP="None", selector={"app": "store"})
    senders = [
        pod(f"sender{i}", ["sleep", "100000"], node=f"node{i}", labels={"app": f"sender{i}"}) for i in (1, 2)
    ]
    with running(lab, front, near, headless, store, *senders):
        yield {name: get(lab, "pod", name)["metadata"]["uid"] for name in ("store", "sender1", "sender2")}


def address(lab: RealLab, path: str, name: str = "store") -> str:
    """Where a sender sends to, so that its packets take ``path``, one of ACROSS; ``name`` is a Service's."""
    if path == HEADLESS:
        return f"headless.default.svc.{CLUSTER_DOMAIN}"
    kind, family = path.split(" over ")
    number = {"IPv4": 0, "IPv6": 1}[family]
    if kind == "ClusterIP":
        return str(get(lab, "service", name)["spec"]["clusterIPs"][number])
    return str(get(lab, "pod", "store")["status"]["podIPs"][number]["ip"])


def across_nodes(lab: RealLab, uids: Mapping[str, str], path: str) -> None:
    """A transfer from node1 to node2 is counted for both pods, on both nodes' links."""
    sender, receiver = ends = counting((1, uids["sender1"]), (2, uids["store"]))
    before = {name: carried(lab, name) for name in ("sender1", "store")}
    send(lab, "sender1", address(lab, path), MEBIBYTES)
    sent = carried(lab, "sender1").since(before["sender1"]).tx
    received = carried(lab, "store").since(before["store"]).rx
    assert MEBIBYTES * 2**20 < sent < MEBIBYTES * 2**20 * 1.06, "payload and headers"
    settle(*ends)
    sender.is_about("tx", sent)
    receiver.is_about("rx", received)
    for end in ends:
        end.is_at_most("local", _LOOKUPS if path == HEADLESS else 0)


def from_outside(lab: RealLab, uids: Mapping[str, str], door: str) -> None:
    """A transfer from a host outside through ``door``, one of DOORS, is counted for the pod that takes it."""
    node, port = DOORS[door]
    (receiver,) = counting((2, uids["store"]))
    before = carried(lab, "store")
    done = lab.exec_in("outside", ["sh", "-c", flood("busybox nc", node_v4(node), port, MEBIBYTES)])
    assert done.returncode == 0, done.stderr
    received = carried(lab, "store").since(before).rx
    assert received > MEBIBYTES * 2**20
    settle(receiver)
    receiver.is_about("rx", received)
    receiver.is_at_most("local", STRAY)


def local(lab: RealLab, uids: Mapping[str, str], sender: str, to: str = "store") -> None:
    """A transfer from a pod on node2 to the Service ``to``, whose pod is there too, is on no link."""
    ends = counting(*((2, uids[name]) for name in sorted({sender, "store"})))
    before = carried(lab, sender)
    send(lab, sender, address(lab, "ClusterIP over IPv4", to), MEBIBYTES)
    moved = carried(lab, sender).since(before)
    settle(*ends)
    for end in ends:
        # Both directions are one sum there. What a pod sends to itself passes its interface twice.
        end.is_about("local", moved.tx if sender == "store" else moved.tx + moved.rx)
        for direction in ("tx", "rx"):
            end.is_at_most(direction, moved.tx * TOLERANCE)


class Counted:
    """What an agent has counted for a pod's UID, or for one of NO_PODS, since this was made; see ``counting``."""

    def __init__(self, index: int, uid: str) -> None:
        self.uid = uid
        self._index = index
        self.now = self._before = self.read()

    def __str__(self) -> str:
        shown = ", ".join(f"{direction} {self(direction):.0f}" for direction in DIRECTIONS)
        return f"counted of {self.uid} on node{self._index}: {shown}; {self.now[_READINGS]:.0f} readings"

    def __call__(self, direction: str) -> float:
        """Bytes by the last ``read``."""
        return self.now[direction] - self._before[direction]

    def read(self) -> Mapping[str, float]:
        """Ask the agent anew."""
        page = agent_metrics(self._index)
        name = _OF_OTHERS if self.uid in NO_PODS else _OF_POD
        self.now = {way: page.get(name.format(way, self.uid), 0.0) for way in DIRECTIONS}
        self.now[_READINGS] = page.get(_READINGS, 0.0)
        return self.now

    def begin(self) -> None:
        """Count from what was read last."""
        self._before = self.now

    def grows(self, direction: str, due: float) -> None:
        """Wait until at least ``due`` bytes are counted."""
        eventually(f"{due:.0f} bytes {direction} are counted", lambda: self.read() and self(direction) >= due, 60)

    def is_about(self, direction: str, moved: float) -> None:
        """Within the tolerance of ``moved`` bytes, by the last ``read``."""
        off = self(direction) - moved
        assert abs(off) <= moved * TOLERANCE, (
            f"{direction}: {moved:.0f} bytes moved, {off:+.0f} ({off / moved:+.2%}) counted; {self}"
        )

    def is_at_most(self, direction: str, most: float) -> None:
        """No more than ``most`` bytes, by the last ``read``."""
        assert self(direction) <= most, f"{direction}: {most:.0f} bytes at most; {self}"


def counting(*pods: tuple[int, str]) -> tuple[Counted, ...]:
    """What is counted for pods from here on, by its node's number and its UID, once nothing comes any more."""
    ends = tuple(Counted(index, uid) for index, uid in pods)
    settle(*ends)
    for end in ends:
        end.begin()
    return ends


def read_on(end: Counted) -> None:
    """Wait for two readings that both begin from here on: for who never settles."""
    begun = end.read()[_READINGS]
    eventually("the agent has read twice", lambda: end.read()[_READINGS] >= begun + 2, 60)


def settle(*ends: Counted) -> None:
    """Wait until two readings in a row, both begun from here on, have added next to nothing to any of them.

    Two: one that was under way may have passed a connection already.
    """

    def quiet(end: Counted, since: Mapping[str, float]) -> bool:
        return all(abs(end.now[way] - since[way]) <= STRAY for way in DIRECTIONS)

    marks = {end: end.read() for end in ends}

    def all_settled() -> bool:
        for end, since in marks.items():
            if not quiet(end, since) or end.now[_READINGS] < since[_READINGS]:  # it moved, or is another agent
                marks[end] = end.now
            with suppress(OSError):  # between two agents nobody answers
                end.read()
        return all(
            quiet(end, since) and end.now[_READINGS] >= since[_READINGS] + 2 for end, since in marks.items()
        )

    eventually("counting has settled", all_settled, 90)
