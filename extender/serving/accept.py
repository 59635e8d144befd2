# SPDX-License-Identifier: Apache-2.0
"""Accepting connections: TLS handshakes, and a limited number of slots on each port.

Enters: a listening socket. Leaves: connections with ``extender.serving.http_protocol`` on them. Guarantees: each
port has its own slots and its own count of requests under way, and handshakes have slots apart from served
connections. Silent clients cannot keep the others out. On a full port, a new connection replaces one of the client
with the most connections: an idle one before a busy one, one that was never served before the others, and the one
that was idle longest. A client that sends plain HTTP to a TLS port gets a response that says so.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

from extender.serving.certificates import Certificates
from extender.serving.clients import UnderWay, client_of
from extender.serving.http_protocol import BoundedHttpProtocol
from extender.serving.limits import Limits, PortLimits, Refusals

FRESH_SECONDS: Final = 1.0
"""After which a connection without a complete request counts as silent."""
AT_ONCE: Final = 8
"""Connections accepted before requests have their turn."""
_TLS_HANDSHAKE: Final = b"\x16"
_PLAIN_TEXT: Final = b"this port speaks HTTPS: use https:// in the extender's urlPrefix, and enableHTTPS: true\n"
_PLAIN: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)


class Places:
    """The served connections of one port (``http_protocol.Port``)."""

    def __init__(self, limits: PortLimits, refusals: Refusals) -> None:
        self._limits, self._refusals = limits, refusals
        self.taken: set[BoundedHttpProtocol] = set()
        self.under_way = UnderWay()

    def admit(self, connection: BoundedHttpProtocol) -> bool:
        """Give ``connection`` a slot, if need be another's; False: there is none."""
        same = [other for other in self.taken if other.address == connection.address]
        if len(same) >= self._limits.per_address:
            admitted = self._free(same, same, "too-many-of-address")
        elif len(self.taken) >= self._limits.connections:
            admitted = self._free(list(self.taken), same, "too-many")
        else:
            admitted = True
        if admitted:
            self.taken.add(connection)
        return admitted

    def release(self, connection: BoundedHttpProtocol) -> None:
        self.taken.discard(connection)

    def _free(self, among: list[BoundedHttpProtocol], same: list[BoundedHttpProtocol], reason: str) -> bool:
        """End one connection of ``among`` for a new one, whose address has the connections ``same``. False where
        each has a request under way, and no address has more slots than the new connection's would have."""
        self._refusals.count(reason)
        held, now = Counter(connection.address for connection in among), time.monotonic()

        def order(one: BoundedHttpProtocol) -> tuple[int, bool, int, float]:
            silent = one.served == 0 and now - one.since >= FRESH_SECONDS
            fresh = one.served == 0 and not silent
            return -held[one.address], not one.waits_for_client, fresh - silent, one.since

        victim = min(among, key=order)
        if not victim.waits_for_client and held[victim.address] <= len(same) + 1:
            return False
        self.taken.discard(victim)
        victim.transport.abort()
        return True


class Acceptor:
    """Accepts connections on one listening socket until ``close``."""

    def __init__(
        self, listener: socket.socket, make_protocol: Callable[[], asyncio.Protocol],
        certificates: Certificates | None, *, limits: Limits, port: PortLimits, refusals: Refusals,
    ) -> None:  # fmt: skip
        """``certificates``: None on a port without TLS."""
        self._listener, self._make, self._certificates = listener, make_protocol, certificates
        self._seconds, self._port, self._refusals = limits.handshake_seconds, port, refusals
        self._handshakes: dict[asyncio.Task[None], str] = {}
        """Connections that are not served yet, by arrival, with the client's address."""
        self._accepting: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._listener.setblocking(False)
        self._accepting = asyncio.create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and end unfinished handshakes."""
        for task in (self._accepting, *self._handshakes):
            if task is not None:
                task.cancel()

    async def _accept(self) -> None:
        loop, accepted = asyncio.get_running_loop(), 0
        while True:
            try:
                client, address = await loop.sock_accept(self._listener)
            except OSError as error:  # the client has gone, or no file descriptor is left
                self._refusals.count("not-accepted", error)
                await asyncio.sleep(0.1)
                continue
            name = client_of(address[0])
            self._limit_handshakes(name)
            task = asyncio.create_task(self._let_in(client))
            self._handshakes[task] = name
            task.add_done_callback(partial(self._forget, client))
            accepted += 1
            if accepted % AT_ONCE == 0:
                await asyncio.sleep(0)  # while clients connect without end, requests go on

    def _forget(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if task.cancelled():
            client.close()  # a task that is cancelled before it began does not

    def _limit_handshakes(self, address: str) -> None:
        """End the oldest handshake of ``address``, or of the address with most, where there are too many."""
        held = Counter(self._handshakes.values())
        if held[address] >= self._port.handshakes_per_address:
            costs = address
        elif len(self._handshakes) >= self._port.handshakes:
            costs = held.most_common(1)[0][0]
        else:
            return
        oldest = next(task for task, of in self._handshakes.items() if of == costs)
        self._handshakes.pop(oldest)
        oldest.cancel()
        self._refusals.count("too-many-handshakes")

    async def _let_in(self, client: socket.socket) -> None:
        try:
            async with asyncio.timeout(self._seconds):
                await self._greet(client)
        except TimeoutError:
            self._refusals.count("slow-handshake")
            client.close()
        except ssl.SSLError as error:
            self._refusals.count(_reason(error), error)
            client.close()
        except OSError:
            client.close()

    async def _greet(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._certificates is None:
            await loop.connect_accepted_socket(self._make, client)
            return
        first = await _first_byte(client)
        if first == _TLS_HANDSHAKE:
            await loop.connect_accepted_socket(
                self._make, client, ssl=self._certificates.context,
                ssl_handshake_timeout=self._seconds, ssl_shutdown_timeout=self._seconds,
            )  # fmt: skip
            return
        if first:
            self._refusals.count("plain-http")
            await loop.sock_sendall(client, _PLAIN)
        client.close()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


async def _first_byte(client: socket.socket) -> bytes:
    """The client's first byte, which stays in the socket; empty when the client closed."""
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
    """Why a handshake failed, in the words that operators look for."""
    reason = error.reason or ""
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "no-client-certificate"
    if reason == "CERTIFICATE_VERIFY_FAILED":
        return "client-certificate"
    # A client's alert about our certificate: it trusts another CA, or the name or the dates do not fit.
    return "server-certificate" if "_ALERT_" in reason and ("CERT" in reason or "_CA" in reason) else "tls"
