# SPDX-License-Identifier: Apache-2.0
"""Pods that come and go: many short ones that send and end, and a stream of arrivals that want a place.

Enters: a lab with agents, or with the whole chart. Leaves: what each short pod's own interface counted and what
the agents counted for its UID; how many arrivals were placed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from lab.errors import LabError
from lab.network.addresses import OUTSIDE_V4
from lab.nodes.real.cluster import RealLab
from lab.nodes.real.files import PAUSE
from lab.processes import Process
from tests.cluster.support.workloads import agent_metrics, eventually, get
from tests.node.support.chart import NAME
from tests.node.support.workloads import SINK, interface, pod

NODES: Final = (1, 2)
MEBIBYTES: Final = 1
"""That each short pod sends."""
_LABEL: Final = "short"
_BYTES: Final = "traffic_footprint_agent_pod_traffic_bytes_total"
_EVERY: Final = 3.0
"""Seconds between two arrivals: a container costs these machines most of a second."""


@dataclass(frozen=True)
class Short:
    """One pod that has ended."""

    name: str
    uid: str
    address: str
    sent: int
    """IP bytes, by its own eth0."""
    counted: float
    """Bytes that its node's agent had counted for its UID."""


@contextmanager
def sink(lab: RealLab, port: int) -> Iterator[Process]:
    """A host outside the cluster takes whatever is sent to ``port``."""
    argv = ["busybox", *(str(port) if each == "5001" else each for each in SINK)]
    process = lab.spawn_in("outside", argv, name=f"sink-{port}")
    try:
        yield process
    finally:
        process.stop()


def wave(lab: RealLab, number: int, each: int, port: int, *, known: bool) -> list[Short]:
    """``each`` short pods on each node, at once; what became of them. They stay, as ended pods.

    ``known``: they begin to send once the agents know them, else as soon as they run. The addresses are those that
    the wave before had.
    """
    for name in lab.nodes:  # the plugin goes on where it was, and would come round after some 250 pods only
        lab.node(name).run(["sh", "-c", "rm -f /var/lib/cni/networks/pods/last_reserved_ip.*"])
    made = [_short(f"short-{number}-{i}", i, number, port) for i in range(each * len(NODES))]
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": made})

    def found() -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = get(lab, "pods", "-l", f"{_LABEL}={number}")["items"]
        return listed

    with ExitStack() as stack:
        if not known:
            stack.enter_context(sink(lab, port))
        lab.kubectl("apply", "-f", "-", input=manifest)
        if known:  # until then nobody answers them
            eventually("the agents know them", lambda: _all_counted(found()), 180)
            stack.enter_context(sink(lab, port))
        ended = eventually("they have ended", lambda: _all_ended(found()), 240)
    pages = {f"node{i}": _twice_read(i) for i in NODES}
    return [_result(each, pages[each["spec"]["nodeName"]]) for each in ended]


def owners() -> set[str]:
    """The UIDs of whom an agent counts something."""
    keys = [key for i in NODES for key in agent_metrics(i) if key.startswith(_BYTES)]
    return {key.split('uid="')[1].split('"')[0] for key in keys}


def remove(lab: RealLab) -> None:
    """Delete the short pods, and forget their connections, which conntrack keeps for two minutes."""
    lab.kubectl("delete", "pods", "-l", _LABEL, "--timeout=180s")
    for name in lab.nodes:
        lab.node(name).run(["conntrack", "-F"])


def _short(name: str, index: int, number: int, port: int) -> dict[str, Any]:
    target = f"{OUTSIDE_V4} {port}"
    script = (
        f"until nc -w 2 {target} </dev/null; do sleep 0.3; done; "
        f"until dd if=/dev/zero bs=65536 count={MEBIBYTES * 16} 2>/dev/null | nc {target}; do sleep 0.3; done; "
        "cat /proc/net/dev >/dev/termination-log"
    )
    node = f"node{NODES[index % len(NODES)]}"
    return pod(name, ["sh", "-c", script], node=node, labels={_LABEL: str(number)}, restartPolicy="Never")


def _all_counted(found: Sequence[Mapping[str, Any]]) -> bool:
    known = owners()
    return all(each["metadata"]["uid"] in known for each in found)


def _all_ended(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    failed = [each["metadata"]["name"] for each in found if each["status"].get("phase") == "Failed"]
    assert not failed, failed
    return found if all(each["status"].get("phase") == "Succeeded" for each in found) else []


def _twice_read(index: int) -> Mapping[str, float]:
    """An agent's figures after two readings that both began from here on."""
    readings = "traffic_footprint_agent_readings_total"
    begin = agent_metrics(index)[readings]

    def page() -> Mapping[str, float] | None:
        now = agent_metrics(index)
        return now if now[readings] >= begin + 2 else None

    return eventually("the agent has read twice", page, 60)


def _result(each: Mapping[str, Any], page: Mapping[str, float]) -> Short:
    uid = each["metadata"]["uid"]
    (status,) = each["status"]["containerStatuses"]
    sent = interface(status["state"]["terminated"]["message"]).tx
    counted = page.get(f'{_BYTES}{{direction="tx",uid="{uid}"}}', 0.0)
    return Short(each["metadata"]["name"], uid, each["status"]["podIP"], sent, counted)


class Arrivals:
    """Small pods for the chart's kube-scheduler, one after the other while the block lasts."""

    def __init__(self, lab: RealLab) -> None:
        self._lab = lab
        self.created = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)  # in the network namespace of this one

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            arrival = pod(f"arrival-{self.created}", ["/pause"], image=PAUSE, labels={"app": "arrival"})
            arrival["spec"]["schedulerName"] = NAME
            with suppress(LabError):  # one that is not there is created in the next round
                self._lab.kubectl("create", "-f", "-", input=json.dumps(arrival))
                self.created += 1

    def placed(self) -> int:
        """How many have a node."""
        return sum(
            bool(each["spec"].get("nodeName")) for each in get(self._lab, "pods", "-l", "app=arrival")["items"]
        )

    def __enter__(self) -> Arrivals:
        self._thread.start()
        eventually("the chart's scheduler places pods", lambda: self.placed() > 0, 90)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._stop.set()
        self._thread.join(90)
        try:
            if kind is None:
                eventually("every arrival is placed", lambda: self.placed() == self.created, 90)
        finally:
            self._lab.kubectl("delete", "pods", "-l", "app=arrival", "--timeout=110s")
