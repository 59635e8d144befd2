# SPDX-License-Identifier: Apache-2.0
"""The cells themselves, inside a guest: ``python3 -m lab.bench.matrix.guest PLAN``, where PLAN is JSON.

The guest plays the nodes in network namespaces, with each pod where the scheduler had put it. All cells of one
placement have the same pods on the same nodes: the queue of each node's uplink is replaced under running pods, and
so is the tuning switched. Prints one JSON object, the last line.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from lab.bench.matrix.cells import (
    QDISCS,
    Cell,
    Figures,
    Window,
    as_json,
    figures,
    mixed_nodes,
)
from lab.bench.matrix.traffic import ASKED_PORT, SINK_PORT, has_begun, is_mouse, pod_argv
from lab.bench.vm.as_agent import as_its_agent
from lab.errors import LabError
from lab.network import addresses, commands, pods
from lab.network.fabric import Fabric, NodeSpec
from lab.processes import Process, start, stop_all
from lab.traffic import argv
from nodeagent.sources.base import Locality

_SETTLE: Final = 4.0
"""Seconds after a change of the queue that are not measured: what was queued leaves, TCP finds its rate."""
_FIND: Final = 6.0
"""Seconds until the elephants are found and marked."""
_WAIT_SECONDS: Final = 180.0
_UPLINK: Final = "eth0"


@dataclass(frozen=True)
class Plan:
    """What is measured. It goes into the guest as JSON."""

    places: Mapping[str, Mapping[str, str]]
    """Placement to pod to node."""
    qdiscs: tuple[str, ...]
    bottlenecks: tuple[str, ...]
    tunings: tuple[bool, ...] = (False, True)
    seconds: float = 20.0
    rate: float = 20.0
    """Requests a second of each mouse."""
    link: str = "50M"
    """Of each node, bit/s in each direction."""

    @staticmethod
    def from_json(text: str) -> Plan:
        """The reverse of ``to_json``."""
        fields: dict[str, Any] = orjson.loads(text)
        lists = {name: tuple(fields[name]) for name in ("qdiscs", "bottlenecks", "tunings")}
        return Plan(**{**fields, **lists})

    def to_json(self) -> str:
        return orjson.dumps(asdict(self)).decode()


class Nodes:
    """The fabric with one placement's pods on it."""

    def __init__(self, plan: Plan, places: Mapping[str, str], folder: Path) -> None:
        names = sorted({node for each in plan.places.values() for node in each.values()})
        self._index = {name: number for number, name in enumerate(names, 1)}
        self._fabric = Fabric("matrix", [NodeSpec(name, index, plan.link) for name, index in self._index.items()])
        self._folder, self._places = folder, places
        self._links: dict[str, pods.PodLink] = {}
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Nodes:
        self._fabric.create()
        try:
            for number, (pod, node) in enumerate(self._places.items()):
                v4, v6 = addresses.pod_addresses(self._index[node], number)
                self._links[pod] = pods.plan("matrix", self._fabric.node_namespace(node), f"{number:010d}", v4, v6)
                pods.create(self._links[pod])
            outside = self._fabric.outside_namespace
            self._start("sink", argv("sink", "--port", str(SINK_PORT)), outside)
            self._start("server", argv("mouse_server", "--port", str(ASKED_PORT)), outside)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        stop_all(self.processes.values(), 2.0)
        self._fabric.destroy()

    def run(self, pod: str, command: list[str]) -> None:
        """Start a pod, and wait until it has reached its far end."""
        process = self._start(pod, command, self._links[pod].namespace)
        process.wait_ready(lambda: has_begun(self.log(pod)), _WAIT_SECONDS)

    def end(self, pod: str) -> None:
        self.processes.pop(pod).stop(grace=2.0)

    def log(self, pod: str) -> str:
        path = self._folder / f"{pod}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def replace_queues(self, qdisc: str) -> None:
        """Give every node's uplink this queue, below the class that has the link's rate."""
        handle = 11 + list(QDISCS).index(qdisc)  # a queue of another kind takes no handle that is in use
        for node in self._index:
            line = f"qdisc replace dev {_UPLINK} parent 1:1 handle {handle}: {QDISCS[qdisc]}\n"
            commands.tc_batch(self._fabric.node_namespace(node), line)

    def lost(self) -> list[str]:
        """Programs that ended by themselves."""
        return [name for name, process in self.processes.items() if not process.running]

    @contextmanager
    def tuned(self) -> Iterator[None]:
        """On every node with an elephant, act as its agent does: a reading a second, and what it says is done."""
        with ExitStack() as stack:
            for node in {node for pod, node in self._places.items() if not is_mouse(pod)}:
                address = socket.inet_aton(addresses.node_v4(self._index[node]))
                here = [pod for pod, where in self._places.items() if where == node]
                owners = {socket.inet_aton(self._links[pod].v4): pod for pod in here}
                locality = Locality(pods=owners, node=frozenset({address}))
                stack.enter_context(as_its_agent(self._fabric.node_namespace(node), locality, _UPLINK))
            yield

    def _start(self, name: str, command: list[str], namespace: str) -> Process:
        log = self._folder / f"{name}.log"
        log.unlink(missing_ok=True)
        self.processes[name] = start(command, log=log, name=name, netns=namespace)
        return self.processes[name]


