# SPDX-License-Identifier: Apache-2.0
"""Hostile clients of an extender, each kind in its own thread, for ``lab.bench.extender.soak``.

``python -m lab.bench.extender.hostile PORT METRICS_PORT PKI`` runs until SIGTERM. Enters: two ports of an extender
on loopback, and a PKI. Leaves: connections from several loopback addresses that send too much, too slowly, too
often, or malformed data, and that read too little. A third of the kinds holds a valid client certificate, as a
compromised kube-scheduler would. An error ends its connection only.
"""

from __future__ import annotations

import os
import random
import resource
import socket
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from lab.bench.extender.cluster import pod_object
from lab.controlplane.pki import SCHEDULER, Pki

CROWD: Final = 600
HOLD_SECONDS: Final = 8.0
"""How long a crowd keeps its connections before it opens new ones."""
_PAUSE_SECONDS: Final = 0.1
_TIMEOUT_SECONDS: Final = 10.0
_METRICS: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
_LONG_NAMES: Final = [f"node-{number:0230d}" for number in range(10_000)]


@dataclass(frozen=True, slots=True)
class Target:
    """How clients reach the extender."""

    port: int
    metrics_port: int
    pki: Pki

    @contextmanager
    def plain(self, port: int, window: int = 0) -> Iterator[socket.socket]:
        """A connection from one of eight addresses. ``window``: size of its receive buffer in bytes."""
        client = socket.socket()
        try:
            if window:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            client.settimeout(_TIMEOUT_SECONDS)
            client.bind((f"127.0.0.{random.randint(2, 9)}", 0))
            client.connect(("127.0.0.1", port))
            yield client
        finally:
            client.close()

    @contextmanager
    def trusted(self, window: int = 0) -> Iterator[socket.socket]:
        """A connection over TLS, with a valid client certificate."""
        context = ssl.create_default_context(cafile=str(self.pki.ca))
        context.load_cert_chain(self.pki.certificate(SCHEDULER), self.pki.key(SCHEDULER))
        with self.plain(self.port, window) as raw:
            yield context.wrap_socket(raw, server_hostname="127.0.0.1")


