# SPDX-License-Identifier: Apache-2.0
"""Between HTTP and the verbs: bodies read within bounds, and answers to what cannot be decided.

Enters: a request of which the headers are there, or one that is there whole. Leaves: the answer. Guarantees: a
body is refused as soon as it is known to be too long or to come too slowly; requests beyond those that can be
decided are answered as if we were not there instead of queueing; what was wrong is said as the verb can say it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from extender.api import protocol
from extender.api.answers import Act, Verbs
from extender.api.explainer import BusyError, Explainer
from extender.api.metrics import Metrics
from extender.api.protocol import ArgsError, ArgsReason
from extender.serving.connections import Arrival, Reply, ShortWay

BODY_SECONDS: Final = 5.0
"""Time for a body to arrive: ten times what kube-scheduler waits for the whole answer."""

MAX_HELD: Final = 64 * 2**20
"""Bytes of bodies under way: those of 250 requests with 5,000 names. A thousand of the longest would be 8 GB."""

IDLE_SECONDS: Final = 0.001
"""After an answer, how soon idle time counts as such: prioritize follows filter in less."""
FOLLOW_SECONDS: Final = 0.02
"""Between two looks, while nobody asks, at what the cluster's changes left to be worked out again."""
EXPECTED_SECONDS: Final = 60.0
"""After a question, how long further ones are prepared for: a large cluster changes everywhere within a minute.
The first answer after a longer silence takes as long as the very first one."""

_CLIENT_CLOSED: Final = 499
_STATUS: Final = {ArgsReason.TOO_LARGE: 413, ArgsReason.TOO_SLOW: 408, ArgsReason.TOO_MANY: 503}
_log = structlog.get_logger()


def _announced(request: Request) -> int:
    """Bytes that the body will have, as far as the client says."""
    for name, value in request.scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:19])
    return 0


class Room:
    """Bytes for bodies of which a part is there, over all connections."""

    def __init__(self, size: int) -> None:
        self._size, self.held = size, 0

    def take(self, size: int) -> None:
        """Raises ArgsError where there is not so much left."""
        if self.held + size > self._size:
            raise ArgsError(ArgsReason.TOO_MANY, f"requests of {self.held} bytes are waiting already")
        self.held += size

    def give_back(self, size: int) -> None:
        self.held -= size


async def read_body(request: Request, limit: int, seconds: float, room: Room) -> bytes:
    """The request's body. Raises ArgsError once it is known to be longer than ``limit`` bytes, not to fit into
    ``room`` or not to arrive within ``seconds``, ClientDisconnect when it will not arrive."""
    if (announced := _announced(request)) > limit:
        raise ArgsError(ArgsReason.TOO_LARGE, f"{announced} bytes announced, more than {limit}")
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(seconds):
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part, more = message.get("body", b""), message.get("more_body", False)
                room.take(len(part))
                size += len(part)
                if size > limit:
                    raise ArgsError(ArgsReason.TOO_LARGE, f"more than {limit} bytes")
                parts.append(part)
    except TimeoutError:
        raise ArgsError(ArgsReason.TOO_SLOW, f"{size} bytes in {seconds:g} s, and no end") from None
    finally:
        room.give_back(size)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class Answer(Response):
    """A reply as an ASGI response: JSON that is bytes already, with nothing else to be said in headers."""

    def __init__(self, reply: Reply) -> None:
        self.status_code, self.body, self.background = reply.status, reply.body, None
        self.raw_headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(reply.body))]
        if reply.close:
            self.raw_headers.append((b"connection", b"close"))


@dataclass(frozen=True, slots=True)
class Verb:
    """One of the questions, and the ways to answer it."""

    name: str
    act: Act
    shed: Act
    """The answer to one request too many."""
    malformed: Callable[[ArgsError], Reply]
    """The answer to a body that is no question."""