def measure(plan: Plan) -> dict[str, object]:
    """Every cell, and the floor: a mouse before any elephant runs, asking as often as all. Raises LabError."""
    found: dict[Cell, Figures] = {}
    floor: Figures | None = None
    for placement, where in plan.places.items():
        for bottleneck in plan.bottlenecks:
            with tempfile.TemporaryDirectory() as folder, Nodes(plan, where, Path(folder)) as nodes:
                floor = floor or _floor(plan, nodes, where)
                for pod in where:
                    nodes.run(pod, pod_argv(pod, bottleneck, plan.rate))
                found |= _cells(plan, nodes, where, bottleneck, placement)
    if floor is None:
        raise LabError("nothing was measured: the plan names no placement or no bottleneck")
    return as_json(found, floor)


def _cells(
    plan: Plan, nodes: Nodes, where: Mapping[str, str], bottleneck: str, placement: str
) -> dict[Cell, Figures]:
    mice, elephants = ([pod for pod in where if is_mouse(pod) is kind] for kind in (True, False))
    mixed = mixed_nodes([where[pod] for pod in mice], [where[pod] for pod in elephants])
    windows: dict[Cell, Window] = {}
    for tuned in plan.tunings:
        with nodes.tuned() if tuned else ExitStack():
            time.sleep(_FIND if tuned else 0.0)
            for qdisc in plan.qdiscs:
                nodes.replace_queues(qdisc)
                time.sleep(_SETTLE)
                windows[Cell(bottleneck, qdisc, placement, tuned)] = _window(plan)
    if lost := nodes.lost():
        raise LabError(f"ended during the measurement: {', '.join(lost)}; {nodes.log(lost[0])[-400:]}")
    asked, sent = ([nodes.log(pod) for pod in kind] for kind in (mice, elephants))
    return {cell: figures(asked, sent, window, mixed) for cell, window in windows.items()}


def _floor(plan: Plan, nodes: Nodes, where: Mapping[str, str]) -> Figures:
    mouse = next(pod for pod in where if is_mouse(pod))
    often = plan.rate * sum(map(is_mouse, where))
    nodes.run(mouse, pod_argv(mouse, "", often))
    time.sleep(_SETTLE)
    window = _window(plan)
    nodes.end(mouse)
    return figures([nodes.log(mouse)], [], window, 0)


def _window(plan: Plan) -> Window:
    begin = time.monotonic()
    time.sleep(plan.seconds)
    return Window(begin, time.monotonic())


def main() -> int:
    """0; 1 with one line on stderr."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        found = measure(Plan.from_json(sys.argv[1]))
    except (LabError, ValueError) as error:
        print(f"matrix: {error}", file=sys.stderr)
        return 1
    print(orjson.dumps(found).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
