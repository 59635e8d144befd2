# SPDX-License-Identifier: Apache-2.0
"""Memory of the extender in a large cluster, and the time until it is ready.

``python -m lab.bench.extender.scale [--output json]``. The extender is the installed program. Its API server is a
stand-in on loopback: it serves lists in pages, as the real one does, and watches without events. It has 5,000
annotated Nodes with 30 measured pods each, their Leases, and 150,000 Pods of 3 kB. Memory is what the kernel
counts as resident.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import orjson

from footprint.cluster import paths
from footprint.keys import DEFAULT_NAMESPACE
from lab.bench.extender.cluster import WORKLOADS, lease_object, node_name, node_object, pod_object, pod_uid
from lab.programs import console_script

_KUBECONFIG: Final = """
apiVersion: v1
kind: Config
current-context: bench
contexts: [{{name: bench, context: {{cluster: bench, user: bench}}}}]
clusters: [{{name: bench, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: bench, user: {{}}}}]
"""
_GIVE_UP_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class ScaleResult:
    """Of one start. Memory in MiB."""

    nodes: int
    pods: int
    ready_seconds: float
    """Seconds from the start of the process until /readyz is 200."""
    cpu_seconds: float
    resident_mib: float
    """Resident memory five seconds later."""
    peak_mib: float


def api(nodes: int, per_node: int) -> ThreadingHTTPServer:
    """A stand-in for an API server, not started yet. Its responses are made beforehand, or from templates."""
    node_texts = [orjson.dumps(node_object(number, per_node)) for number in range(nodes)]
    lease_texts = [orjson.dumps(lease_object(number)) for number in range(nodes)]
    templates = [
        orjson.dumps(pod_object(number, uid="@uid@", node="@node@", phase="Running"))
        for number in range(WORKLOADS)
    ]

    def pod(number: int) -> bytes:
        node, slot = divmod(number, per_node)
        text = templates[(node * 31 + slot) % WORKLOADS]
        return text.replace(b"@uid@", pod_uid(node, slot).encode()).replace(b"@node@", node_name(node).encode())

    collections: dict[str, tuple[int, Callable[[int], bytes]]] = {
        "/api/v1/nodes": (nodes, node_texts.__getitem__),
        paths.leases(DEFAULT_NAMESPACE): (nodes, lease_texts.__getitem__),
        "/api/v1/pods": (nodes * per_node, pod),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if url.path not in collections:
                self.send_error(404)
            elif "watch" in query:
                self._watch()
            else:
                self._page(*collections[url.path], query)

        def _page(self, count: int, make: Callable[[int], bytes], query: dict[str, str]) -> None:
            start = int(query.get("continue", "0"))
            end = min(start + int(query.get("limit", count)), count)
            metadata = {"resourceVersion": "1", **({"continue": str(end)} if end < count else {})}
            items = b",".join(make(number) for number in range(start, end))
            body = b'{"metadata":%b,"items":[%b]}' % (orjson.dumps(metadata), items)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _watch(self) -> None:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            time.sleep(_GIVE_UP_SECONDS)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: thousands of lines would be written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server


def _memory(pid: int) -> dict[str, float]:
    """MiB by name: VmRSS, VmHWM."""
    status = Path(f"/proc/{pid}/status").read_text()
    return {
        name: int(size) / 1024 for name, size in re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB", status, re.MULTILINE)
    }


def _cpu(pid: int) -> float:
    return sum(int(t.read_text().split()[0]) for t in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def measure(nodes: int, per_node: int, port: int) -> ScaleResult:
    """One start of the extender. Raises OSError when it does not become ready."""
    with tempfile.TemporaryDirectory() as scratch:
        me = [sys.executable, "-m", "lab.bench.extender.scale", "--nodes", str(nodes), "--pods", str(per_node)]
        server = subprocess.Popen([*me, "--serve"], stdout=subprocess.PIPE, text=True)
        kubeconfig = Path(scratch) / "config"
        extender: subprocess.Popen[bytes] | None = None
        try:
            kubeconfig.write_text(
                _KUBECONFIG.format(port=server.stdout.readline().strip() if server.stdout else "")
            )
            argv = [console_script("traffic-footprint-extender"), "run", "--kubeconfig", str(kubeconfig)]
            started = time.monotonic()
            extender = subprocess.Popen([*argv, "--host", "127.0.0.1", "--port", str(port), "--drain", "0"])
            while not _ready(port):
                if extender.poll() is not None or time.monotonic() > started + _GIVE_UP_SECONDS:
                    raise OSError(f"the extender ended or was not ready within {_GIVE_UP_SECONDS:g} s")
                time.sleep(0.1)
            ready, cpu = time.monotonic() - started, _cpu(extender.pid)
            time.sleep(5)
            memory = _memory(extender.pid)
        finally:
            for process in (extender, server):
                if process is not None:
                    process.send_signal(signal.SIGTERM)
                    try:
                        process.wait(15)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
            if server.stdout:
                server.stdout.close()
    return ScaleResult(nodes, nodes * per_node, round(ready, 1), round(cpu, 1), memory["VmRSS"], memory["VmHWM"])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30, help="per node")
    parser.add_argument("--port", type=int, default=18890, help="for the extender")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        server = api(options.nodes, options.pods)
        print(server.server_address[1], flush=True)
        server.serve_forever()
    result = measure(options.nodes, options.pods, options.port)
    if options.output == "json":
        print(orjson.dumps({"load": os.getloadavg(), **asdict(result)}, option=orjson.OPT_INDENT_2).decode())
    else:
        print(
            f"{result.nodes} nodes, {result.pods} pods: ready after {result.ready_seconds} s "
            f"({result.cpu_seconds} s of CPU), {result.resident_mib:.0f} MiB resident, "
            f"peak {result.peak_mib:.0f} MiB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
