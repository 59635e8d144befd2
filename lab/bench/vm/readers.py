# SPDX-License-Identifier: Apache-2.0
"""CPU time of a reading beside 100,000 connections of 250 pods: eBPF, ctnetlink, ``conntrack -L``; and the agent.

``python -m lab.kernelvm run --kernel 6.12 --timeout 1500 -- python3 -m lab.bench.vm.readers [--flows 100000]``.
Real datagrams fill the node's table. Then each reader reads once a second, and every pod sends between two
readings. CPU is user and system time of the reading process. Last, the agent's own process runs with each source.
On an emulated processor only ratios are meaningful. Prints JSON.
"""

from __future__ import annotations

import argparse
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import orjson
import structlog

from lab.bench.agent.ctnetlink import raised_limit
from lab.bench.figures import spread
from lab.bench.process_cost import Cost
from lab.bench.vm import node as vm_node
from lab.bench.vm.node import BenchNode, pod_address
from lab.network import netns
from nodeagent.sources.base import FlowSource, LossKind
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource

_COUNT: Final = Path("/proc/sys/net/netfilter/nf_conntrack_count")
_PATIENCE: Final = 180.0
"""Seconds until the agent must have begun. Importing is slow on an emulated processor."""

Report = dict[str, object]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--flows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=15, help="readings with eBPF; the others take a third")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which each agent is measured")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with vm_node.node() as made, raised_limit(options.flows), ExitStack() as opened:
        senders = [opened.enter_context(vm_node.send(pod_address(n), made)) for n in range(vm_node.PODS)]
        with netns.entered(made.node):
            report = measure(senders, options.flows, options.rounds)
        report["agents"] = [watched(made, source, options.seconds) for source in ("ebpf", "ctnetlink")]
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


def measure(senders: Sequence[socket.socket], flows: int, rounds: int) -> Report:
    """CPU seconds of each reader, in the namespace of this thread."""
    ebpf = EbpfSource(locality=vm_node.locality(), options=Options(compile_timeout=vm_node.COMPILE_SECONDS))
    ebpf.open()
    report: Report = {}
    try:
        fill(senders, flows)
        report |= {"entries": int(_COUNT.read_text()), "mode": ebpf.mode, "pods": len(senders)}
        report["ebpf"] = _of_source(ebpf, senders, rounds)
        reading = ebpf.read(time.monotonic())
        report["lost"] = {kind.value: reading.lost.get(kind, 0) for kind in LossKind if reading.lost.get(kind)}
    finally:
        ebpf.close()
    ctnetlink = CtnetlinkSource(locality=vm_node.locality())
    ctnetlink.open()
    try:
        report["ctnetlink"] = _of_source(ctnetlink, senders, max(rounds // 3, 3))
    finally:
        ctnetlink.close()
    tool = _cpu(_conntrack_tool, senders, max(rounds // 3, 3), resource.RUSAGE_CHILDREN)
    return report | {"conntrack -L": tool}


def fill(senders: Sequence[socket.socket], flows: int) -> None:
    """Send one datagram of each flow."""
    for number in range(flows):
        port, pod = divmod(number, len(senders))
        senders[pod].sendto(b"x", (vm_node.SERVER, vm_node.SILENT[0] + port))


def _of_source(source: FlowSource, senders: Sequence[socket.socket], rounds: int) -> Report:
    source.read(time.monotonic())
    return _cpu(lambda: source.read(time.monotonic()), senders, rounds, resource.RUSAGE_SELF)


def _cpu(run: Callable[[], object], senders: Sequence[socket.socket], rounds: int, who: int) -> Report:
    taken: list[float] = []
    for _ in range(rounds):
        fill(senders, len(senders))
        time.sleep(0.3)
        before = resource.getrusage(who)
        run()
        after = resource.getrusage(who)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {"cpu_seconds": spread(taken, digits=4), "rounds": rounds}


def _conntrack_tool() -> None:
    subprocess.run(["conntrack", "-L"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def watched(made: BenchNode, source: str, seconds: float) -> Report:
    """Cost of the agent's process with 250 pods: one reading a second. ``top`` needs no API server."""
    with TemporaryDirectory() as folder, Path(folder, "said").open("wb") as said:
        pods = Path(folder, "pods")
        pods.write_text("".join(f"{pod_address(n)} bench/pod-{n}\n" for n in range(vm_node.PODS)))
        argv = [sys.executable, "-c", "from nodeagent.cli import main; main()", "top", "--pods", str(pods),
                "--source", source, "--uplink", vm_node.UPLINK, "--link-capacity", "10G",
                "--output", "json"]  # fmt: skip
        process = subprocess.Popen(netns.command(made.node, argv), stdout=said, stderr=subprocess.STDOUT)
        try:
            _begun(process, Path(folder, "said"))
            before, began = Cost.of(process.pid), time.monotonic()
            time.sleep(seconds)
            after, elapsed = Cost.of(process.pid), time.monotonic() - began
            maps = Path(f"/proc/{process.pid}/maps").read_text()
            return {
                "source": source,
                "cpu_of_a_core": round((after.cpu_seconds - before.cpu_seconds) / elapsed, 5),
                "resident_mib": round(after.resident_mib, 1),
                "peak_mib": round(after.peak_mib, 1),
                "llvm_mapped": "libbcc" in maps or "LLVM" in maps,
            }
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _begun(process: subprocess.Popen[bytes], said: Path) -> None:
    """Wait until the agent printed some readings. Raises TimeoutError."""
    deadline = time.monotonic() + _PATIENCE
    while said.read_bytes().count(b"\n{") + said.read_bytes().startswith(b"{") < 4:
        if process.poll() is not None or time.monotonic() > deadline:
            end = said.read_text(errors="replace")[-2000:]
            raise TimeoutError(
                f"the agent printed too few readings within {_PATIENCE:g} s; its output ends: {end}"
            )
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
