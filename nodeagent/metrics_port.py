# SPDX-License-Identifier: Apache-2.0
"""The port that serves ``/metrics``, ``/healthz``, ``/readyz`` and documents: one thread, bounded for all clients.

Enters: HTTP/1 requests from anybody who reaches the port. Leaves: one response per connection. Guarantees: at
most ``MAX_CONNECTIONS`` connections; of each at most ``MAX_HEADER_BYTES`` and ``MAX_HEADER_FIELDS``, for
``REQUEST_SECONDS`` and ``RESPONSE_SECONDS``. A new connection beyond the limit takes the place of the oldest
one: silent clients keep nobody out. Requests for metrics beyond a budget share one rendering, so that a flood of
them leaves the processor to the measuring loop. What is refused is counted.
"""

from __future__ import annotations

import math
import re
import selectors
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, make_wsgi_app
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from footprint.token_bucket import TokenBucket

MAX_CONNECTIONS: Final = 32
MAX_HEADER_BYTES: Final = 64 * 2**10
"""The request line included."""
MAX_HEADER_FIELDS: Final = 100
REQUEST_SECONDS: Final = 5.0
"""From the connection to the end of the headers."""
RESPONSE_SECONDS: Final = 10.0
"""Until the client has taken the response."""
_LINGER_SECONDS: Final = 1.0
"""For the client to read the response, while what it still sends is dropped."""
_RENDERINGS: Final = TokenBucket(burst=10, interval=0.5)
"""Renderings of the metrics, by the format that a client requests."""
_SHARED_SECONDS: Final = 1.0
"""How old the rendering may be that clients beyond the budget share."""
_ACCEPTS: Final = 16
"""New connections per turn of the loop."""
_CHUNK: Final = 2**16
_END: Final = re.compile(rb"\n\r?\n")

Probe = tuple[Callable[[], bool], bytes]
"""Whether all is well, and what to say when it is not."""


