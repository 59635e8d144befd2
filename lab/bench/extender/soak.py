# SPDX-License-Identifier: Apache-2.0
"""kube-scheduler's requests beside hostile clients, at the memory limit of the chart.

``python -m lab.bench.extender.soak --minutes 15``. The extender serves a saved cluster over TLS with client
certificates. Its data segment is limited to 512 MiB. Beside it run the hostile clients of
``lab.bench.extender.hostile``. The normal clients:

- kube-scheduler sends filter and prioritize for ten pods a second, over a kept-alive connection that it replaces
  every 20 s;
- a kubelet probes the metrics port, and Prometheus scrapes it.

A request fails when its response is not complete within ``--timeout``, or contradicts the cluster's state. Prints
a table. The exit status is 1 when a normal request failed, when memory grew by more than a tenth from the second
to the last quarter (in runs of five minutes or more), or when memory afterwards is more than a tenth above what
it was before.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from lab.bench.extender.cluster import lease_object, node_name, node_object, pod_object
from lab.bench.figures import percentile
from lab.bench.process_cost import resident_bytes
from lab.controlplane import pki as keys
from lab.controlplane.pki import Pki

LIMIT: Final = 512 * 2**20
"""Bytes: the memory limit of the extender's container in the chart."""
NODES: Final = 200
PODS: Final = 30
CANDIDATES: Final = 100
_RECONNECT_SECONDS: Final = 20.0
_REST_SECONDS: Final = 30.0
_SETTLE_SECONDS: Final = 180.0
"""A full collection comes at most after 300 times the processor time of the last one, so a minute or two where the
machine is busy."""
_GROWTH: Final = 1.1
_COMPARED_SAMPLES: Final = 600
"""Two samples a second: in less than five minutes, a quarter holds few hostile rounds and shows no trend."""


@dataclass(slots=True)
class Client:
    """One kind of normal request."""

    name: str
    timeout: float
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def send(self, request: Callable[[], None]) -> bool:
        """Send a request, and note its time or its problem. True when it succeeded."""
        began = time.perf_counter()
        try:
            request()
        except (OSError, http.client.HTTPException, AssertionError, ValueError) as error:
            self.problems.append(f"after {time.perf_counter() - began:.2f} s: {error!r}")
            return False
        self.seconds.append(time.perf_counter() - began)
        return True


@dataclass(frozen=True, slots=True)
class Extender:
    """The process under test."""

    port: int
    metrics_port: int
    pid: int
    pki: Pki

    def resident(self) -> int:
        """Resident memory in bytes."""
        return resident_bytes(self.pid)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


@contextmanager
def running(folder: Path) -> Iterator[Extender]:
    """The extender, serving a saved cluster and ready. Raises OSError when it ends early."""
    state, log = folder / "state.json", folder / "extender.log"
    items: list[Any] = [node_object(number, PODS) for number in range(NODES)]
    items += [lease_object(number) for number in range(NODES)]
    state.write_bytes(orjson.dumps({"kind": "List", "items": items}))
    pki = keys.create(folder / "pki", ["IP:127.0.0.1"])
    port, metrics_port = _free_port(), _free_port()
    flags = [
        "--state", str(state), "--host", "127.0.0.1", "--port", str(port), "--metrics-port", str(metrics_port),
        "--tls-cert", str(pki.certificate("apiserver")), "--tls-key", str(pki.key("apiserver")),
        "--client-ca", str(pki.ca), "--drain", "0", "--deadline", "10",
    ]  # fmt: skip
    command = [sys.executable, "-c", "from extender.cli import main; main()", "run", *flags]
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stderr=errors, preexec_fn=_limit_memory)  # noqa: PLW1509 - no threads yet
        try:
            _until_ready(metrics_port, process, log)
            yield Extender(port, metrics_port, process.pid, pki)
            if process.poll() is not None:
                raise OSError(f"the extender ended with status {process.returncode}: {log.read_text()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def _until_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        with suppress(OSError, http.client.HTTPException, ValueError):
            _page(port, "/readyz", 5.0)
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise OSError(f"the extender did not get ready: {log.read_text()[-2000:]}")


@contextmanager
def hostile(extender: Extender) -> Iterator[None]:
    """The hostile clients, in a process of their own."""
    arguments = [str(extender.port), str(extender.metrics_port), str(extender.pki.dir)]
    command = [sys.executable, "-m", "lab.bench.extender.hostile", *arguments]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


class Scheduler:
    """Sends requests as kube-scheduler does. ``client`` notes each pair of filter and prioritize."""

    def __init__(self, extender: Extender, client: Client) -> None:
        self._extender, self._client, self._number = extender, client, 0
        self._context = ssl.create_default_context(cafile=str(extender.pki.ca))
        self._context.load_cert_chain(extender.pki.certificate(keys.SCHEDULER), extender.pki.key(keys.SCHEDULER))

    def run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self._extender.port, context=self._context, timeout=self._client.timeout
            )
            until = time.monotonic() + _RECONNECT_SECONDS
            while time.monotonic() < until and not stop.wait(0.1):
                if not self._client.send(lambda used=connection: self._place(used)):  # type: ignore[misc]
                    break
            connection.close()

    def _place(self, connection: http.client.HTTPConnection) -> None:
        self._number += 1
        names = random.sample([node_name(number) for number in range(NODES)], CANDIDATES)
        pod = pod_object(self._number, uid=f"pod-{self._number}")
        passed = self._post(connection, "/filter", pod, names)
        if passed["Error"] or not set(passed["NodeNames"]) <= set(names) or not passed["NodeNames"]:
            raise ValueError(f"unexpected response to filter: {str(passed)[:200]}")
        scores = self._post(connection, "/prioritize", pod, passed["NodeNames"])
        if [entry["Host"] for entry in scores] != passed["NodeNames"]:
            raise ValueError(f"unexpected response to prioritize: {str(scores)[:200]}")

    def _post(self, connection: http.client.HTTPConnection, path: str, pod: Any, names: list[str]) -> Any:
        body = orjson.dumps({"Pod": pod, "Nodes": None, "NodeNames": names})
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise ValueError(f"{path} has status {response.status}")
        return orjson.loads(response.read())


