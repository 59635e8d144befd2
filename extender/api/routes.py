# SPDX-License-Identifier: Apache-2.0
"""The FastAPI application: explanations, health, metrics, and the description of kube-scheduler's two verbs.

Enters: requests that ``extender.api.fast_path`` did not answer. Leaves: responses made of the current snapshot.
Handlers do no I/O besides reading the body.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from extender.api.explain_request import MANIFEST
from extender.api.explainer import BusyError
from extender.api.fast_path import Reply
from extender.api.protocol import ArgsError, ExtenderArgs, ExtenderFilterResult, HostPriority, encode_filter_error
from extender.api.service import Service
from extender.placement.explanation import Explanation
from extender.placement.shadow import ShadowReport

_CLIENT_CLOSED: Final = 499
_JSON: Final = "application/json"
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            _JSON: {"schema": ExtenderArgs.model_json_schema(ref_template="#/components/schemas/{model}")}
        },
    }
}
_EXPLAIN_BODY: Final[dict[str, Any]] = {
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


class Application(FastAPI):
    """FastAPI behind ``extender.api.fast_path``."""

    def __init__(self, service: Service) -> None:
        super().__init__(title="Traffic Footprint scheduler extender", lifespan=service.lifespan)
        self._fast_path = service.fast_path(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._fast_path(scope, receive, send)


def create_app(service: Service) -> Application:
    """The application over ``service``; its feed runs while the application does."""
    app = Application(service)
    _describe_verbs(app)
    _add_explanations(app, service)
    _add_pages(app, service)
    return app


def _describe_verbs(app: FastAPI) -> None:
    """The two verbs for the OpenAPI document; ``extender.api.fast_path`` answers before FastAPI sees them."""

    @app.post("/filter", response_model=ExtenderFilterResult, openapi_extra=_BODY, responses=_REFUSED)
    async def filter_() -> Response:
        """Drop nodes whose link does not suit the pod."""
        raise NotImplementedError

    @app.post("/prioritize", response_model=list[HostPriority], openapi_extra=_BODY, responses=_REFUSED)
    async def prioritize() -> Response:
        """Score nodes 0-10 by what the pod's placement would cost."""
        raise NotImplementedError


def _add_explanations(app: FastAPI, service: Service) -> None:
    explainer = service.explainer

    @app.post(
        "/explain", response_model=Explanation, openapi_extra=_EXPLAIN_BODY,
        responses={**_REFUSED, 400: _PROBLEM},
    )  # fmt: skip
    async def explain_(request: Request) -> Response:
        """Say what filter and prioritize would answer about a pod that is not placed yet, and why."""
        try:
            with explainer.place(), service.time("explain"):
                return _json(await explainer.about(await service.bodies.read(request.scope, request.receive)))
        except ArgsError as error:
            reply = service.refuser.refuse("explain", error, _bad_request)
            return Response(reply.body, reply.status, dict(_decoded(reply.headers)))
        except BusyError as error:
            return _busy(service, error)
        except ClientDisconnect:
            service.refuser.gone("explain")
            return Response(status_code=_CLIENT_CLOSED)

    @app.get("/explain", response_model=Explanation, responses={404: _PROBLEM, 503: _PROBLEM})
    async def explain_known(namespace: str, pod: str) -> Response:
        """The same for a pod that exists, by its name, over all nodes: as if it had not been placed yet."""
        try:
            with explainer.place():
                told = await explainer.about_known(namespace, pod)
        except BusyError as error:
            return _busy(service, error)
        if told is None:
            return _json(encode_filter_error(f"no pod {namespace}/{pod} seen; POST its manifest instead"), 404)
        return _json(told)


class _MetricsPage:
    """Renders the page for all requests that wait for it at once: a crowd that asks for it costs one rendering."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._next: asyncio.Task[bytes] | None = None

    async def get(self) -> bytes:
        """The page as of now or a moment later."""
        if self._next is None:
            self._next = asyncio.create_task(self._render())
        return await asyncio.shield(self._next)

    async def _render(self) -> bytes:
        await asyncio.sleep(0)  # kube-scheduler's requests come in between
        self._next = None
        self._service.verbs.look()
        return self._service.metrics.render()


def _add_pages(app: FastAPI, service: Service) -> None:
    verbs, page = service.verbs, _MetricsPage(service)

    @app.get("/shadow", response_model=ShadowReport, responses={404: _PROBLEM})
    async def shadow() -> Response:
        """What acting would have done, while --shadow only watches."""
        if verbs.shadow is None:
            return _json(encode_filter_error("not in shadow mode"), 404)
        verbs.look()
        return _json(orjson.dumps(verbs.shadow.report()))

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> Response:
        """The process answers. Further lines name collections of which it knows an old state only."""
        return Response(service.health, media_type="text/plain")

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: {"content": {"text/plain": {}}}})
    async def readyz() -> Response:
        """Every watched collection was listed once, and the process is not about to end."""
        problem = service.not_ready
        return Response(problem or "ok", 503 if problem else 200, media_type="text/plain")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Counters for Prometheus."""
        return Response(await page.get(), media_type=CONTENT_TYPE_LATEST)


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type=_JSON)


def _busy(service: Service, error: BusyError) -> Response:
    """One explanation too many."""
    service.metrics.requests.labels("explain", "shed").inc()
    return Response(encode_filter_error(str(error)), 503, {"content-type": _JSON, "connection": "close"})


def _bad_request(error: ArgsError) -> Reply:
    return Reply(400, encode_filter_error(str(error)))


def _decoded(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode(), value.decode()) for name, value in headers]