def _post(path: str, body: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def _body(names: list[str]) -> bytes:
    return orjson.dumps({"Pod": pod_object(random.randrange(200), uid="hostile"), "NodeNames": names})


def _send_all(client: socket.socket, start: bytes, block: bytes, most: int = 32 * 2**20) -> None:
    client.sendall(start)
    sent = 0
    while sent < most:
        client.sendall(block)
        sent += len(block)


def header_floods(target: Target) -> None:
    start = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
    for begin, block in (
        (start, b"a:b\r\n" * 13_000),
        (start + b"a: ", b"x" * 65_000),
        (b"GET /", b"x" * 65_000),
    ):
        with suppress(OSError), target.plain(target.metrics_port) as client:
            _send_all(client, begin, block)
        with suppress(OSError), target.trusted() as client:
            _send_all(client, begin, block)
    chunked = b"POST /filter HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"
    with suppress(OSError), target.trusted() as client:
        _send_all(client, chunked + b"a: ", b"x" * 65_000)


def _crowd(target: Target, port: int, sent: bytes) -> None:
    with ExitStack() as stack:
        for number in range(CROWD):
            with suppress(OSError):
                client = stack.enter_context(target.plain(port))
                if sent:
                    client.sendall(sent)
            if number % 50 == 0:
                time.sleep(0.02)
        time.sleep(HOLD_SECONDS)


def silent_on_metrics(target: Target) -> None:
    _crowd(target, target.metrics_port, random.choice([b"", b"GET /met", b"\r\n\r\n", _METRICS]))


def silent_handshakes(target: Target) -> None:
    _crowd(target, target.port, random.choice([b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"]))


def unread_metrics(target: Target) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(target.plain(target.metrics_port, 4096)) for _ in range(50)]
        for client in clients:
            client.setblocking(False)
        for _ in range(20):
            for client in clients:
                with suppress(OSError):
                    client.send(_METRICS * 500)
            time.sleep(0.1)


def unread_scores(target: Target) -> None:
    """Request long responses, and read none of them."""
    sent = _post("/prioritize", _body(_LONG_NAMES))
    with ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(target.trusted(4096))
            client.sendall(sent)
        time.sleep(3)


def resets(target: Target) -> None:
    for _ in range(100):
        with suppress(OSError), target.plain(target.metrics_port) as client:
            client.sendall(random.choice([_METRICS, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"]))
            client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def blank_lines(target: Target) -> None:
    with target.trusted() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        client.recv(1000)
        for _ in range(100):
            client.sendall(b"\r\n")
            time.sleep(0.02)


def trickles(target: Target) -> None:
    """Send headers and bodies one byte at a time."""
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "
    body = _post("/filter", b" " * 100)[:-100]
    with ExitStack() as stack:
        slow = [(stack.enter_context(target.plain(target.metrics_port)), head) for _ in range(20)]
        slow += [(stack.enter_context(target.trusted()), body) for _ in range(10)]
        for client, sent in slow:
            client.sendall(sent)
        for _ in range(10):
            time.sleep(0.5)
            for client, _sent in slow:
                with suppress(OSError):
                    client.sendall(b" ")


def many_names(target: Target) -> None:
    head = b'{"Pod":{"metadata":{"name":"p","annotations":{"traffic-footprint.io/class":"mouse"}}},"NodeNames":['
    body = head + b",".join([b'"a"'] * ((8 * 2**20 - 200) // 4)) + b"]}"
    for path in ("/filter", "/prioritize", "/explain"):
        with suppress(OSError), target.trusted() as client:
            client.sendall(_post(path, body))
            client.recv(65_536)


def long_bodies(target: Target) -> None:
    """Send bodies of the largest allowed size on many connections, each without its last byte."""
    with ExitStack() as stack:
        for _ in range(12):
            with suppress(OSError):
                client = stack.enter_context(target.trusted())
                client.sendall(_post("/filter", b" " * (8 * 2**20))[:-1])


def nonsense(target: Target) -> None:
    for _ in range(30):
        for port in (target.port, target.metrics_port):
            with suppress(OSError), target.plain(port) as client:
                client.sendall(
                    random.choice([random.randbytes(500), b"\x16\x03\x01" + random.randbytes(300), _METRICS])
                )
                client.recv(1000)
    with target.trusted() as client:
        for body in (b"", b"{", b"[]", b'{"Pod":{}}', b"[" * 10_000, random.randbytes(1000)):
            client.sendall(_post(random.choice(["/filter", "/prioritize", "/explain"]), body))
            client.recv(65_536)


def upgrades(target: Target) -> None:
    with target.trusted() as client:
        for _ in range(20):
            client.sendall(_post("/filter", _body(["a"]), "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"))
            client.recv(65_536)


def explanations(target: Target) -> None:
    body = orjson.dumps(pod_object(1, uid="hostile"))
    with ExitStack() as stack:
        clients = [stack.enter_context(target.trusted()) for _ in range(10)]
        for client in clients:
            client.sendall(_post("/explain", body))
        for client in clients:
            with suppress(OSError):
                client.recv(4096)


KINDS: Final[tuple[Callable[[Target], None], ...]] = (
    header_floods, silent_on_metrics, silent_handshakes, unread_metrics, unread_scores, resets, blank_lines,
    trickles, many_names, long_bodies, nonsense, upgrades, explanations,
)  # fmt: skip


def again_and_again(kind: Callable[[Target], None], target: Target) -> None:
    while True:
        with suppress(OSError):
            kind(target)
        time.sleep(_PAUSE_SECONDS * random.uniform(1, 10))


def main(argv: list[str] | None = None) -> None:
    port, metrics_port, pki = argv or sys.argv[1:]
    os.nice(10)  # real attackers would not use the extender's processors
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, most), most))
    target = Target(int(port), int(metrics_port), Pki(Path(pki)))
    threads = [threading.Thread(target=again_and_again, args=(kind, target), daemon=True) for kind in KINDS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
