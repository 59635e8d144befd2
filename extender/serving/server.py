# SPDX-License-Identifier: Apache-2.0
"""The serving process: sockets, certificates, deadlines of connections, and the end.

Enters: an application and listening sockets. Leaves: responses until SIGTERM. Then follow ``drain`` seconds in
which the application reports not ready and every response is its connection's last, so that clients move to other
replicas, and at most ``GRACE_SECONDS`` for requests that are under way. Guarantees: ten times a second, every
connection past its deadline is ended, and so are those with most unread bytes where these are too many together.
"""

from __future__ import annotations

import errno
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import uvicorn

from extender.serving.accept import Acceptor, Places
from extender.serving.certificates import Certificates
from extender.serving.garbage import collect_in_quiet
from extender.serving.http_protocol import BoundedHttpProtocol, ServerContext
from extender.serving.limits import Limits, PortLimits, Refusals
from extender.serving.metrics_port import LivePage, only_pages
from footprint.service import fail

GRACE_SECONDS: Final = 5
BACKLOG: Final = 4096
"""Connections that the kernel holds until they are accepted: more than a crowd that comes at once."""
QUIET_SECONDS: Final = 1.0
"""Without a response: a moment in which a garbage collection disturbs nobody."""
_CERTIFICATE_TICKS: Final = 50
"""Ticks of 0.1 s between two checks of the certificates' files."""


def every_address() -> str:
    """``::``, which takes IPv6 and IPv4, or ``0.0.0.0`` where the kernel has no IPv6."""
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - kube-scheduler runs elsewhere


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; ends the program with one line when the port cannot be had. An empty ``host`` is every
    address."""
    host = host or every_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named: asyncio sets TCP_NODELAY on accepted sockets only where it reads TCP, and without it
    # an answer's second packet waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if host == "::":
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        remedy = "choose another with --host ADDRESS and --port PORT"
        if error.errno == errno.EADDRINUSE:
            remedy = f"end the program that holds it (`ss -ltnp 'sport = :{port}'`) or choose another --port"
        fail(f"cannot listen on {host} port {port}: {error.strerror or error}", remedy)
    return listener


def uvicorn_config(app: Any, limits: Limits) -> uvicorn.Config:
    """How ``app`` is served. Bounds that uvicorn cannot keep are those of ``BoundedHttpProtocol``."""
    return uvicorn.Config(
        app, http=BoundedHttpProtocol, ws="none", access_log=False, log_config=None,
        timeout_keep_alive=round(limits.keep_alive_seconds), timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False, proxy_headers=False,
    )  # fmt: skip


class Server(uvicorn.Server):
    """See the module."""

    def __init__(
        self, app: Any, *, certificates: Certificates | None = None, drain: float = 0.0,
        on_drain: Callable[[], None] = lambda: None, ready: Callable[[], bool] = lambda: True,
        metrics_port: socket.socket | None = None, limits: Limits | None = None,
        refusals: Refusals | None = None, page: LivePage | None = None,
    ) -> None:  # fmt: skip
        """``on_drain``: called once, when the end begins; ``ready``: whether the first state is there;
        ``metrics_port``: a bound socket on which ``extender.serving.metrics_port`` answers without TLS, and
        ``page`` too."""
        self.limits = limits or Limits()
        super().__init__(uvicorn_config(app, self.limits))
        self._app, self._metrics_port, self._page = app, metrics_port, page
        self._certificates, self._drain, self._on_drain, self._ready = certificates, drain, on_drain, ready
        self.context = ServerContext(self.limits, refusals or Refusals())
        self._exit_at: float | None = None
        self._over = threading.Event()
        self._acceptors: list[Acceptor] = []
        self._places: list[Places] = []
        self._responses_seen, self._quiet_since = 0, time.monotonic()

    @property
    def refused(self) -> Counter[str]:
        """Connections and requests that were turned away, by reason."""
        return self.context.refusals.counts

    @property
    def under_way(self) -> int:
        """Requests of all ports without a complete response."""
        return sum(places.under_way.total for places in self._places)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        listeners = sockets or []
        for listener in (*listeners, *([self._metrics_port] if self._metrics_port else [])):
            listener.listen(BACKLOG)  # early clients wait; ``started`` promises that every port is there
        await super().startup(sockets=[])
        threading.Thread(
            target=collect_in_quiet, args=(self._over, self._ready, self._is_quiet), name="garbage", daemon=True
        ).start()
        for listener in listeners:
            self._open(listener, self.config, self._certificates, self.limits.main_port)
        if self._metrics_port is not None:
            config = uvicorn_config(only_pages(self._app, self._page), self.limits)
            config.load()
            self._open(self._metrics_port, config, None, self.limits.metrics_port)

    def _open(
        self, listener: socket.socket, config: uvicorn.Config, certificates: Certificates | None, port: PortLimits
    ) -> None:
        places = Places(port, self.context.refusals)
        self._places.append(places)

        def make_protocol() -> BoundedHttpProtocol:
            return BoundedHttpProtocol(
                config, self.server_state, self.lifespan.state, port=places, context=self.context
            )

        acceptor = Acceptor(
            listener, make_protocol, certificates,
            limits=self.limits, port=port, refusals=self.context.refusals,
        )  # fmt: skip
        acceptor.open()
        self._acceptors.append(acceptor)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._over.set()
        if self._page is not None:
            self._page.leave()
        for acceptor in self._acceptors:
            acceptor.close()
        await super().shutdown(sockets)

    def _is_quiet(self) -> bool:
        return time.monotonic() >= self._quiet_since + QUIET_SECONDS

    def begin_drain(self) -> None:
        """Start to leave; ends by itself."""
        if self._exit_at is None:
            self._exit_at = time.monotonic() + self._drain
            self.context.draining = True
            self._on_drain()
            if self._page is not None:
                self._page.leave()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM or SIGINT begins the drain; the second ends it."""
        if self._exit_at is None and self._drain > 0 and sig in (signal.SIGTERM, signal.SIGINT):
            self.begin_drain()
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        now = time.monotonic()
        self._sweep(now)
        if self._certificates is not None and counter % _CERTIFICATE_TICKS == 0:
            self._certificates.refresh()
        if self._exit_at is not None and now >= self._exit_at:
            self.should_exit = True
        return await super().on_tick(counter)

    def _sweep(self, now: float) -> None:
        """End connections past their deadline, and those that hold most where unread responses are too many."""
        if self.server_state.total_requests != self._responses_seen:
            self._responses_seen, self._quiet_since = self.server_state.total_requests, now
        unsent: list[tuple[int, BoundedHttpProtocol]] = []
        for connection in list(self.server_state.connections):
            if not isinstance(connection, BoundedHttpProtocol):
                continue
            if connection.expired(now):
                connection.transport.abort()
            elif size := connection.transport.get_write_buffer_size():
                unsent.append((size, connection))
        excess = sum(size for size, _ in unsent) - self.limits.unsent
        for size, connection in sorted(unsent, key=lambda one: -one[0]):
            if excess <= 0:
                break
            self.context.refusals.count("unread")
            connection.transport.abort()
            excess -= size