def _page(port: int, path: str, timeout: float) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise ValueError(f"{path} has status {response.status}")
    finally:
        connection.close()


def _repeat(client: Client, request: Callable[[], None], every: float, stop: threading.Event) -> None:
    while not stop.wait(every):
        client.send(request)


@dataclass(slots=True)
class Outcome:
    """Result of a soak. Memory in bytes."""

    clients: list[Client]
    before: int
    during: list[int]
    after: int
    refused: dict[str, int]

    @property
    def quarters(self) -> tuple[float, float]:
        """Median memory in the second and in the last quarter."""
        size = max(1, len(self.during) // 4)
        return statistics.median(self.during[size : 2 * size] or self.during), statistics.median(
            self.during[-size:]
        )

    def failures(self) -> list[str]:
        found = [f"{client.name}: {problem}" for client in self.clients for problem in client.problems]
        found += [f"{client.name}: no request" for client in self.clients if not client.seconds]
        second, last = self.quarters
        if len(self.during) >= _COMPARED_SAMPLES and last > _GROWTH * second:
            found.append(f"memory grew from {_mib(second)} to {_mib(last)}")
        if self.after > _GROWTH * self.before:
            found.append(f"memory is {_mib(self.after)} at rest, after {_mib(self.before)} before")
        if max(self.during) > LIMIT:
            found.append(f"{_mib(max(self.during))} resident, beyond the limit of {_mib(LIMIT)}")
        return found


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


def _warm_up(extender: Extender) -> None:
    """Run every kind of client for a moment, so that one-time allocations are made before memory is compared."""
    with hostile(extender):
        time.sleep(_REST_SECONDS)
    time.sleep(_REST_SECONDS)


def _at_rest(extender: Extender, enough: float) -> int:
    """Resident bytes once memory is ``enough``, or after ``_SETTLE_SECONDS``: full collections come seldom."""
    ends = time.monotonic() + _SETTLE_SECONDS
    while (resident := extender.resident()) > enough and time.monotonic() < ends:
        time.sleep(1)
    return resident


def soak(folder: Path, minutes: float, timeout: float) -> Outcome:
    """Run for ``minutes``. A normal request may take ``timeout`` seconds."""
    with running(folder) as extender:
        clients = [Client("kube-scheduler", timeout), Client("kubelet", timeout), Client("prometheus", timeout)]
        stop, over = threading.Event(), threading.Event()
        pages = [(clients[1], "/readyz", 1.0), (clients[2], "/metrics", 5.0)]
        threads = [threading.Thread(target=Scheduler(extender, clients[0]).run, args=(stop,))]
        for client, path, every in pages:

            def request(path: str = path) -> None:
                _page(extender.metrics_port, path, timeout)

            threads.append(threading.Thread(target=_repeat, args=(client, request, every, stop)))
        for thread in threads:
            thread.start()
        try:
            _warm_up(extender)
            before, during = extender.resident(), list[int]()
            with hostile(extender):
                ends = time.monotonic() + 60 * minutes
                while time.monotonic() < ends:
                    over.wait(0.5)
                    during.append(extender.resident())
            after = _at_rest(extender, _GROWTH * before)
            refused = _refused(extender.metrics_port)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    return Outcome(clients, before, during, after, refused)


def _refused(port: int) -> dict[str, int]:
    """The extender's own count of refused connections and requests, by reason."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    start = 'traffic_footprint_extender_connections_refused_total{reason="'
    lines = (line.removeprefix(start) for line in page.splitlines() if line.startswith(start))
    return {name: round(float(count)) for name, count in (line.split('"} ') for line in lines)}


def tables(outcome: Outcome) -> list[Table]:
    requests = Table("client", "requests", "failed", "p50 ms", "p99 ms", "worst ms", title="Normal requests")
    for client in outcome.clients:
        taken = sorted(client.seconds) or [0.0]
        figures = (statistics.median(taken), percentile(taken, 0.99), taken[-1])
        requests.add_row(
            client.name, str(len(client.seconds)), str(len(client.problems)), *(f"{1000 * s:.1f}" for s in figures)
        )
    memory = Table("before", "second quarter", "last quarter", "most", "at rest after", title="Resident memory")
    memory.add_row(*map(_mib, (outcome.before, *outcome.quarters, max(outcome.during), outcome.after)))
    refused = Table("reason", "times", title="Refused")
    for reason, count in sorted(outcome.refused.items()):
        refused.add_row(reason, str(count))
    return [requests, memory, refused]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds that a normal request may take")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        outcome = soak(Path(folder), options.minutes, options.timeout)
    for table in tables(outcome):
        Console(width=110).print(table)
    failures = outcome.failures()
    for failure in failures[:50]:
        print("FAILED", failure)
    print(f"load {os.getloadavg()[0]:.1f}; {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
