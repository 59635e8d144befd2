# SPDX-License-Identifier: Apache-2.0
"""What readers of the live page cost placement, measured in one run.

``python -m lab.bench.extender.page [--pairs N] [--readers 10]``. Two extenders over the same 5,000 nodes, with
binds and rewritten footprints arriving meanwhile. Nobody looks at the page of one. Ten readers follow that of the
other: its stream, and tables every ten seconds, as the page does. They are threads of a process of their own, and
read all they get.

A client asks both about the same pod, one request at a time over a kept-alive connection each, as kube-scheduler
does, in turns of which is first. So what slows the machine slows both alike. Printed are percentiles of filter and
prioritize answers together, their ratios, and the processes' CPU time. On a busy machine the tenth percentile says
most: those answers met nobody else.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson

from lab.bench.extender.answers import VERBS, Connection
from lab.bench.extender.cluster import WORKLOADS, node_name, pod_object
from lab.bench.figures import percentile

CANDIDATES: Final = 500
FRAME_SECONDS: Final = 3.0
"""Until the readers have loaded the whole and follow."""
_AT: Final = (0.1, 0.5, 0.9, 0.99)
_TABLES: Final = ("workloads", "gains")
_TABLE_SECONDS: Final = 10.0


def requests(count: int, nodes: int, seed: int) -> Iterator[bytes]:
    """filter, then prioritize of the same pod."""
    draw = random.Random(seed)
    for number in range(count):
        names = draw.sample([node_name(index) for index in range(nodes)], CANDIDATES)
        body = orjson.dumps(
            {"Pod": pod_object(seed * count + number, uid=f"p-{seed}-{number}"), "NodeNames": names}
        )
        for verb in VERBS:
            head = (
                f"POST /{verb} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            yield head.encode() + body


def read(port: int, nice: float) -> None:
    """One reader, until it is ended. ``nice``: seconds before the first request, so that readers do not come at
    once."""
    time.sleep(nice)
    plain = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(path: str) -> http.client.HTTPResponse:
        plain.request("GET", f"/page/api/{path}")
        answer = plain.getresponse()
        answer.read()
        return answer

    cursor, tables = f"{get('nodes').headers['x-cursor']}-0", time.monotonic()
    while True:
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        stream.request("GET", f"/page/api/stream?cursor={cursor}")
        for line in stream.getresponse():
            if line.startswith(b"id: "):
                cursor = line[4:].strip().decode()
            if time.monotonic() >= tables + _TABLE_SECONDS:
                tables = time.monotonic()
                for name in _TABLES:
                    get(name)
        stream.close()


@contextmanager
def extender(nodes: int, pods: int) -> Iterator[tuple[int, int, int]]:
    """The two ports, and the process."""
    command = [sys.executable, "-m", "lab.bench.extender.page_cluster", "--nodes", str(nodes), "--pods", str(pods)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        port, page = process.stdout.readline().split()
        yield int(port), int(page), process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def readers(page: int, count: int) -> Iterator[None]:
    """``count`` of them."""
    code = "import sys; from lab.bench.extender.page import read_all; read_all(*map(int, sys.argv[1:]))"
    started = subprocess.Popen([sys.executable, "-c", code, str(page), str(count)])
    try:
        _until_followed(page, count)
        yield
    finally:
        started.kill()
        started.wait()
        _until_followed(page, 0)


def read_all(page: int, count: int) -> None:
    """``count`` readers, until they are ended."""
    for at in range(count):
        threading.Thread(target=read, args=(page, FRAME_SECONDS * at / count)).start()


def _until_followed(page: int, count: int) -> None:
    wanted = f"traffic_footprint_extender_page_readers {float(count)}".encode()
    for _ in range(600):
        plain = http.client.HTTPConnection("127.0.0.1", page, timeout=60)
        plain.request("GET", "/metrics")
        found = wanted in plain.getresponse().read()
        plain.close()
        if found:
            return
        time.sleep(0.1)
    raise OSError(f"the page does not have {count} readers after a minute, so nothing can be compared")


def _cpu(pid: int) -> float:
    """CPU seconds of all its threads so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=10, help="measured pods per node")
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=3000, help="pods that both are asked about")
    options = parser.parse_args(argv)
    taken: tuple[list[float], list[float]] = ([], [])
    with (
        extender(options.nodes, options.pods) as (alone, _, first),
        extender(options.nodes, options.pods) as (followed, page, second),
    ):
        connections = (Connection(alone), Connection(followed))
        for request in requests(WORKLOADS, options.nodes, 0):
            for connection in connections:
                connection.send(request)
        with readers(page, options.readers):
            started, began = (_cpu(first), _cpu(second)), time.monotonic()
            for number, request in enumerate(requests(options.pairs, options.nodes, 1)):
                for which in (0, 1) if number // len(VERBS) % 2 else (1, 0):
                    taken[which].append(1000 * connections[which].send(request)[0])
            seconds = time.monotonic() - began
            used = [_cpu(pid) - before for pid, before in zip((first, second), started, strict=True)]
        for connection in connections:
            connection.close()
    figures = [[percentile(one, at) for at in _AT] for one in taken]
    for title, shown, cpu in zip(("nobody looks", f"{options.readers} readers"), figures, used, strict=True):
        told = ", ".join(f"p{100 * at:.0f} {value:.3f} ms" for at, value in zip(_AT, shown, strict=True))
        print(f"{title}: {told}; {1000 * cpu / seconds:.0f} ms of CPU a second; {len(taken[0])} answers")
    ratios = [late / early for early, late in zip(*figures, strict=True)]
    print("ratio: " + ", ".join(f"p{100 * at:.0f} {ratio:.3f}" for at, ratio in zip(_AT, ratios, strict=True)))
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