class Gate:
    """Reads a request, lets a verb answer it, and uses the time between requests."""

    def __init__(
        self, metrics: Metrics, verbs: Verbs, max_in_flight: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics, self._verbs, self._max, self._clock = metrics, verbs, max_in_flight, clock
        self._seconds = {verb: metrics.seconds.labels(verb) for verb in ("filter", "prioritize", "explain")}
        self._in_flight = 0
        self._room = Room(MAX_HELD)
        self._ahead: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._answered_at = self._expected_until = 0.0

    def decide(self, verb: Verb, body: bytes, arrival: Arrival) -> Reply:
        """The answer to a request that is there whole, whatever is in it; to be followed by ``afterwards``."""
        chosen = verb.act if arrival.under_way <= self._max else verb.shed
        try:
            reply = Reply(200, chosen(self._verbs.read(body), arrival.at))
        except ArgsError as error:
            return self._refuse(verb.name, error, verb.malformed)
        self._seconds[verb.name].observe(self._clock() - arrival.at)
        return reply

    def afterwards(self) -> None:
        """What can wait until the client reads the answer."""
        self._verbs.count_sent()
        self._answered_at = self._clock()
        self._expected_until = self._answered_at + EXPECTED_SECONDS
        if self._ahead is None:
            self._ahead = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._use_idle_time)

    def short_way(self, verb: Verb) -> ShortWay:
        """``verb`` for requests that are there whole."""
        return ShortWay(partial(self.decide, verb), self.afterwards)

    async def answer(self, request: Request, verb: Verb) -> Response:
        """The same for a request whose body is still to be read."""
        self._in_flight += 1
        arrival = Arrival.of(request.scope) or Arrival(self._clock(), self._in_flight)
        try:
            body = await read_body(request, protocol.MAX_BODY, BODY_SECONDS, self._room)
            return Answer(self.decide(verb, body, arrival))
        except ArgsError as error:
            return Answer(self._refuse(verb.name, error, verb.malformed))
        except ClientDisconnect:
            self._metrics.requests.labels(verb.name, "gone").inc()
            return Response(status_code=_CLIENT_CLOSED)
        finally:
            self._in_flight -= 1
            asyncio.get_running_loop().call_soon(self.afterwards)

    def _use_idle_time(self) -> None:
        self._ahead = None
        loop = asyncio.get_running_loop()
        if (rest := self._answered_at + IDLE_SECONDS - self._clock()) > 0:
            self._ahead = loop.call_later(rest, self._use_idle_time)
        elif not self._in_flight and self._verbs.work_ahead():
            self._ahead = loop.call_later(0, self._use_idle_time)
        elif self._resting is None:
            self._resting = loop.call_later(FOLLOW_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._resting = None
        if self._ahead is None and self._clock() < self._expected_until:
            self._use_idle_time()

    async def explained(self, request: Request, explainer: Explainer) -> Response:
        """Like ``answer``, for people: nothing that kube-scheduler would have to wait for."""
        arrived = self._clock()
        try:
            async with explainer.room():
                body = await read_body(request, protocol.MAX_BODY, BODY_SECONDS, self._room)
                told = await explainer.about(body)
        except ArgsError as error:
            return Answer(self._refuse("explain", error, bad_request))
        except BusyError as error:
            return self.busy(error)
        except ClientDisconnect:
            self._metrics.requests.labels("explain", "gone").inc()
            return Response(status_code=_CLIENT_CLOSED)
        self._seconds["explain"].observe(self._clock() - arrived)
        return Answer(Reply(200, told))

    def busy(self, error: BusyError) -> Response:
        """One explanation too many."""
        self._metrics.requests.labels("explain", "shed").inc()
        return Answer(Reply(503, protocol.encode_filter_error(str(error)), close=True))

    def _refuse(self, verb: str, error: ArgsError, malformed: Callable[[ArgsError], Reply]) -> Reply:
        status = _STATUS.get(error.reason)
        self._metrics.requests.labels(verb, error.reason.value if status else "malformed").inc()
        self._metrics.malformed.labels(verb, error.reason.value).inc()
        _log.warning("request passed over", verb=verb, reason=error.reason.value, problem=str(error))
        if status:  # ends the connection instead of reading the rest of a body that is refused
            return Reply(status, protocol.encode_filter_error(str(error)), close=True)
        return malformed(error)


def filter_error(error: ArgsError) -> Reply:
    """What filter can say of a body that is no question."""
    return Reply(200, protocol.encode_filter_error(f"not an ExtenderArgs: {error}"))


def no_scores(_error: ArgsError) -> Reply:
    """What prioritize can say of it."""
    return Reply(200, b"[]")


def bad_request(error: ArgsError) -> Reply:
    """What an explanation can say of it."""
    return Reply(400, protocol.encode_filter_error(str(error)))
