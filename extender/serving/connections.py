# SPDX-License-Identifier: Apache-2.0
"""Who may connect, and for how long they may hold a connection.

Enters: a listening socket. Leaves: accepted connections for uvicorn's HTTP protocol. Guarantees: plain HTTP on a
TLS port is answered in words; a client that does not finish its handshake or its headers in time is let go, and
so is one too many; each is counted by reason. An idle connection outlives those of Go's client.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from asyncio import TimerHandle
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from extender.serving.certificates import Certificates

KEEP_ALIVE_SECONDS: Final = 120
"""Above the 90 s for which Go's client keeps idle connections: a server that closes first fails POSTs."""
HEADER_SECONDS: Final = 5.0
"""From a request's first byte to the end of its headers."""
HANDSHAKE_SECONDS: Final = 5.0
READING_SECONDS: Final = 10.0
"""For which a client may leave an answer in our hands that no longer fits into the socket's buffers."""
MAX_CONNECTIONS: Final = 1000
"""A kube-scheduler holds a few; below the 1024 file descriptors that every process has."""

_ARRIVAL: Final = "traffic-footprint.arrival"
_TLS_HANDSHAKE: Final = b"\x16"
_PLAIN_TEXT: Final = b"this port speaks HTTPS: use https:// in the extender's urlPrefix, and enableHTTPS: true\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)
_log = structlog.get_logger()


class Arrival(NamedTuple):
    """When a request's headers were read, and what it found."""

    at: float
    """Seconds of ``time.monotonic``."""
    under_way: int
    """Requests of the server that had no answer yet, this one included."""

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> Arrival | None:
        """That of a request served here; None when something else serves it."""
        found: Arrival | None = scope.get("state", {}).get(_ARRIVAL)
        return found


@dataclass(slots=True)
class UnderWay:
    """Requests of one server that have no answer yet, over all connections."""

    requests: int = 0
    held: int = 0
    """Bytes of bodies of which the rest is awaited for a moment (``extender.serving.fast_path``)."""


class Reply(NamedTuple):
    """An answer in JSON."""

    status: int
    body: bytes
    close: bool = False
    """Nothing more is answered on its connection."""


class ShortWay(NamedTuple):
    """What answers requests that are there whole."""

    answer: Callable[[bytes, Arrival], Reply]
    """A body's."""
    afterwards: Callable[[], None]
    """To be called once the answer has been written."""


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to waiting for headers and for clients that do not read; while ``draining``
    every answer is a connection's last. Tells the application when each request arrived: handlers start one after
    the other, and those of a crowd late."""

    draining: Callable[[], bool] = staticmethod(lambda: False)
    under_way: UnderWay
    _timer: TimerHandle | None = None
    _in_headers = False
    _unread: TimerHandle | None = None
    _mine = 0
    """Of the requests under way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(KEEP_ALIVE_SECONDS)

    def on_response_complete(self) -> None:
        self._count(-1)
        early = self.cycle.more_body and not self.pipeline
        super().on_response_complete()
        if early:
            self.transport.close()  # answered before its body was there: nobody waits for the rest of that

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self.resume_writing()
        self._count(-self._mine)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and self._timer is None:  # hardly ever: they come in one piece
            self._wait(HEADER_SECONDS)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stop_waiting()
        self._in_headers = True

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        self._in_headers = False
        self._begin()

    def _begin(self) -> None:
        """The request's headers are there."""
        self._admit()

    def _arrived(self) -> Arrival:
        """Count one more request under way."""
        self._count(1)
        return Arrival(time.monotonic(), self.under_way.requests)

    def _admit(self, arrival: Arrival | None = None) -> None:
        """Let the application answer the request; ``arrival``: it is counted already."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is before:
            return
        self.scope["state"][_ARRIVAL] = arrival or self._arrived()
        if self.draining():
            self.cycle.keep_alive = False

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def timeout_keep_alive_handler(self) -> None:
        self._give_up()

    def _count(self, requests: int) -> None:
        self._mine += requests
        self.under_way.requests += requests

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self.transport.abort()  # closing would wait until an answer that nobody reads has left


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _first_byte(client: socket.socket) -> bytes:
    """What the client's first byte will be; left in the socket. Empty when it closed."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return client.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(client, _wake, readable)
            try:
                await readable
            finally:
                loop.remove_reader(client)


def _reason(error: ssl.SSLError) -> str:
    """Why a handshake failed, as operators look for it."""
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "no-client-certificate"
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return "client-certificate"
    # What a client says of our certificate: it knows another CA, the name is not the one it called, it is too old.
    return "server-certificate" if "_ALERT_" in reason and ("CERT" in reason or "_CA" in reason) else "tls"


class Doorman:
    """Accepts connections on one listening socket until ``close``."""

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol],
        certificates: Certificates | None, connected: Callable[[], int], refused: Counter[str],
    ) -> None:  # fmt: skip
        self._listener, self._make, self._certificates = listener, make_protocol, certificates
        self._connected, self.refused = connected, refused
        self._arriving: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """No more connections, neither new ones nor those that are still shaking hands."""
        for task in (self._accepting, *self._arriving):
            if task is not None:
                task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError as error:  # a client that is gone already, or no file descriptor left
                self._refuse("not-accepted", error)
                await asyncio.sleep(0.1)
                continue
            if self._connected() + len(self._arriving) >= MAX_CONNECTIONS:
                self._refuse("too-many", None)
                client.close()
                continue
            task = asyncio.create_task(self._let_in(client))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _let_in(self, client: socket.socket) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await self._greet(client)
        except TimeoutError:
            self._refuse("slow-handshake", None)
            client.close()
        except ssl.SSLError as error:
            self._refuse(_reason(error), error)
            client.close()
        except OSError:
            client.close()
        except asyncio.CancelledError:
            client.close()
            raise

    async def _greet(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._certificates is None:
            await loop.connect_accepted_socket(self._make, client)
            return
        first = await _first_byte(client)
        if first == _TLS_HANDSHAKE:
            await loop.connect_accepted_socket(self._make, client, ssl=self._certificates.context)
            return
        if first:
            self._refuse("plain-http", None)
            await loop.sock_sendall(client, _PLAIN)
        client.close()

    def _refuse(self, reason: str, error: Exception | None) -> None:
        self.refused[reason] += 1
        if self.refused[reason] in (1, 10, 100) or self.refused[reason] % 1000 == 0:  # never a line for each
            _log.warning("connection refused", reason=reason, times=self.refused[reason], problem=str(error or ""))
