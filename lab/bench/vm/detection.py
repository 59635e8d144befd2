# SPDX-License-Identifier: Apache-2.0
"""Delay until an elephant is known: from the datagram that crosses the thresholds to user space, and to the write.

``python -m lab.kernelvm run --kernel 6.12 --timeout 1800 -- python3 -m lab.bench.vm.detection [--decisions 30]``.
Pods send datagrams of one size at a steady pace, and the sender notes the time before each. The kernel's event
contains the flow's bytes. So it names the datagram with which the flow became an elephant. Two times are measured:

- ``event`` ends when user space has read the event.
- ``decision`` ends when the agent's own loop, at its default settings, hands the footprint with the elephant to
  the writer. The API server's time is not included.

For ``decision``, elephants come in pairs, at times that are independent of the loop's. Each pair meets a new agent
with a full write budget.

An emulated processor is slow, and other load on the host slows it at random. With ``--accel counted``, the guest's
clock counts instructions, a billion a second, whatever the host does. Outside of a guest, only ``--source
ctnetlink --elephants 0`` runs. Prints lines of JSON; the last line of each kind is complete.
"""

from __future__ import annotations

import argparse
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import orjson
import structlog

from lab.bench.agent.loop import Recorder, unconnected
from lab.bench.figures import delays
from lab.bench.sender import IP_BYTES, MTU, Sender, crossed
from lab.bench.vm import node as vm_node
from lab.bench.vm.node import UPLINK, BenchNode, pod_address
from lab.network import netns
from nodeagent.agent import Agent
from nodeagent.publishing.decide import WritePolicy
from nodeagent.sources.base import FlowSource, FlowThresholds
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf.kernel.layout import EVENT_BECAME, ORIGINAL, REPLY
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource
from nodeagent.sources.select import Factory

_PACE: Final = 2_000_000
"""Bytes/s of one elephant: above the threshold, and low enough for an emulated processor."""
_CAPACITY: Final = 100e6
_THRESHOLDS: Final = FlowThresholds(elephant_bytes=2 * 2**20)
"""Less volume than the default, so that an elephant takes seconds. Rate and windows are the defaults."""
_NEEDED: Final = max(_THRESHOLDS.elephant_bytes, _THRESHOLDS.elephant_rate / 8 * _THRESHOLDS.rate_window)
_PATIENCE: Final = 60.0
_TOGETHER: Final = 2
"""Elephants per agent: fewer than its write budget allows at once. Its first footprint takes one write."""
_SETTLE: Final = 3 + WritePolicy().interval
"""Seconds until a new agent has written its first footprint and its write budget is full again."""
_STEP: Final = 0.02
_SOURCES: Final[dict[str, Factory]] = {"ctnetlink": CtnetlinkSource, "ebpf": EbpfSource}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--elephants", type=int, default=40, help="one after the other, to the event")
    parser.add_argument("--decisions", type=int, default=30, help="elephants with each source, to the write")
    parser.add_argument("--source", choices=sorted(_SOURCES), action="append", help="default: both")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr),
                        wrapper_class=structlog.make_filtering_bound_logger(30))  # fmt: skip
    _warm()
    with ExitStack() as stack:
        made = stack.enter_context(vm_node.node(MTU))
        senders = [
            stack.enter_context(Sender(stack.enter_context(vm_node.send(pod_address(pod), made)), _PACE))
            for pod in range(_TOGETHER)
        ]
        stack.enter_context(netns.entered(made.node))
        if options.elephants:
            _report({"event_seconds": delays(list(events(senders[0], options.elephants)))})
        for name in options.source or _SOURCES:
            opened = _SOURCES[name](_THRESHOLDS, vm_node.locality())
            found: list[float] = []
            for pair in decisions(made, opened, senders, options.decisions):
                found += pair
                _report({f"decision_seconds_{name}": delays(found), "each": [round(delay, 2) for delay in pair]})
    return 0


def _report(report: dict[str, object]) -> None:
    """Print one line at once, since a guest may be ended before all is measured."""
    print(orjson.dumps(report | {"load": Path("/proc/loadavg").read_text().split()[0]}).decode(), flush=True)


