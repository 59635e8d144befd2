"""The HTTP face: kube-scheduler's two verbs, health, metrics, explanations.

Enters: requests. Leaves: answers made of the current snapshot; handlers do no I/O besides reading the body.
Guarantees: a body is refused as soon as it is known to be too long or to come too slowly; requests beyond those
that can be decided are answered as if we were not there instead of queueing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from extender import protocol
from extender.answers import Act, Verbs
from extender.cluster_state import ClusterState
from extender.connections import Arrival
from extender.explainer import BusyError, Explainer
from extender.explanation import Explanation
from extender.metrics import CertificateFigures, Metrics, WatchCounters
from extender.protocol import ArgsError, ArgsReason, ExtenderArgs, ExtenderFilterResult, HostPriority
from extender.question import MANIFEST
from extender.settings import Policy
from extender.shadow import ShadowReport

BODY_SECONDS: Final = 5.0
"""Time for a body to arrive: ten times what kube-scheduler waits for the whole answer."""

MAX_HELD: Final = 64 * 2**20
"""Bytes of bodies under way: those of 250 requests with 5,000 names. A thousand of the longest would be 8 GB."""

IDLE_SECONDS: Final = 0.001
"""After an answer, how soon idle time counts as such: prioritize follows filter in less."""
FOLLOW_SECONDS: Final = 0.1
"""Between two looks, while nobody asks, at what the cluster's changes left to be worked out again."""
EXPECTED_SECONDS: Final = 60.0
"""After a question, how long further ones are prepared for: a large cluster changes everywhere within a minute.
The first answer after a longer silence takes as long as the very first one."""

_JSON: Final = "application/json"
_CLOSE: Final = {"Connection": "close"}
"""Ends the connection instead of reading the rest of a body that is refused."""
_CLIENT_CLOSED: Final = 499
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": ExtenderArgs.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}
_QUESTION: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The body of /filter, the same without candidates (all nodes then), or a Pod's manifest.",
        "content": {
            _JSON: {
                "schema": {
                    "anyOf": [
                        ExtenderArgs.model_json_schema(ref_template="#/components/schemas/{model}"),
                        MANIFEST,
                    ]
                }
            }
        },
    }
}


class Problem(BaseModel):
    """Why there is no answer."""

    Error: str


_PROBLEM: Final[dict[str, Any]] = {"model": Problem}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    408: {**_PROBLEM, "description": "The body did not arrive in time"},
    413: {**_PROBLEM, "description": "The body is too long"},
    503: {**_PROBLEM, "description": "Too many bodies are being read"},
}
_STATUS: Final = {ArgsReason.TOO_LARGE: 413, ArgsReason.TOO_SLOW: 408, ArgsReason.TOO_MANY: 503}
_log = structlog.get_logger()


class Feed(Protocol):
    """Where the snapshot comes from (``extender.watches``, ``extender.offline``)."""

    by_resource: dict[str, Any]

    @property
    def waiting_for(self) -> list[str]: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


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
    """JSON that is bytes already, with nothing else to be said in headers."""

    def __init__(self, body: bytes) -> None:
        self.status_code, self.body, self.background = 200, body, None
        self.raw_headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]


