# SPDX-License-Identifier: Apache-2.0
"""The serving process: its socket, its certificates, its end; and the interpreter set up for even answer times.

Enters: an application and a listening socket. Leaves: answers until SIGTERM; then ``drain`` seconds in which the
application calls itself not ready and every answer ends its connection, so that clients move to other replicas;
then at most ``GRACE_SECONDS`` for what is under way.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import uvicorn

from extender.serving.certificates import Certificates
from extender.serving.connections import KEEP_ALIVE_SECONDS, Doorman
from extender.serving.fast_path import ExpressProtocol, protocol_maker
from extender.serving.metrics_port import only_pages
from footprint.service import fail

GRACE_SECONDS: Final = 5

SWITCH_SECONDS: Final = 0.0005
"""How long a watch's thread may hold the interpreter while a request waits; Python's default is ten times that."""

BACKLOG: Final = 512
SETTLE_SECONDS: Final = 5.0
"""Between two looks of the garbage collector; in this time few enough values come to be looked at quickly."""

_OLDEST: Final = 2
_MIDDLE: Final = 1
_NEVER: Final = 2**31 - 1

_CERTIFICATE_TICKS: Final = 50
"""Ticks of 0.1 s between two looks at the certificates' files."""


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


def uvicorn_config(app: Any) -> uvicorn.Config:
    """How ``app`` is served."""
    return uvicorn.Config(
        app, http=ExpressProtocol, access_log=False, log_config=None, timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS, server_header=False, proxy_headers=False,
    )  # fmt: skip


class Server(uvicorn.Server):
    """See the module. ``on_drain`` is called once, when the end begins; ``ready``: the first state is there."""

    def __init__(
        self, app: Any, *, certificates: Certificates | None = None, drain: float = 0.0,
        on_drain: Callable[[], None] = lambda: None, refused: Counter[str] | None = None,
        ready: Callable[[], bool] = lambda: True, observers: socket.socket | None = None,
    ) -> None:  # fmt: skip
        """``observers``: a bound socket on which ``extender.serving.metrics_port`` answers, without TLS."""
        super().__init__(uvicorn_config(app))
        self._app, self._observers = app, observers
        self._certificates, self._drain, self._on_drain = certificates, drain, on_drain
        self._exit_at: float | None = None
        self._ready, self._over = ready, threading.Event()
        self._doormen: list[Doorman] = []
        self.refused: Counter[str] = Counter() if refused is None else refused
        """Connections not let in, by reason."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        listeners = sockets or []
        for listener in (*listeners, *([self._observers] if self._observers else [])):
            listener.listen(BACKLOG)  # who comes early waits; ``started`` promises that every port is there
        await super().startup(sockets=[])
        threading.Thread(target=keep_settled, args=(self._over, self._ready), name="settle", daemon=True).start()
        for listener in listeners:
            self._open(listener, protocol_maker(self), self._certificates)
        if self._observers is not None:
            config = uvicorn_config(only_pages(self._app))
            config.load()
            self._open(self._observers, protocol_maker(self, config), None)

    def _open(
        self, listener: socket.socket, make: Callable[[], asyncio.Protocol], certificates: Certificates | None
    ) -> None:
        doorman = Doorman(listener, make, certificates, lambda: len(self.server_state.connections), self.refused)
        doorman.open()
        self._doormen.append(doorman)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._over.set()
        for doorman in self._doormen:
            doorman.close()
        await super().shutdown(sockets)

    def draining(self) -> bool:
        """The end has begun."""
        return self._exit_at is not None

    def begin_drain(self) -> None:
        """Start to leave; ends by itself."""
        if self._exit_at is None:
            self._exit_at = time.monotonic() + self._drain
            self._on_drain()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM or SIGINT begins the drain; the second ends it."""
        if self._exit_at is None and self._drain > 0 and sig in (signal.SIGTERM, signal.SIGINT):
            self.begin_drain()
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._certificates is not None and counter % _CERTIFICATE_TICKS == 0:
            self._certificates.refresh()
        if self._exit_at is not None and time.monotonic() >= self._exit_at:
            self.should_exit = True
        return await super().on_tick(counter)


def settle(generation: int = _OLDEST) -> None:
    """Take everything alive out of the garbage collector's sight, after a look at ``generation`` and younger ones.

    A collection over the hundreds of thousands of values of a large cluster would stop every answer for a tenth of
    a second. They hold no cycles: what is replaced is freed by its count of references.
    """
    gc.collect(generation)
    gc.freeze()


def keep_settled(stop: threading.Event, ready: Callable[[], bool]) -> None:
    """``settle`` again and again, once ``ready``, until ``stop``.

    After the first time only what came just before is looked at: footprints that are rewritten leave a hundred
    thousand values in the meantime, which would take some hundredths of a second.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)
    generation = _OLDEST
    while not stop.wait(SETTLE_SECONDS):
        if ready():
            settle(generation)
            generation = _MIDDLE
