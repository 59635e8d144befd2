# SPDX-License-Identifier: Apache-2.0
"""Measures what interrupts make the kernel skip: calls, skipped calls and missing bytes, a line of JSON a row.

``python -m lab.kernelvm run --kernel 6.12 --timeout 1200 -- python3 -m tests.kernel.guest.misses [--seconds 10]``.
Pods and the node's own processes send as fast as they can. With ``--interrupts`` packets reach the other processor
by an interrupt, as a network card's do; with ``--paced`` a timer of the kernel sends them. The truth is what
nftables counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Final

import structlog

from lab.network import netns
from nodeagent.sources.base import Reading
from nodeagent.sources.ebpf import loader
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.loader import Options
from nodeagent.sources.ebpf.preflight import TRIAL
from nodeagent.sources.ebpf.source import EbpfSource
from tests.kernel.guest import builds
from tests.kernel.guest.measuring import THRESHOLDS
from tests.kernel.guest.network import LOCALITY, SERVER4, Network, network
from tests.kernel.guest.sources import EBPF, MODES
from tests.kernel.guest.traffic import socket_in

BESIDE: Final = ("nothing", "attach", "read")
_RUNS_AT: Final = 200  # bpf_prog_info.run_cnt
_PACE: Final = 2_000_000
_SMALL: Final = 536
_SO_MAX_PACING_RATE: Final = 47
_SPREAD: Final = """
mount -t sysfs sysfs /sys
for queue in /sys/class/net/*/queues/rx-*/rps_cpus; do echo 3 >"$queue"; done
"""


def main() -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row")
    parser.add_argument("--interrupts", action="store_true")
    parser.add_argument("--paced", action="store_true")
    options = parser.parse_args()
    builds.remember()
    Path("/proc/sys/kernel/bpf_stats_enabled").write_text("1")
    with network() as net:
        if options.interrupts:
            for namespace in (net.node, net.server):
                with netns.entered(namespace):
                    subprocess.run(["unshare", "--mount", "sh", "-ec", _SPREAD], check=True)
        for name in EBPF:
            source = EbpfSource(THRESHOLDS, LOCALITY, options=Options(modes=(MODES[name],), pins=None))
            with netns.entered(net.node):
                source.open()
            for beside in BESIDE:
                found = row(net, source, name, beside, options.seconds, paced=options.paced)
                print(json.dumps({"source": name, "beside": beside, **found}), flush=True)
            source.close()


def row(
    net: Network, source: EbpfSource, name: str, beside: str, seconds: float, *, paced: bool
) -> dict[str, object]:
    """Differences over ``seconds`` of traffic; bytes as they left the node."""
    net.quiet()
    net.flush()
    before, calls, truth = source.read(time.monotonic()), runs(source), net.counted()
    stop, done = multiprocessing.Event(), threading.Event()
    senders = [
        multiprocessing.Process(target=send, args=(net, namespace, port, stop, paced))
        for port, (send, namespace) in enumerate(
            [(stream, net.pod1), (datagrams, net.pod2), (stream, net.node), (datagrams, net.node)], start=9001
        )
    ]
    for sender in senders:
        sender.start()
    neighbour = threading.Thread(target=neighbours(net, source, name)[beside], args=(done,))
    neighbour.start()
    time.sleep(seconds)
    stop.set()
    done.set()
    neighbour.join()
    for sender in senders:
        sender.join()
    net.quiet()
    after, now = source.read(time.monotonic()), net.counted()
    carried = now["out_uplink"] - truth["out_uplink"]
    lost = {kind: count - before.lost.get(kind, 0) for kind, count in after.lost.items()}
    missing = carried - (sent(after) - sent(before))
    return {"calls": runs(source) - calls, "bytes": carried, "missing": missing, "lost": lost}


def neighbours(net: Network, source: EbpfSource, name: str) -> dict[str, Callable[[threading.Event], object]]:
    """What else happens, until told to end."""

    def attach(done: threading.Event) -> None:
        while not done.is_set():
            for mode in sorted(MODES.values(), key=lambda mode: mode is not MODES[name]):
                with netns.entered(net.node):
                    loader.start(Options(sizes=TRIAL, pins=None, modes=(mode,))).close(keep=False)

    def read(done: threading.Event) -> None:
        while not done.is_set():
            source.read(time.monotonic())
            time.sleep(0.01)

    return {"nothing": lambda done: done.wait(), "attach": attach, "read": read}


def runs(source: EbpfSource) -> int:
    assert source._session is not None
    loaded = source._session.programs.loaded.values()
    return sum(struct.unpack_from("=Q", bpf.object_info(fd), _RUNS_AT)[0] for fd in loaded)


def sent(reading: Reading) -> int:
    return sum(counters.tx_bytes for counters in reading.owners.values())


def datagrams(net: Network, namespace: str, port: int, stop: Event, _paced: bool) -> None:
    with (
        socket_in(net.server, SERVER4, socket.SOCK_DGRAM) as sink,
        socket_in(namespace, SERVER4, socket.SOCK_DGRAM) as caller,
    ):
        sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sink.bind((SERVER4, port))
        while not stop.is_set():
            for _ in range(50):
                with contextlib.suppress(OSError):
                    caller.sendto(b"x" * 600, (SERVER4, port))


def stream(net: Network, namespace: str, port: int, stop: Event, paced: bool) -> None:
    listener = socket_in(net.server, SERVER4, socket.SOCK_STREAM)
    listener.bind((SERVER4, port))
    listener.listen()
    caller = socket_in(namespace, SERVER4, socket.SOCK_STREAM)
    if paced:
        caller.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, _PACE)
        caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SMALL)
    caller.connect((SERVER4, port))
    called = listener.accept()[0]
    if not os.fork():
        caller.close()
        called.settimeout(None)
        with contextlib.suppress(OSError):
            while called.recv(2**18):
                pass
        os._exit(0)
    called.close()
    listener.close()
    while not stop.is_set():
        with contextlib.suppress(OSError):
            caller.sendall(b"x" * 65536)
    caller.close()


if __name__ == "__main__":
    main()
