# SPDX-License-Identifier: Apache-2.0
"""Questions that arrive whole are answered without ASGI: nothing is left to wait for, and the way through scopes,
tasks and messages takes longer than most answers.

Enters: HTTP as uvicorn's parser reads it, and by path what answers a body at once. Leaves: the same answers as the
application gives. Guarantees: whatever is not a plain POST that is there whole within moments goes the long way,
where every bound on bodies and their time holds; answers of a connection leave in the order of its questions.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from extender.serving.connections import KEEP_ALIVE_SECONDS, Arrival, PatientProtocol, Reply, ShortWay, UnderWay

GRACE_SECONDS: Final = 0.02
"""For the rest of a body whose beginning is there; who sends it slower than that goes the long way."""
MAX_HELD: Final = 2**18
"""Bytes of a body held back so: those of 5,000 names."""
MAX_HELD_TOGETHER: Final = 16 * 2**20
"""Over all connections."""

_log = structlog.get_logger()


@dataclass(slots=True)
class _Held:
    """A question of which the headers are there."""

    way: ShortWay
    arrival: Arrival
    size: int = 0
    parts: list[bytes] = field(default_factory=list)


class ExpressProtocol(PatientProtocol):
    """See the module."""

    short_ways: Mapping[bytes, ShortWay] = {}
    """By path as it stands in the request."""
    _held: _Held | None = None
    _grace: TimerHandle | None = None
    _unanswered = 0
    """Questions that are there whole."""
    _leaving = False

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._held is not None and self._grace is None:
            self._grace = self.loop.call_later(GRACE_SECONDS, self._take_long_way)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        super().connection_lost(exc)

    def _begin(self) -> None:
        if (way := self._short_way()) is None:
            super()._begin()
        else:
            self._held = _Held(way, self._arrived())

    def _short_way(self) -> ShortWay | None:
        """What answers this question without the application, if anything does."""
        way, parser = self.short_ways.get(self.url), self.parser
        if way is None or self.expect_100_continue or self.flow.write_paused:
            return None
        if self._goes_long_way():
            return None  # and is to be answered before
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        return None if parser.should_upgrade() or not parser.should_keep_alive() else way

    def _goes_long_way(self) -> bool:
        """A question of this connection is with the application."""
        return self.cycle is not None and not self.cycle.response_complete

    def on_body(self, body: bytes) -> None:
        if (held := self._held) is None:
            super().on_body(body)
            return
        held.parts.append(body)
        held.size += len(body)
        self.under_way.held += len(body)
        if held.size > MAX_HELD or self.under_way.held > MAX_HELD_TOGETHER:
            self._take_long_way()

    def on_message_complete(self) -> None:
        if (held := self._let_go()) is None:
            super().on_message_complete()
            return
        self._unanswered += 1
        # Not at once: whatever else has arrived by now is read first, so that a crowd is seen as one.
        self.loop.call_soon(self._answer, held)

    def _let_go(self) -> _Held | None:
        held, self._held = self._held, None
        if held is not None:
            self.under_way.held -= held.size
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
        return held

    def _take_long_way(self) -> None:
        if (held := self._let_go()) is not None:
            self._admit(held.arrival)
            for part in held.parts:
                super().on_body(part)

    def _answer(self, held: _Held) -> None:
        self._unanswered -= 1
        if self.transport.is_closing():
            return
        try:
            reply = held.way.answer(b"".join(held.parts), held.arrival)
        except Exception:
            _log.exception("a question has no answer")
            reply = Reply(500, b'{"Error":"internal error"}', close=True)
        last = self._leaving and not self._unanswered and not self._goes_long_way()
        close = reply.close or self.draining() or last
        self._count(-1)
        self.transport.write(self._written(reply, close))
        self.server_state.total_requests += 1
        if close:
            self.transport.close()
        elif self._timer is None and self._held is None:
            self._wait(KEEP_ALIVE_SECONDS)
        held.way.afterwards()

    def _written(self, reply: Reply, close: bool) -> bytes:
        always = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        last = b"connection: close\r\n" if close else b""
        head = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(reply.body)
        return b"".join((STATUS_LINE[reply.status], always, head, last, b"\r\n", reply.body))

    def shutdown(self) -> None:
        self._take_long_way()
        self._leaving = True
        if self._goes_long_way() or not self._unanswered:
            super().shutdown()


def protocol_maker(server: Any, config: uvicorn.Config | None = None) -> Callable[[], asyncio.Protocol]:
    """Protocols as ``server`` (uvicorn's) makes them, serving the application of ``config`` if there is one."""
    under_way, served = UnderWay(), config or server.config
    short_ways: Mapping[bytes, ShortWay] = getattr(getattr(served.app, "state", None), "short_ways", {})

    def make() -> asyncio.Protocol:
        protocol = ExpressProtocol(
            config=served, server_state=server.server_state, app_state=server.lifespan.state
        )
        protocol.draining, protocol.under_way, protocol.short_ways = server.draining, under_way, short_ways
        return protocol

    return make
