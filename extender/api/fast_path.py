# SPDX-License-Identifier: Apache-2.0
"""The ASGI function in front of FastAPI that answers ``POST /filter`` and ``POST /prioritize``.

Enters: every request. Leaves: the responses of the two verbs; every other request goes on to the application.
FastAPI describes the verbs in its OpenAPI document, and routing, dependencies and response models would take as
long as the response itself. Guarantees: a request beyond those that may be under way is not decided but fails
open; an unusable request gets the response that its verb has for it, and is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from extender.api import protocol
from extender.api.answers import Act, Verbs
from extender.api.body import BodyReader
from extender.api.idle_time import IdleTime
from extender.api.metrics import Metrics
from extender.api.protocol import ArgsError, ArgsReason
from extender.serving.http_protocol import Arrival
from extender.serving.limits import RateLimitedLog

_STATUS: Final = {ArgsReason.TOO_LARGE: 413, ArgsReason.TOO_SLOW: 408, ArgsReason.TOO_MANY: 503}
_log = structlog.get_logger()


class Reply(NamedTuple):
    """A response in JSON."""

    status: int
    body: bytes
    close: bool = False
    """The last of its connection."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        found = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(self.body))]
        return [*found, (b"connection", b"close")] if self.close else found


class Verb(NamedTuple):
    """One verb of kube-scheduler's, and the ways to answer it."""

    name: str
    act: Act
    shed: Act
    """For a request beyond those that may be under way."""
    malformed: Callable[[ArgsError], Reply]


class Refuser:
    """Counts unusable requests and answers them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics, self._limit = metrics, RateLimitedLog()

    def refuse(self, verb: str, error: ArgsError, malformed: Callable[[ArgsError], Reply]) -> Reply:
        status = _STATUS.get(error.reason)
        self._metrics.requests.labels(verb, error.reason.value if status else "malformed").inc()
        self._metrics.malformed.labels(verb, error.reason.value).inc()
        if self._limit.due(f"{verb} {error.reason}"):
            _log.warning("request not usable", verb=verb, reason=error.reason.value, problem=str(error))
        if status:  # ends the connection instead of reading the rest of a body that is refused
            return Reply(status, protocol.encode_filter_error(str(error)), close=True)
        return malformed(error)

    def gone(self, verb: str) -> None:
        """Count a client that left before its body was there."""
        self._metrics.requests.labels(verb, "gone").inc()


class FastPath:
    """See the module."""

    def __init__(
        self, app: ASGIApp, verbs: Verbs, metrics: Metrics, *,
        bodies: BodyReader, refuser: Refuser, max_in_flight: int,
    ) -> None:  # fmt: skip
        self._app, self._verbs, self._bodies, self._refuser, self._max = app, verbs, bodies, refuser, max_in_flight
        self._idle = IdleTime(verbs.work_ahead)
        self._by_path = {
            "/filter": Verb("filter", verbs.filter, verbs.shed_filter, _filter_error),
            "/prioritize": Verb("prioritize", verbs.prioritize, verbs.shed_prioritize, _no_scores),
        }
        self._seconds = {verb.name: metrics.seconds.labels(verb.name) for verb in self._by_path.values()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        verb = self._by_path.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if verb is None:
            await self._app(scope, receive, send)
            return
        arrival = Arrival.of(scope)
        try:
            body = arrival.body  # there already, and short: it came in one piece
            reply = self._decide(verb, await self._bodies.read(scope, receive) if body is None else body, arrival)
        except ArgsError as error:
            reply = self._refuser.refuse(verb.name, error, verb.malformed)
        except ClientDisconnect:
            self._refuser.gone(verb.name)
            return
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})
        self._verbs.count_sent()
        self._idle.response_sent()

    def _decide(self, verb: Verb, body: bytes, arrival: Arrival) -> Reply:
        """Raises ArgsError."""
        act = verb.act if arrival.under_way <= self._max else verb.shed
        reply = Reply(200, act(self._verbs.read(body), arrival.at))
        self._seconds[verb.name].observe(time.monotonic() - arrival.at)
        return reply


def _filter_error(error: ArgsError) -> Reply:
    """A filter's failure, in kube-scheduler's own way."""
    return Reply(200, protocol.encode_filter_error(f"not an ExtenderArgs: {error}"))


def _no_scores(_error: ArgsError) -> Reply:
    """prioritize has no way to say that it failed: without scores, all nodes count alike."""
    return Reply(200, b"[]")
