# SPDX-License-Identifier: Apache-2.0
"""Response times of the extender and of two servers that decide nothing, measured in the same run.

``python -m lab.bench.extender.answers [--output json]`` sends filter and prioritize requests over loopback. As
kube-scheduler does, it sends one request at a time over one kept-alive connection. Requests name 50, 500 or 5,000
candidates. The cluster has 5,000 annotated nodes with 30 pods each.

The subjects, each a process of its own:

- the extender, while its cluster does not change
- the extender, while binds arrive and 5,000 nodes rewrite their footprints once a minute
- a Go program with net/http and encoding/json, which only parses and responds
- a FastAPI handler with pydantic models, which only parses and responds

The last two reject as many nodes as the extender does on average, so that all responses have the same size
(*bytes*: of both responses about a pod).

How it is made fair:

- Subjects take turns of 20 pods while the others are stopped, so that other load on the machine meets all alike.
- One pod before each turn is not counted: it refills the processor's caches.
- Each request has its names in another order, and its pod belongs to another workload.
- Each subject responds once for each workload before anything is measured.

CPU time is that of all threads of a subject, from the kernel's scheduler statistics. Other load on the machine
changes it less than it changes response times.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table

from lab.bench.extender.cluster import WORKLOADS, node_name, pod_object
from lab.bench.figures import percentile

SIZES: Final = (50, 500, 5000)
VERBS: Final = ("filter", "prioritize")
FLOOR: Final = "go"
_GO: Final = Path(__file__).parent / "go-extender"
_WARM_UP: Final = WORKLOADS
_SETTLE_SECONDS: Final = 1.0
_AWAKE_SECONDS: Final = 0.05
"""Time for what was due while the program was stopped."""
_REJECT_EVERY: Final = ("--reject-every", "12")
"""The extender rejects 8.4 % of the candidates here: about one of twelve."""
_TURN: Final = 20
"""Pods in one turn of a program."""
_FIRST: Final = 1
"""Uncounted pods before each turn."""


@dataclass(frozen=True, slots=True)
class Result:
    """One program at one size. Times in milliseconds."""

    subject: str
    names: int
    requests: int
    filter_p50: float
    filter_p99: float
    prioritize_p50: float
    prioritize_p99: float
    p50: float
    """Over the requests of both verbs."""
    p99: float
    per_second: float
    cpu: float
    """Per request, over both verbs."""
    answer_bytes: float
    """Mean size of both responses about one pod."""
    ratio: float
    """Median over the turns of this program's p50 divided by the Go program's. What slows the machine for seconds
    slows both."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A program under test, running."""

    port: int
    pid: int

    def cpu(self) -> float:
        """CPU seconds of all its threads so far."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9

    def rest(self) -> None:
        """Stop the process, so that its own work does not slow the program whose turn it is."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the process run again."""
        os.kill(self.pid, signal.SIGCONT)
        time.sleep(_AWAKE_SECONDS)


