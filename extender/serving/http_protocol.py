# SPDX-License-Identifier: Apache-2.0
"""uvicorn's HTTP protocol (httptools) with bounds on what one connection may take.

Enters: bytes of one connection. Leaves: requests for the ASGI application, each with its ``Arrival`` in
``scope["state"]``, and responses on the connection. uvicorn has no setting for these bounds, so this thin subclass
adds them, and ``pyproject.toml`` holds uvicorn to the minor release it was written for. Guarantees: URL, headers
and trailers are bounded in bytes and fields (431, then close); requests that wait in the pipeline are bounded; an
``Upgrade`` header is ignored; a connection always has a deadline until it is gone.

Compared on one kept-alive connection, p50 of filter and prioritize at 100 and at 500 names, in milliseconds:

- routes of FastAPI: 0.40 to 0.45, and 0.60 to 0.63
- this protocol with the ASGI function of ``extender.api.fast_path``: 0.26 to 0.29, and 0.44 to 0.46
- a protocol that answered requests itself, without ASGI: 0.23 to 0.26, and 0.40 to 0.42

The last repeated uvicorn's order of responses, the limits on bodies and the routes. A proxy in front would add a
process, a hop and a certificate. ``docs/explanation/measurements.md`` has the present figures.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import httptools
import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from extender.serving.clients import UnderWay, client_of
from extender.serving.limits import Limits, Refusals

_ARRIVAL: Final = "traffic-footprint.arrival"
_NO_STATE: Final[Mapping[str, Any]] = {}
_CHUNK_OVERHEAD: Final = 5
"""The least that a chunk adds to its data: one digit and two line ends."""
_UPGRADE_FIELDS: Final = (b"upgrade", b"http2-settings")
_STATUS: Final = {"header-bytes": 431, "header-fields": 431}


@dataclass(slots=True)
class Arrival:
    """When a request's headers were read, and its place among the requests that were under way then."""

    at: float
    """Seconds of ``time.monotonic``."""
    under_way: int
    """The request's place among those of its port without a complete response, from 1 on (``UnderWay.place``)."""
    body: bytes | None = None
    """The whole body, where it was there before the application began; then nothing is left to wait for."""

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> Arrival:
        """That of an ASGI scope; of one that another server made, as if it arrived now and alone."""
        found: Arrival | None = scope.get("state", _NO_STATE).get(_ARRIVAL)
        return found or cls(time.monotonic(), 1)


@dataclass(slots=True)
class ServerContext:
    """What all connections of a server share."""

    limits: Limits
    refusals: Refusals
    draining: bool = False
    """Every response is its connection's last."""
    joining: int = 0
    """Bytes of bodies whose requests did not begin yet, over all connections."""


class Port(Protocol):
    """The port that a connection came through."""

    under_way: UnderWay

    def admit(self, connection: BoundedHttpProtocol) -> bool:
        """Give ``connection`` a slot; False: there is none."""
        ...

    def release(self, connection: BoundedHttpProtocol) -> None: ...


class _RefusedError(Exception):
    """Stops the parser. The argument is the reason."""