def _warm() -> None:
    """Read the compiler into memory. A clock that counts instructions jumps while the guest waits for a disk, and
    compiling would seem to take minutes."""
    read = """
import bcc
for line in open("/proc/self/maps"):
    path = line.split()[-1]
    if path.startswith("/"):
        open(path, "rb").read()
"""
    subprocess.run([sys.executable, "-c", read], check=True)


def events(sender: Sender, count: int) -> Iterator[float]:
    """Seconds from the crossing datagram to the event in user space, per elephant."""
    source = EbpfSource(_THRESHOLDS, vm_node.locality(), options=Options(compile_timeout=vm_node.COMPILE_SECONDS))
    source.open()
    try:
        for number in range(count):
            port = vm_node.SILENT[0] + number
            sender.begin((vm_node.SERVER, port))
            known, sent = _await_event(source, port)
            yield known - sender.end()[sent - 1]
            source.read(time.monotonic())
    finally:
        source.close()


def _await_event(source: EbpfSource, port: int) -> tuple[float, int]:
    """When user space read the event of the elephant to ``port``, and the number of the crossing datagram."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        source.wait(1.0)
        events = source.events()
        now = time.monotonic()
        for event in events:
            if event.kind == EVENT_BECAME and event.responder_port == socket.htons(port):
                return now, (event.bytes[ORIGINAL] + event.bytes[REPLY]) // IP_BYTES
    raise TimeoutError(f"no event of an elephant came within {_PATIENCE:g} s")


def decisions(made: BenchNode, source: FlowSource, senders: Sequence[Sender], count: int) -> Iterator[list[float]]:
    """Seconds from the crossing datagram to the decision to write, per elephant. One list for each agent."""
    source.open()
    draw = random.Random(1)
    try:
        for number in range(0, count, len(senders)):
            ports = range(vm_node.SILENT[0] + 1000 + number, vm_node.SILENT[1])
            with _agent(made, source) as recorder:
                time.sleep(_SETTLE)
                yield _decided(recorder, senders[: count - number], ports, draw)
            _until_quiet(source)
    finally:
        source.close()


@contextmanager
def _agent(made: BenchNode, source: FlowSource) -> Iterator[Recorder]:
    """A new agent's loop over ``source``, in a thread."""
    agent, recorder = unconnected(source, vm_node.locality().pods, uplink=UPLINK, capacity=_CAPACITY)
    stop, failures = threading.Event(), list[BaseException]()
    loop = threading.Thread(target=_looped, args=(made, agent, stop, failures))
    loop.start()
    try:
        yield recorder
    finally:
        stop.set()
        loop.join()
    if failures:
        raise failures[0]


def _looped(made: BenchNode, agent: Agent, stop: threading.Event, failures: list[BaseException]) -> None:
    try:
        with netns.entered(made.node):
            agent.run(stop)
    except BaseException as error:
        failures.append(error)


def _decided(
    recorder: Recorder, senders: Sequence[Sender], ports: Sequence[int], draw: random.Random
) -> list[float]:
    """Delays of elephants that begin at random moments of the loop, one to two seconds apart."""
    for sender, port in zip(senders, ports, strict=False):
        time.sleep(1 + draw.random())
        sender.begin((vm_node.SERVER, port))
    deadline = time.monotonic() + _PATIENCE
    while len(known := _known(recorder)) < len(senders) and time.monotonic() < deadline:
        time.sleep(_STEP)
    if len(known) < len(senders):
        raise TimeoutError(f"no footprint with every elephant was written, only {sorted(known)}")
    return [known[f"pod-{pod}"] - crossed(sender.end(), _NEEDED) for pod, sender in enumerate(senders)]


def _known(recorder: Recorder) -> dict[str, float]:
    """Pods that were written as elephants, and the time of the first write."""
    found: dict[str, float] = {}
    for at, footprint in list(recorder.written):
        for pod in footprint.pods:
            if pod.cls.hurts and pod.el:
                found.setdefault(pod.uid, at)
    return found


def _until_quiet(source: FlowSource) -> None:
    """Wait until no elephant is left for the next agent."""
    deadline = time.monotonic() + _PATIENCE
    while source.read(time.monotonic()).elephants:
        if time.monotonic() > deadline:
            raise TimeoutError(f"an elephant that stopped sending did not end within {_PATIENCE:g} s")
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
