"""Who may connect, and for how long they may hold a connection.

Enters: a listening socket. Leaves: accepted connections for uvicorn's HTTP protocol. Guarantees: plain HTTP on a
TLS port is answered in words; a client that does not finish its handshake or its headers in time is let go, and
so is one too many; each is counted by reason. An idle connection outlives those of Go's client.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import TimerHandle
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from extender.certificates import Certificates

KEEP_ALIVE_SECONDS: Final = 120
"""Above the 90 s for which Go's client keeps idle connections: a server that closes first fails POSTs."""
HEADER_SECONDS: Final = 5.0
"""From a request's first byte to the end of its headers."""
HANDSHAKE_SECONDS: Final = 5.0
MAX_CONNECTIONS: Final = 1000
"""A kube-scheduler holds a few; below the 1024 file descriptors that every process has."""

_TLS_HANDSHAKE: Final = b"\x16"
_PLAIN_TEXT: Final = b"this port speaks HTTPS: use https:// in the extender's urlPrefix, and enableHTTPS: true\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)
_log = structlog.get_logger()


class _Together:
    """Writes an answer's head together with what follows it: a system call and a packet less per answer, and the
    client is woken once. Has what uvicorn uses of a transport while it answers."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head = transport, b""

    def write(self, data: bytes) -> None:
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100 "):
            self._head = data  # a body, its end or the connection's follows at once
            return
        self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with an end to waiting for headers; while ``draining`` every answer is a connection's
    last."""

    draining: Callable[[], bool] = staticmethod(lambda: False)
    _timer: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._answers = _Together(transport)
        self._wait(KEEP_ALIVE_SECONDS)

    def on_response_complete(self) -> None:
        self._answers.flush()  # an answer without a body
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait(HEADER_SECONDS)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()
        self.cycle.transport = self._answers  # type: ignore[assignment]
        if self.draining():
            self.cycle.keep_alive = False

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._give_up)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


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


def protocol_maker(server: Any, config: uvicorn.Config | None = None) -> Callable[[], asyncio.Protocol]:
    """Protocols as ``server`` (uvicorn's) makes them, serving the application of ``config`` if there is one."""

    def make() -> asyncio.Protocol:
        protocol = PatientProtocol(
            config=config or server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        protocol.draining = server.draining
        return protocol

    return make