class _BadRequestError(Exception):
    """The request cannot be served."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class _Client:
    __slots__ = ("deadline", "ended", "lines", "received", "searched", "socket", "unsent")

    def __init__(self, accepted: socket.socket, deadline: float) -> None:
        self.socket, self.deadline = accepted, deadline
        self.received = bytearray()
        self.searched = self.lines = 0
        self.unsent = memoryview(b"")
        self.ended = False
        """The response is chosen; what is received from now on is dropped."""

    def head(self) -> bytes | None:
        """Request line and header fields; None while they have not ended. Each byte is looked at once, however
        many pieces they come in. Raises _BadRequestError for too many bytes or fields."""
        end = _END.search(self.received, max(self.searched - 2, 0))
        length = end.start() if end else len(self.received)
        self.lines += self.received.count(b"\n", self.searched, length)
        self.searched = length
        if length > MAX_HEADER_BYTES or self.lines > MAX_HEADER_FIELDS:
            raise _BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large")
        return bytes(self.received[:length]).rstrip(b"\r") if end else None


class MetricsPort:
    """Serves until closed. Raises OSError when the port cannot be had."""

    def __init__(
        self,
        registry: CollectorRegistry,
        host: str,
        port: int,
        *,
        alive: Callable[[], bool],
        ready: Callable[[], bool],
        documents: Mapping[str, Callable[[], bytes]] | None = None,
    ) -> None:
        """``documents``: further paths, each with what makes its JSON."""
        self._listener = _listen(host, port)
        self._registry, self._metrics = registry, make_wsgi_app(registry)
        self._probes: dict[str, Probe] = {
            "/healthz": (alive, b"the measuring loop stands still\n"),
            "/readyz": (ready, b"nothing is measured yet, or the measuring loop stands still\n"),
        }
        self._documents = documents or {}
        self._refusals, self._scrapes = new_refusals(registry), new_scrapes(registry)
        self._budget, self._shared, self._shared_at = _RENDERINGS, b"", -math.inf
        self._connections: dict[int, _Client] = {}
        self._selector = selectors.DefaultSelector()
        self._waking, self._woken = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._waking.send(b"x")  # first: the thread closes its end once it sees that it must end
        self._closing = True
        self._thread.join(1.0)

    def _serve(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(self._until_next_deadline()):
                if key.fileobj is self._listener:
                    self._accept()
                elif (connection := self._connections.get(key.fd)) is not None:
                    self._advance(connection)
            now = time.monotonic()
            for connection in [c for c in self._connections.values() if c.deadline <= now]:
                self._drop(connection, "" if connection.ended and not connection.unsent else "timeout")
        for connection in list(self._connections.values()):
            self._drop(connection)
        for end in (self._listener, self._waking, self._woken, self._selector):
            end.close()

    def _until_next_deadline(self) -> float | None:
        deadlines = [connection.deadline for connection in self._connections.values()]
        return max(min(deadlines) - time.monotonic(), 0.0) if deadlines else None

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                accepted, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptor or memory left: let the others end before the next try
                time.sleep(0.05)
                return
            accepted.setblocking(False)
            if len(self._connections) >= MAX_CONNECTIONS:
                self._drop(min(self._connections.values(), key=lambda c: c.deadline), "evicted")
            connection = _Client(accepted, time.monotonic() + REQUEST_SECONDS)
            self._connections[accepted.fileno()] = connection
            self._selector.register(accepted, selectors.EVENT_READ)
            self._advance(connection)  # the request is often there already

    def _drop(self, connection: _Client, reason: str = "") -> None:
        if reason:
            self._refusals.labels(reason).inc()
        self._connections.pop(connection.socket.fileno(), None)
        with suppress(KeyError):
            self._selector.unregister(connection.socket)
        connection.socket.close()

    def _advance(self, connection: _Client) -> None:
        """Take what came, and give what the client takes."""
        try:
            if connection.unsent:
                self._send(connection)
            else:
                self._receive(connection)
        except BlockingIOError:
            pass
        except OSError:  # reset by the client
            self._drop(connection)
        except Exception:  # a fault of ours must cost this connection alone, not the port
            self._drop(connection, "failed")

    def _receive(self, connection: _Client) -> None:
        data = connection.socket.recv(_CHUNK)
        if not data:
            self._drop(connection)
        elif not connection.ended:
            connection.received += data
            response = self._response(connection)
            if response is not None:
                connection.received.clear()
                connection.ended, connection.unsent = True, memoryview(response)
                connection.deadline = time.monotonic() + RESPONSE_SECONDS
                self._selector.modify(connection.socket, selectors.EVENT_WRITE)
                self._send(connection)

    def _send(self, connection: _Client) -> None:
        connection.unsent = connection.unsent[connection.socket.send(connection.unsent) :]
        if not connection.unsent:
            connection.socket.shutdown(socket.SHUT_WR)
            connection.deadline = time.monotonic() + _LINGER_SECONDS
            self._selector.modify(connection.socket, selectors.EVENT_READ)

    def _response(self, connection: _Client) -> bytes | None:
        """The whole response to what was received; None while the headers have not ended."""
        try:
            head = connection.head()
            return None if head is None else self._answer(*parse(head))
        except _BadRequestError as refused:
            self._refusals.labels(refused.reason).inc()
            return _http(refused.status, b"", "text/plain")

    def _answer(self, method: str, path: str, query: str, fields: dict[str, str]) -> bytes:
        if method not in ("GET", "HEAD"):
            raise _BadRequestError(HTTPStatus.METHOD_NOT_ALLOWED, "method")
        if (probe := self._probes.get(path)) is not None:
            well = probe[0]()
            status = HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE
            return _http(status, b"ok\n" if well else probe[1], "text/plain; charset=utf-8", method)
        if (made := self._documents.get(path)) is not None:
            return _http(HTTPStatus.OK, made(), "application/json", method)
        now = time.monotonic()
        self._budget = self._budget.refilled(now)
        if not self._budget.available:
            return _http(HTTPStatus.OK, self._shared_rendering(now), CONTENT_TYPE_PLAIN_0_0_4, method)
        self._budget = self._budget.taken()
        self._shared_at = -math.inf  # older than what is rendered now: a client would see counters fall
        return self._rendered(method, path, query, fields)

    def _shared_rendering(self, now: float) -> bytes:
        if now - self._shared_at >= _SHARED_SECONDS:
            with self._scrapes.time():
                self._shared, self._shared_at = generate_latest(self._registry), now
        return self._shared

    def _rendered(self, method: str, path: str, query: str, fields: dict[str, str]) -> bytes:
        """As the client asks for it: format, compression, names."""
        said: list[tuple[str, list[tuple[str, str]]]] = []
        environ: dict[str, Any] = {
            "REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": query,
            "HTTP_ACCEPT": fields.get("accept", ""), "HTTP_ACCEPT_ENCODING": fields.get("accept-encoding", ""),
        }  # fmt: skip
        try:
            with self._scrapes.time():
                body = b"".join(self._metrics(environ, lambda status, headers: said.append((status, headers))))
        except Exception as error:  # the library reads Accept, and raises whatever a strange version in it raises
            raise _BadRequestError(HTTPStatus.BAD_REQUEST, "malformed") from error
        [(status, headers)] = said
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        return _message(status, lines, body, method)


def new_refusals(registry: CollectorRegistry) -> Counter:
    """The counter of what the port refuses, in ``registry``."""
    return Counter(
        "traffic_footprint_agent_metrics_port_refusals", "Connections to the metrics port, refused or cut.",
        ["reason"], registry=registry,
    )  # fmt: skip


def new_scrapes(registry: CollectorRegistry) -> Histogram:
    """How long renderings of the metrics take, in ``registry``. Each shows in the next one."""
    return Histogram(
        "traffic_footprint_agent_scrape_duration_seconds", "Time one rendering of the metrics took.",
        registry=registry, buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
    )  # fmt: skip


def parse(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    """Method, path, query and header fields of a request. Raises _BadRequestError for what is no HTTP."""
    first, *rest = head.decode("latin-1").replace("\r\n", "\n").split("\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise _BadRequestError(HTTPStatus.BAD_REQUEST, "malformed")
    path, _, query = words[1].partition("?")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return words[0], path, query, fields


def _http(status: HTTPStatus, body: bytes, content_type: str, method: str = "GET") -> bytes:
    return _message(f"{status.value} {status.phrase}", f"Content-Type: {content_type}\r\n", body, method)


def _message(status: str, lines: str, body: bytes, method: str) -> bytes:
    head = f"HTTP/1.1 {status}\r\n{lines}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode("latin-1") + (b"" if method == "HEAD" else body)


def _listen(host: str, port: int) -> socket.socket:
    """All of IPv4 too, where ``host`` is IPv6 and the kernel can."""
    six = ":" in host
    listener = socket.create_server(
        (host, port), family=socket.AF_INET6 if six else socket.AF_INET, backlog=MAX_CONNECTIONS,
        dualstack_ipv6=six and socket.has_dualstack_ipv6(),
    )  # fmt: skip
    listener.setblocking(False)
    return listener
