"""How soon an elephant is known: from the datagram that crosses the thresholds to user space, and to the write.

``python -m lab.kernelvm run --kernel 6.12 --timeout 900 -- python3 -m lab.bench.vm_detection [--elephants 40]``.
Pods send datagrams of one size at a steady pace. The event tells the flow's bytes, so it names the datagram with
which the flow became an elephant; the sender noted the time before each. ``event`` ends when user space has read
it; ``decision`` when the agent's own loop, at its default settings, hands a footprint with that elephant to the
writer. What the API server then takes is not in it. An emulated processor is slow: an upper bound. Prints JSON.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Final, cast

import orjson
import structlog

from lab.bench import vm_node
from lab.bench.agent_loop import Recorder, unconnected
from lab.bench.vm_node import UPLINK, Node, pod_address
from lab.network import netns
from nodeagent.agent import Agent
from nodeagent.sources.base import FlowSource, FlowThresholds
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf import EbpfSource
from nodeagent.sources.ebpf.layout import EVENT_BECAME, ORIGINAL, REPLY

_PAYLOAD: Final = 1_400
_HEADERS: Final = 28
_PACE: Final = 2_000_000
"""Bytes/s of one elephant: above the rate, and little enough for an emulated processor."""
_CAPACITY: Final = 100e6
_THRESHOLDS: Final = FlowThresholds(elephant_bytes=2 * 2**20)
"""Less volume than by default, so that an elephant takes seconds; rate and windows are the defaults."""
_PATIENCE: Final = 60.0


@dataclass
class Sender:
    """A flow of one pod to a port of its own."""

    pod: int
    port: int
    moments: list[float] = field(default_factory=list)
    """Monotonic seconds before each datagram."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--elephants", type=int, default=40, help="one after the other, to the event")
    parser.add_argument("--decisions", type=int, default=6, help="elephants with each source, to the write")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr),
                        wrapper_class=structlog.make_filtering_bound_logger(30))  # fmt: skip
    with vm_node.node() as made, netns.entered(made.node):
        report: dict[str, object] = {"event_seconds": _summary(events(made, options.elephants))}
        for name, source in (("ebpf", EbpfSource), ("ctnetlink", CtnetlinkSource)):
            opened = cast(FlowSource, source(_THRESHOLDS, vm_node.locality()))
            report[f"decision_seconds_{name}"] = _summary(decisions(made, opened, options.decisions))
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


def events(made: Node, count: int) -> list[float]:
    """Seconds from the crossing datagram to the event in user space, per elephant."""
    source = EbpfSource(_THRESHOLDS, vm_node.locality())
    source.open()
    delays = []
    try:
        for number in range(count):
            sender = Sender(number % vm_node.PODS, vm_node.SILENT[0] + number)
            with _sending(made, sender):
                delays.append(_await_event(source, sender))
            source.read(time.monotonic())
    finally:
        source.close()
    return delays


def _await_event(source: EbpfSource, sender: Sender) -> float:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        source.wait(1.0)
        found = source.events()
        now = time.monotonic()
        for event in found:
            if event.kind == EVENT_BECAME and event.responder_port == _swapped(sender.port):
                sent: int = (event.bytes[ORIGINAL] + event.bytes[REPLY]) // (_PAYLOAD + _HEADERS)
                return now - sender.moments[sent - 1]
    raise TimeoutError("no elephant was told")


def decisions(made: Node, source: FlowSource, count: int) -> list[float]:
    """Seconds from the crossing datagram to the decision to write, per elephant, with default settings."""
    source.open()
    stop = threading.Event()
    agent, recorder = unconnected(source, vm_node.locality().pods, uplink=UPLINK, capacity=_CAPACITY)
    failures: list[BaseException] = []
    loop = threading.Thread(target=_looped, args=(made, agent, stop, failures))
    loop.start()
    try:
        time.sleep(15)
        return [_decided(made, recorder, number, failures) for number in range(count)]
    finally:
        stop.set()
        loop.join()
        source.close()


def _looped(made: Node, agent: Agent, stop: threading.Event, failures: list[BaseException]) -> None:
    try:
        with netns.entered(made.node):
            agent.run(stop)
    except BaseException as error:
        failures.append(error)


def _decided(made: Node, recorder: Recorder, number: int, failures: list[BaseException]) -> float:
    """One elephant, at a random moment of the loop; then quiet until the write budget is whole again."""
    sender = Sender(number, vm_node.SILENT[0] + 1000 + number)
    seen = len(recorder.written)
    deadline = time.monotonic() + _PATIENCE
    with _sending(made, sender):
        while time.monotonic() < deadline and not failures:
            for at, footprint in recorder.written[seen:]:
                if any(pod.uid == f"pod-{number}" and pod.el for pod in footprint.pods):
                    delay = at - _crossed(sender)
                    break
            else:
                time.sleep(0.005)
                continue
            break
        else:
            raise TimeoutError(f"no footprint with the elephant was written; {failures}")
    time.sleep(20 + (number * 0.37) % 1)
    return delay


def _crossed(sender: Sender) -> float:
    """When the volume and, within one window, the rate's bytes had been sent: the definition, not the event."""
    needed = max(_THRESHOLDS.elephant_bytes, _THRESHOLDS.elephant_rate / 8 * _THRESHOLDS.rate_window)
    return sender.moments[math.ceil(needed / (_PAYLOAD + _HEADERS)) - 1]


class _sending:  # noqa: N801 - a context manager
    """Datagrams at the pace until the block ends."""

    def __init__(self, made: Node, sender: Sender) -> None:
        self._sender, self._stop = sender, threading.Event()
        self._socket = vm_node.send(pod_address(sender.pod), made)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        data, target = b"x" * _PAYLOAD, (vm_node.SERVER, self._sender.port)
        began = time.monotonic()
        while not self._stop.is_set():
            self._sender.moments.append(time.monotonic())
            self._socket.sendto(data, target)
            ahead = began + len(self._sender.moments) * _PAYLOAD / _PACE - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)


def _swapped(port: int) -> int:
    return (port & 0xFF) << 8 | port >> 8


def _summary(delays: list[float]) -> dict[str, float]:
    ordered = sorted(delays)
    return {
        "count": len(ordered),
        "p50": statistics.median(ordered),
        "p99": ordered[math.ceil(0.99 * len(ordered)) - 1],
        "most": ordered[-1],
    }


if __name__ == "__main__":
    sys.exit(main())