class Connection:
    """One kept-alive connection of a minimal client."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = memoryview(bytearray(4 << 20))

    def send(self, request: bytes) -> tuple[float, bytes]:
        """Seconds from the first byte sent to the last one received, and the body."""
        started = time.perf_counter()
        self._socket.sendall(request)
        size, wanted, start = 0, -1, 0
        while wanted < 0 or size < wanted:
            got = self._socket.recv_into(self._buffer[size:])
            if not got:
                raise OSError("the subject closed the connection")
            size += got
            if wanted < 0:
                wanted, start = _length(bytes(self._buffer[: min(size, 4096)]))
                if wanted == 0 and bytes(self._buffer[size - 5 : size]) == b"0\r\n\r\n":
                    wanted = size  # Go sends longer bodies in chunks
                elif wanted == 0:
                    wanted = -1
        taken = time.perf_counter() - started
        return taken, bytes(self._buffer[start:size])

    def close(self) -> None:
        self._socket.close()


def _length(head: bytes) -> tuple[int, int]:
    """Bytes of the whole response, and where its body starts. 0: chunked, until the last chunk; -1: unknown."""
    end = head.find(b"\r\n\r\n")
    if end < 0:
        return -1, 0
    for line in head[:end].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return end + 4 + int(line.split(b":")[1]), end + 4
    return 0, end + 4


def bodies(size: int, nodes: int, count: int) -> Iterator[tuple[str, bytes]]:
    """(verb, request) pairs: filter, then prioritize of the same pod."""
    draw = random.Random(size)
    for number in range(count):
        names = draw.sample([node_name(index) for index in range(nodes)], size)
        pod = pod_object(number, uid=f"pending-{number}")
        body = orjson.dumps({"Pod": pod, "Nodes": None, "NodeNames": names})
        for verb in VERBS:
            head = (
                f"POST /{verb} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            yield verb, head.encode() + body


@contextmanager
def subject(argv: list[str]) -> Iterator[Subject]:
    """A process that first prints its port, and serves until the block ends. Raises OSError when it does not."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.strip().isdigit():
            raise OSError(
                f"{argv[0]} did not print its port, so it cannot be measured; run the command by itself to see why"
            )
        started = Subject(int(line), process.pid)
        _until_open(started.port)
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def _until_open(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise OSError(f"nothing listens on port {port} after 10 s, so nothing can be measured")


def build_go() -> Path:
    """Build the Go program into the user's cache; its path."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "traffic-footprint"
    cache.mkdir(parents=True, exist_ok=True)
    program = cache / "go-extender"
    subprocess.run(
        ["go", "build", "-trimpath", "-o", program, "."],
        cwd=_GO,
        check=True,
        env={**os.environ, "CGO_ENABLED": "0"},
    )
    return program


def measure(subjects: dict[str, Subject], nodes: int, rounds: int) -> list[Result]:
    """Results of all programs at all sizes."""
    results = []
    turns, length = math.ceil(rounds / _TURN), len(VERBS) * (_FIRST + _TURN)
    for size in SIZES:
        requests = list(bodies(size, nodes, _WARM_UP + turns * (_FIRST + _TURN)))
        warm, counted = requests[: 2 * _WARM_UP], requests[2 * _WARM_UP :]
        taken: dict[tuple[str, str], list[float]] = {(s, v): [] for s in subjects for v in VERBS}
        cpu, received = dict.fromkeys(subjects, 0.0), dict.fromkeys(subjects, 0)
        connections = {name: Connection(subject.port) for name, subject in subjects.items()}
        for name, connection in connections.items():
            _check(name, size, [connection.send(request)[1] for _, request in warm])
        time.sleep(_SETTLE_SECONDS)
        for one in subjects.values():
            one.rest()
        for start in range(0, len(counted), length):
            turn = counted[start : start + length]
            for name, connection in connections.items():
                subjects[name].go_on()
                for _, request in turn[: 2 * _FIRST]:
                    connection.send(request)
                before = subjects[name].cpu()
                for verb, request in turn[2 * _FIRST :]:
                    seconds, response = connection.send(request)
                    taken[name, verb].append(seconds)
                    received[name] += len(response)
                cpu[name] += subjects[name].cpu() - before
                subjects[name].rest()
        for connection in connections.values():
            connection.close()
        for one in subjects.values():
            one.go_on()
        each = 2 * turns * _TURN
        results += [
            _result(name, size, taken, cpu[name] / each, len(VERBS) * received[name] / each) for name in subjects
        ]
    return results


def _check(name: str, size: int, responses: list[bytes]) -> None:
    """Raise OSError when a response is too short to cover every node."""
    short = [response for response in responses if len(response) < 20 * size]
    if short:
        raise OSError(f"{name} does not cover all {size} nodes, so it cannot be compared: {short[0][:200]!r}")


def _result(
    name: str, size: int, taken: dict[tuple[str, str], list[float]], cpu: float, answer_bytes: float
) -> Result:
    milliseconds = {verb: [1000 * seconds for seconds in taken[name, verb]] for verb in VERBS}
    filtered, scored = (milliseconds[verb] for verb in VERBS)
    both = filtered + scored
    ratio = statistics.median(
        own / floor for own, floor in zip(_turns(taken, name), _turns(taken, FLOOR), strict=True)
    )
    return Result(
        name, size, len(both),
        statistics.median(filtered), percentile(filtered, 0.99),
        statistics.median(scored), percentile(scored, 0.99),
        statistics.median(both), percentile(both, 0.99), 1000 / statistics.fmean(both), 1000 * cpu, answer_bytes,
        ratio,
    )  # fmt: skip


def _turns(taken: dict[tuple[str, str], list[float]], name: str) -> list[float]:
    """A program's p50 in each of its turns."""
    filtered, scored = (taken[name, verb] for verb in VERBS)
    starts = range(0, len(filtered), _TURN)
    return [statistics.median([*filtered[at : at + _TURN], *scored[at : at + _TURN]]) for at in starts]


def table(results: list[Result]) -> Table:
    """Times, and each program's p50 over the Go program's."""
    shown = Table(title="milliseconds per request; ratio: p50 over the Go program's")
    for column in (
        "names",
        "subject",
        "filter p50",
        "p99",
        "prioritize p50",
        "p99",
        "both p50",
        "p99",
        "req/s",
        "CPU",
        "bytes",
        "ratio",
    ):
        shown.add_column(column, justify="left" if column == "subject" else "right")
    for r in results:
        figures = (r.filter_p50, r.filter_p99, r.prioritize_p50, r.prioritize_p99, r.p50, r.p99)
        times = (f"{figure:.2f}" for figure in figures)
        shown.add_row(
            str(r.names),
            r.subject,
            *times,
            f"{r.per_second:.0f}",
            f"{r.cpu:.2f}",
            f"{r.answer_bytes:.0f}",
            f"{r.ratio:.2f}",
        )
    return shown


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30, help="measured pods per node")
    parser.add_argument("--churn", type=float, default=20.0, help="binds per second meanwhile (second row)")
    parser.add_argument("--rewrites", type=float, default=80.0, help="footprints written per second, likewise")
    parser.add_argument(
        "--rounds", type=int, default=400, help=f"requests per verb, size and program, in turns of {_TURN}"
    )
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    made = [sys.executable, "-m", "lab.bench.extender.subjects"]
    cluster = ["ours", "--nodes", str(options.nodes), "--pods", str(options.pods)]
    subjects = {
        "extender": [*made, *cluster],
        f"extender, {options.churn:g} binds/s, {options.rewrites:g} writes/s": [
            *made, *cluster, "--churn", str(options.churn), "--rewrites", str(options.rewrites),
        ],
        FLOOR: [str(build_go()), *_REJECT_EVERY],
        "fastapi+pydantic": [*made, "plain", *_REJECT_EVERY],
    }  # fmt: skip
    with ExitStack() as stack:
        running = {name: stack.enter_context(subject(command)) for name, command in subjects.items()}
        results = measure(running, options.nodes, options.rounds)
    if options.output == "json":
        load = [round(value, 2) for value in os.getloadavg()]
        print(
            orjson.dumps(
                {"load": load, "results": [asdict(r) for r in results]}, option=orjson.OPT_INDENT_2
            ).decode()
        )
    else:
        Console(width=140).print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