class _WholeResponses:
    """A transport for responses: writes the head together with the first part of the body, in one packet."""

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._head = transport, b""

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 100"):
            self._head = data
            return
        self._transport.write(self._head + data)
        self._head = b""

    def flush(self) -> None:
        """Write a head that no body follows."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()


class BoundedHttpProtocol(HttpToolsProtocol):
    """See the module."""

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], *,
        port: Port, context: ServerContext,
    ) -> None:  # fmt: skip
        super().__init__(config=config, server_state=server_state, app_state=app_state)
        self._port, self._context, self._limits = port, context, context.limits
        self._in_head = self._in_message = False
        self._messages = self._pieces = self._streamed = self._body_bytes = self._head_fields = 0
        self._last_piece = b""
        self._arrival: Arrival | None = None
        self._responses: _WholeResponses | None = None
        self._refused = self._closing = False
        self._dropped = 0
        self._parsing = False
        self._held: ASGI3Application | None = None
        """What answers the newest request, while its body is joined."""
        self._held_timer: asyncio.TimerHandle | None = None
        self._joined = 0
        self._under_way = 0
        self.address = ""
        """Who the client is to the limits (``client_of``)."""
        self.served = 0
        """Complete responses."""
        self.since = self.deadline = 0.0
        """When the connection began to wait for what it waits for, and when that ends (``time.monotonic``)."""
        self._wait(self._limits.keep_alive_seconds)

    @property
    def waits_for_client(self) -> bool:
        """Nothing but the client can make it go on."""
        return self._under_way == 0 or self.flow.write_paused or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._responses = _WholeResponses(transport)
        self.address = client_of(self.client[0]) if self.client else ""
        if not self._port.admit(self):
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        never_began = [cycle for cycle, _app in self.pipeline]
        if self._end_joining() is not None:
            never_began.append(self.cycle)
        for cycle in never_began:
            cycle.on_response = _nothing  # it referred to this connection: a reference cycle
        self.pipeline.clear()
        self._port.release(self)
        self._count(-self._under_way)
        super().connection_lost(exc)

    # What the client sends.

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._dropped += len(data)
            if self._dropped > self._limits.linger:
                self.transport.abort()
            return
        message, body = self._messages, self._body_bytes
        unfinished = self._in_message
        try:
            self._parsing = True
            self.parser.feed_data(data)
            if self._in_message:
                self._bound_unfinished(
                    len(data) - (self._body_bytes - body), unfinished and message == self._messages
                )
                if self._held is not None and self._held_timer is None:
                    self._held_timer = self.loop.call_later(self._limits.join_seconds, self._begin)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except _RefusedError as error:
            self._refuse(str(error))
        except httptools.HttpParserError as error:
            self._refuse(_reason(error), error)
        finally:
            self._parsing = False

    def _bound_unfinished(self, size: int, same: bool) -> None:
        """Bound what is kept of a request that is not there whole, after a piece with ``size`` bytes that are no
        body. The parser itself keeps a line until it ends, so that pieces after the first count as they come."""
        self._bound_head()
        self._streamed = self._streamed + size if same else 0
        if self._streamed > self._limits.head:
            raise _RefusedError("header-bytes")

    def _bound_head(self) -> None:
        """Raises _RefusedError when URL, fields and trailers read so far are too many."""
        if self._head_fields + len(self.headers) > self._limits.fields:
            raise _RefusedError("header-fields")
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value) + 4
        if size > self._limits.head:
            raise _RefusedError("header-bytes")

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Parse the request's head again without what asked for another protocol, and go on with ``rest``."""
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name == b"connection":
                tokens = [token.strip() for token in value.split(b",")]
                value = b", ".join(token for token in tokens if token.lower() not in _UPGRADE_FIELDS)  # noqa: PLW2901
            if name not in _UPGRADE_FIELDS:
                head += [name, b": ", value, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"".join([*head, b"\r\n", rest]))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._messages += 1
        self._streamed = self._head_fields = self._pieces = 0
        if not self._under_way:
            self._wait(self._limits.head_seconds)

    def on_headers_complete(self) -> None:
        self._bound_head()
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise _RefusedError("invalid-http")
            return  # ``_go_on_without_upgrade`` follows
        if len(self.pipeline) >= self._limits.pipelined:
            raise _RefusedError("pipelined")
        super().on_headers_complete()
        self._in_head = False
        self._head_fields, self.headers = len(self.headers), []  # what follows are trailers, which nobody reads
        self._count(1)
        self._wait(self._limits.request_seconds)
        self._arrival = Arrival(self.since, self._port.under_way.place(self.address))
        self.scope["state"][_ARRIVAL] = self._arrival
        self.cycle.transport = self._responses  # type: ignore[assignment]
        if self._context.draining:
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        self._streamed -= _CHUNK_OVERHEAD

    def on_body(self, body: bytes) -> None:
        self._pieces += 1
        self._last_piece = body
        self._body_bytes += len(body)
        if self._held is not None:
            self._joined += len(body)
            self._context.joining += len(body)
            if self._joined <= self._limits.join and self._context.joining <= self._limits.join_together:
                self.cycle.body += body  # uvicorn would stop reading at 64 KiB, and wake the application
                return
            self._begin()
        super().on_body(body)

    # A body of several pieces is joined before the application begins: kube-scheduler sends the names of 5,000
    # nodes in two or three, and to begin, stop reading and wake for each takes as long as the response.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self._parsing and cycle.more_body and not self.expect_100_continue:
            self._held = app
        else:
            super()._start_asgi_task(cycle, app)

    def _begin(self) -> None:
        """Let the application begin with what is there."""
        app = self._end_joining()
        if app is not None and not self._refused and not self.cycle.disconnected:
            super()._start_asgi_task(self.cycle, app)

    def _end_joining(self) -> ASGI3Application | None:
        app, self._held = self._held, None
        self._context.joining -= self._joined
        self._joined = 0
        if self._held_timer is not None:
            self._held_timer.cancel()
            self._held_timer = None
        return app

    def on_message_complete(self) -> None:
        self._in_message = False
        if self.parser.should_upgrade():
            return
        if self.headers:  # trailers
            self._bound_head()
        if self._arrival is not None and (self._pieces <= 1 or self._held is not None):
            self._arrival.body = self._last_piece if self._pieces <= 1 else bytes(self.cycle.body)
        self._last_piece = b""
        super().on_message_complete()
        self._begin()

    # What the client gets.

    def _refuse(self, reason: str, problem: object = None) -> None:
        """Read no more. Say so, unless a response is under way: then that one is the last."""
        self._context.refusals.count(reason, problem)
        self._refused = True
        self._end_joining()
        pending = self.cycle is not None and not self.cycle.response_complete
        if pending and not self.cycle.more_body:
            self.cycle.keep_alive = False
        elif pending and (self.pipeline or self.cycle.response_started):
            self.transport.abort()
        else:
            if pending:  # the application may have taken up the request: what it says comes too late
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            status = STATUS_LINE[_STATUS.get(reason, 400)]
            text = f"request refused: {reason}\n".encode()
            head = b"content-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(text)
            self.transport.write(status + head + text)
            self._close_gently()

    def _close_gently(self) -> None:
        """Close once the client has had time to read: closing at once would reset it while it still sends."""
        self._refused = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._wait(self._limits.linger_seconds)
        else:
            self.transport.close()

    def on_response_complete(self) -> None:
        """As uvicorn's, but without a timer for each response: the server checks ``deadline``."""
        if self._responses is not None:
            self._responses.flush()
        self._count(-1)
        self.served += 1
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.cycle.more_body:
            self._close_gently()  # the rest of the body has no reader
            return
        if not self.flow.write_paused:
            self._wait_for_next()

    def _wait_for_next(self) -> None:
        if self._under_way:
            self._wait(self._limits.request_seconds)
        elif self._in_head:
            self._wait(self._limits.head_seconds)
        else:
            self._wait(self._limits.keep_alive_seconds)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait(self._limits.unread_seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._wait_for_next()

    def expired(self, now: float) -> bool:
        """Whether the connection must go. Called again and again until it is gone."""
        if not self._closing and self.transport.is_closing():
            self._closing = True
            self.deadline = min(self.deadline, now + self._limits.closing_seconds)
        return now >= self.deadline

    def _wait(self, seconds: float) -> None:
        self.since = time.monotonic()
        self.deadline = self.since + seconds

    def _count(self, requests: int) -> None:
        self._under_way += requests
        self._port.under_way.add(self.address, requests)


def _reason(error: httptools.HttpParserError) -> str:
    """Why the parser stopped. A function of its own: a frame that keeps its exception is a reference cycle."""
    return str(error.__context__) if isinstance(error.__context__, _RefusedError) else "invalid-http"


def _nothing() -> None:
    """Nobody waits for this response."""
