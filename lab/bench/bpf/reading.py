# SPDX-License-Identifier: Apache-2.0
"""User-space cost of a reading of the eBPF source on this machine: real maps of full size, without hooks.

``python -m lab.bench.bpf.reading [--pods 250] [--busy 250] [--elephants 20]``, as root. Between two readings, the
counters of busy pods and the bytes of elephants change. It costs most when all pods are busy. ``read`` is the
source only. ``tick`` is the agent's whole loop: reading, rates, classes, decision to write. CPU is user and
system time. The number of connections does not matter, since they stay in the kernel. Prints JSON.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import Final

import orjson
import structlog

from lab.bench.agent.loop import unconnected
from lab.bench.figures import spread
from nodeagent.sources.base import Locality
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.layout import EVENT_BECAME, ElephantEvent, FlowEntry, Histograms, SlotCounters
from nodeagent.sources.ebpf.kernel.maps import Maps
from nodeagent.sources.ebpf.loader import Options, Session
from nodeagent.sources.ebpf.programs import Programs
from nodeagent.sources.ebpf.source import EbpfSource

_INTERVAL: Final = 1.0
"""Seconds between readings: the default."""


class Unhooked(EbpfSource):
    """The source over maps that no program writes."""

    maps: Maps

    def _start_fresh(self) -> None:
        self.maps = Maps.create(self._options.sizes)
        self._reset()
        self._begin(Session(self.maps, Programs({}, {}), "no hooks"))

    def count(self, uid: str, step: int) -> None:
        """Write what hooks would count for a pod in ``step`` intervals. A flow ended, so all maps are read."""
        slot = self._owners.slot_of(uid)
        if slot is None:
            raise ValueError(f"{uid} has no slot")
        key = slot.number.to_bytes(4, sys.byteorder)
        counters = SlotCounters(
            tag=slot.tag, tx_bytes=1000 * step, rx_bytes=500 * step, flows_born=step, flows_ended=step
        )
        bpf.map_update(self.maps.fds["counters"], key, bytes(counters) * bpf.possible_cpus())
        histograms = Histograms()
        histograms.sizes[10] = histograms.lifetimes[5] = step * bpf.possible_cpus()
        bpf.map_update(self.maps.fds["histograms"], key, bytes(histograms))

    def run_elephant(self, number: int, step: int) -> None:
        """Write the entries of an elephant of 40 Mbit/s."""
        key = number.to_bytes(8, sys.byteorder)
        slot = self._owners.slot_of(f"pod-{number}")
        flow = FlowEntry(elephant=1, protocol=6)
        flow.bytes[0] = 20_000_000 + 5_000_000 * step
        flow.charge[0] = slot.tag if slot else 0
        event = ElephantEvent(flow=number, time_ns=1, protocol=6, kind=EVENT_BECAME)
        bpf.map_update(self.maps.fds["flows"], key, bytes(flow))
        bpf.map_update(self.maps.fds["elephants"], key, bytes(event))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--pods", type=int, default=250)
    parser.add_argument("--busy", type=int, help="pods with traffic between two readings (default: all)")
    parser.add_argument("--elephants", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("error: creating maps needs root; run with sudo", file=sys.stderr)
        return 2
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    busy = options.pods if options.busy is None else options.busy
    report = measure(options.pods, busy, options.elephants, options.rounds)
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


def measure(pods: int, active: int, elephants: int, rounds: int) -> dict[str, object]:
    """CPU milliseconds per reading. ``active`` pods are busy all the time, the others once."""
    addresses = {(10 << 24 | number + 1).to_bytes(4, "big"): f"pod-{number}" for number in range(pods)}
    source = Unhooked(locality=Locality(pods=addresses), options=Options(pins=None))
    source.open()
    try:
        agent, _ = unconnected(source, addresses, uplink="lo", capacity=10e9)
        agent.tick()
        steps = iter(range(1, 10**6))

        def busy(run: Callable[[], object]) -> float:
            step = next(steps)
            for uid in list(addresses.values())[: active if step > 1 else pods]:
                source.count(uid, step)
            for number in range(min(elephants, pods)):
                source.run_elephant(number, step)
            time.sleep(_INTERVAL)
            return _cpu(run)

        read = [busy(lambda: source.read(time.monotonic())) for _ in range(rounds)]
        seen = source.read(time.monotonic())
        tick = [busy(agent.tick) for _ in range(rounds)]
    finally:
        source.close()
    if len(seen.owners) < pods or len(seen.elephants) != min(elephants, pods):
        raise SystemExit(f"error: {len(seen.owners)} owners and {len(seen.elephants)} elephants were read")
    return {
        "pods": pods,
        "busy": active,
        "elephants": elephants,
        "read_ms": spread(read),
        "tick_ms": spread(tick),
    }


def _cpu(run: Callable[[], object]) -> float:
    """Milliseconds."""
    before = time.thread_time_ns()
    run()
    return (time.thread_time_ns() - before) / 1e6


if __name__ == "__main__":
    sys.exit(main())
