# SPDX-License-Identifier: Apache-2.0
"""Throughput of one TCP connection through a node: hooks off, with our hooks, with ctnetlink read every second.

``python -m lab.kernelvm run --kernel 6.12 --timeout 900 -- python3 -m lab.bench.vm.throughput [--rounds 3]``.
iperf3 sends from a pod to a server behind the node. Cases take turns, so that other load on the machine meets all
of them. On an emulated processor only the ratios mean something, and with other load on the host not even those.
For that case run ``python -m lab.bench.vm.throughput --counted 6.12`` outside of a guest. It boots a guest with
one processor, whose second is a billion instructions, whatever the host does. Prints JSON.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import orjson
import structlog

from lab.bench.vm import node as vm_node
from lab.bench.vm.instructions import boot
from lab.bench.vm.node import BenchNode, pod_address
from lab.network import netns
from nodeagent.sources.base import FlowSource
from nodeagent.sources.ctnetlink import CtnetlinkSource
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.source import EbpfSource

_BEFORE: Final = 1
"""Seconds that iperf3 leaves out, while the connection speeds up."""


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--counted", metavar="KERNEL", help="boot a guest whose clock counts instructions")
    options = parser.parse_args()
    if options.counted:
        module = ["python3", "-u", "-m", "lab.bench.vm.throughput"]
        return boot(options.counted, [*module, f"--rounds={options.rounds}", f"--seconds={options.seconds}"])
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with vm_node.node() as made:
        server = subprocess.Popen(
            netns.command(made.server, ["iperf3", "-s"]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            time.sleep(2)
            report = measure(made, options.rounds, options.seconds)
        finally:
            server.terminate()
            server.wait(10)
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
    return 0


def measure(made: BenchNode, rounds: int, seconds: int) -> dict[str, object]:
    """Mbit/s of each case, and its median divided by that with hooks off."""
    taken: dict[str, list[float]] = {case: [] for case in ("hooks off", "ebpf fentry", "ebpf kprobe", "ctnetlink")}
    for _ in range(rounds):
        taken["hooks off"].append(_iperf(made, seconds))
        for mode in Mode:
            with _reading(made, partial(_ebpf, mode)):
                taken[f"ebpf {mode}"].append(_iperf(made, seconds))
        with _reading(made, lambda: CtnetlinkSource(locality=vm_node.locality())):
            taken["ctnetlink"].append(_iperf(made, seconds))
    base = statistics.median(taken["hooks off"])
    return {
        case: {
            "mbit_per_second": [round(value) for value in values],
            "of_hooks_off": round(statistics.median(values) / base, 3),
        }
        for case, values in taken.items()
    }


def _ebpf(mode: Mode) -> FlowSource:
    return EbpfSource(
        locality=vm_node.locality(),
        options=Options(modes=(mode,), pins=None, compile_timeout=vm_node.COMPILE_SECONDS),
    )


@contextmanager
def _reading(made: BenchNode, make: Callable[[], FlowSource]) -> Iterator[None]:
    """Read a source every second in a thread, while the block runs."""
    stop = threading.Event()
    opened, failures = threading.Event(), list[BaseException]()

    def loop() -> None:
        try:
            with netns.entered(made.node):
                source = make()
                source.open()
                opened.set()
                try:
                    while not stop.wait(1.0):
                        source.read(time.monotonic())
                finally:
                    source.close()
        except BaseException as error:
            failures.append(error)
        finally:
            opened.set()

    thread = threading.Thread(target=loop)
    thread.start()
    opened.wait()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if failures:
        raise failures[0]


def _iperf(made: BenchNode, seconds: int) -> float:
    argv = ["iperf3", "-c", vm_node.SERVER, "-B", pod_address(0), "-t", str(seconds), "-O", str(_BEFORE), "-J"]
    done = subprocess.run(netns.command(made.pods, argv), capture_output=True, check=False)
    answer = orjson.loads(done.stdout)
    if "error" in answer:
        raise SystemExit(f"error: iperf3: {answer['error']}")
    return float(answer["end"]["sum_received"]["bits_per_second"]) / 1e6


if __name__ == "__main__":
    sys.exit(main())
