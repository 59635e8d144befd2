# SPDX-License-Identifier: Apache-2.0
"""What readers of the live page cost placement, measured in one run.

``python -m lab.bench.extender.page [--rounds N] [--readers 10]``. One extender over 5,000 nodes, with binds and
rewritten footprints arriving meanwhile. A client asks about pods as kube-scheduler does, one request at a time
over one kept-alive connection. Rounds take turns: with nobody looking, and with ten readers that follow the
page's stream and load tables every ten seconds, as the page does. The readers are processes of their own, and
read all they get.

A turn's figure is the median of its filter and prioritize answers. The result is the median over pairs of
neighbouring turns of *with* divided by *without*: what slows the machine for seconds slows both.
"""

from __future__ import annotations

import argparse
import http.client
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import orjson

from lab.bench.extender.answers import VERBS, Connection
from lab.bench.extender.cluster import WORKLOADS, node_name, pod_object
from lab.bench.figures import percentile

CANDIDATES: Final = 500
TURN: Final = 150
"""Pods of one turn."""
FRAME_SECONDS: Final = 3.0
"""Until the readers have loaded the whole and follow."""
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
def extender(nodes: int, pods: int) -> Iterator[tuple[int, int]]:
    """The two ports."""
    command = [sys.executable, "-m", "lab.bench.extender.page_cluster", "--nodes", str(nodes), "--pods", str(pods)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        port, page = process.stdout.readline().split()
        yield int(port), int(page)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def readers(page: int, count: int) -> Iterator[None]:
    """``count`` of them."""
    code = "import sys; from lab.bench.extender.page import read; read(int(sys.argv[1]), float(sys.argv[2]))"
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(page), f"{FRAME_SECONDS * at / count:.2f}"])
        for at in range(count)
    ]
    try:
        _until_followed(page, count)
        yield
    finally:
        for one in started:
            one.kill()
            one.wait()
        _until_followed(page, 0)


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


def turn(connection: Connection, sent: Sequence[bytes]) -> list[float]:
    """Milliseconds of each answer."""
    return [1000 * connection.send(request)[0] for request in sent]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=10, help="measured pods per node")
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=8, help="pairs of turns")
    options = parser.parse_args(argv)
    without: list[list[float]] = []
    beside: list[list[float]] = []
    with extender(options.nodes, options.pods) as (port, page):
        connection = Connection(port)
        turn(connection, list(requests(WORKLOADS, options.nodes, 0)))
        for number in range(options.rounds):
            sent = list(requests(TURN, options.nodes, number + 1))
            without.append(turn(connection, sent))
            with readers(page, options.readers):
                beside.append(turn(connection, sent))
        connection.close()
    ratios = [
        statistics.median(late) / statistics.median(early) for early, late in zip(without, beside, strict=True)
    ]
    for title, turns in (("nobody looks", without), (f"{options.readers} readers", beside)):
        every = [taken for one in turns for taken in one]
        print(f"{title}: p50 {statistics.median(every):.3f} ms, p99 {percentile(every, 0.99):.2f} ms")
    print(f"ratio of medians, turn by turn: {statistics.median(ratios):.3f} (of {len(ratios)} pairs: "
          f"{min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