class Gate:
    """Reads a request, lets a verb answer it, and says what was wrong in the way that verb can say it."""

    def __init__(
        self, metrics: Metrics, verbs: Verbs, max_in_flight: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics, self._verbs, self._max, self._clock = metrics, verbs, max_in_flight, clock
        self._seconds = {verb: metrics.seconds.labels(verb) for verb in ("filter", "prioritize", "explain")}
        self._in_flight = 0
        self._room = Room(MAX_HELD)
        self._ahead: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._expected_until = 0.0

    async def answer(
        self, request: Request, verb: str, act: Act, shed: Act, malformed: Callable[[ArgsError], Response]
    ) -> Response:
        self._in_flight += 1
        arrived, under_way = Arrival.of(request.scope) or (self._clock(), self._in_flight)
        chosen = act if under_way <= self._max else shed
        try:
            body = await read_body(request, protocol.MAX_BODY, BODY_SECONDS, self._room)
            answer = chosen(self._verbs.read(body), arrived)
            self._seconds[verb].observe(self._clock() - arrived)
            return Answer(answer)
        except ArgsError as error:
            return self._refuse(verb, error, malformed)
        except ClientDisconnect:
            self._metrics.requests.labels(verb, "gone").inc()
            return Response(status_code=_CLIENT_CLOSED)
        finally:
            self._in_flight -= 1
            loop = asyncio.get_running_loop()
            loop.call_soon(self._verbs.count_sent)  # while the client reads the answer
            self._expected_until = arrived + EXPECTED_SECONDS
            if self._ahead is None:
                self._ahead = loop.call_later(IDLE_SECONDS, self._use_idle_time)

    def _use_idle_time(self) -> None:
        self._ahead = None
        loop = asyncio.get_running_loop()
        if not self._in_flight and self._verbs.work_ahead():
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
            return self._refuse("explain", error, _bad_request)
        except BusyError as error:
            return self.busy(error)
        except ClientDisconnect:
            self._metrics.requests.labels("explain", "gone").inc()
            return Response(status_code=_CLIENT_CLOSED)
        self._seconds["explain"].observe(self._clock() - arrived)
        return Answer(told)

    def busy(self, error: BusyError) -> Response:
        """One explanation too many."""
        self._metrics.requests.labels("explain", "shed").inc()
        return Response(protocol.encode_filter_error(str(error)), 503, _CLOSE, media_type=_JSON)

    def _refuse(self, verb: str, error: ArgsError, malformed: Callable[[ArgsError], Response]) -> Response:
        status = _STATUS.get(error.reason)
        self._metrics.requests.labels(verb, error.reason.value if status else "malformed").inc()
        self._metrics.malformed.labels(verb, error.reason.value).inc()
        _log.warning("request passed over", verb=verb, reason=error.reason.value, problem=str(error))
        if status:
            return Response(protocol.encode_filter_error(str(error)), status, _CLOSE, media_type=_JSON)
        return malformed(error)


def _filter_error(error: ArgsError) -> Response:
    return Response(protocol.encode_filter_error(f"not an ExtenderArgs: {error}"), media_type=_JSON)


def _no_scores(_error: ArgsError) -> Response:
    return Response(b"[]", media_type=_JSON)


def _bad_request(error: ArgsError) -> Response:
    return Response(protocol.encode_filter_error(str(error)), status_code=400, media_type=_JSON)


class _Extender(FastAPI):
    """The application, with its verbs answered before anything else is looked at: routing, dependencies and
    middlewares take longer than most answers. The routes stay, for the description of the API."""

    verbs: dict[str, Callable[[Request], Awaitable[Response]]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        verb = self.verbs.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if verb is None:
            await super().__call__(scope, receive, send)
        else:
            await (await verb(Request(scope, receive)))(scope, receive, send)


def create_app(
    state: ClusterState, feed: Feed, policy: Policy, refused: Mapping[str, int] | None = None,
    certificates: CertificateFigures | None = None,
) -> FastAPI:  # fmt: skip
    """The application over ``state``; ``feed`` runs while the application does.

    ``refused`` are connections not let in, by reason; ``certificates`` what is counted and known of them.
    ``app.state.leave()`` makes it call itself not ready, ``app.state.answered()`` says what it has answered.
    """
    watches: dict[str, WatchCounters] = feed.by_resource
    metrics = Metrics(state, watches, refused, certificates)
    for collector in getattr(feed, "collectors", ()):  # what the feed counts besides its watches
        metrics.registry.register(collector)
    verbs = Verbs(state, policy, metrics)
    if verbs.shadow is not None:
        metrics.show(verbs.shadow)
    explainer = Explainer(state, policy, verbs.count_sent)
    gate = Gate(metrics, verbs, policy.max_in_flight)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feed.start()
        try:
            yield
        finally:
            feed.stop()

    leaving: list[bool] = []
    app = _Extender(title="Traffic Footprint scheduler extender", lifespan=lifespan)

    app.state.leave = lambda: leaving.append(True)
    app.state.answered = metrics.answered

    @app.post("/filter", response_model=ExtenderFilterResult, openapi_extra=_BODY, responses=_REFUSED)
    async def filter_(request: Request) -> Response:
        """Drop nodes whose link does not suit the pod."""
        return await gate.answer(request, "filter", verbs.filter, verbs.shed_filter, _filter_error)

    @app.post("/prioritize", response_model=list[HostPriority], openapi_extra=_BODY, responses=_REFUSED)
    async def prioritize(request: Request) -> Response:
        """Score nodes 0-10 by what the pod's placement would cost."""
        return await gate.answer(request, "prioritize", verbs.prioritize, verbs.shed_prioritize, _no_scores)

    @app.post(
        "/explain", response_model=Explanation, openapi_extra=_QUESTION,
        responses={**_REFUSED, 400: _PROBLEM},
    )  # fmt: skip
    async def explain_(request: Request) -> Response:
        """Say what filter and prioritize would answer about a pod that is not placed yet, and why."""
        return await gate.explained(request, explainer)

    @app.get("/explain", response_model=Explanation, responses={404: _PROBLEM, 503: _PROBLEM})
    async def explain_known(namespace: str, pod: str) -> Response:
        """The same for a pod that exists, by its name, over all nodes: as if it had not been placed yet."""
        try:
            async with explainer.room():
                told = await explainer.about_known(namespace, pod)
        except BusyError as error:
            return gate.busy(error)
        if told is None:
            problem = f"no pod {namespace}/{pod} seen; POST its manifest instead"
            return Response(protocol.encode_filter_error(problem), 404, media_type=_JSON)
        return Response(told, media_type=_JSON)

    @app.get("/shadow", response_model=ShadowReport, responses={404: _PROBLEM})
    async def shadow() -> Response:
        """What acting would have done, while --shadow only watches."""
        if verbs.shadow is None:
            return Response(protocol.encode_filter_error("not in shadow mode"), 404, media_type=_JSON)
        verbs.look()
        return Response(orjson.dumps(verbs.shadow.report()), media_type=_JSON)

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> Response:
        """The process answers."""
        return Response("ok", media_type="text/plain")

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: {"content": {"text/plain": {}}}})
    async def readyz() -> Response:
        """Every watched collection was listed once, and the process is not about to end."""
        if leaving:
            return Response("about to end", 503, media_type="text/plain")
        if missing := feed.waiting_for:
            return Response(f"waiting for the first list of {', '.join(missing)}", 503, media_type="text/plain")
        return Response("ok", media_type="text/plain")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Counters for Prometheus."""
        verbs.look()
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    app.verbs = {"/filter": filter_, "/prioritize": prioritize}
    return app
