# SPDX-License-Identifier: Apache-2.0
"""The HTTP face: kube-scheduler's two verbs, health, metrics, explanations.

Enters: requests. Leaves: answers made of the current snapshot; handlers do no I/O besides reading the body
(``extender.api.load_shedding``). What the server itself can answer (``extender.serving.fast_path``) is answered
by the same functions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import PlainTextResponse

from extender.api import protocol
from extender.api.explain_request import MANIFEST
from extender.api.explainer import BusyError
from extender.api.load_shedding import Verb, filter_error, no_scores
from extender.api.protocol import ExtenderArgs, ExtenderFilterResult, HostPriority
from extender.api.service import Service
from extender.placement.explanation import Explanation
from extender.placement.shadow import ShadowReport

_JSON: Final = "application/json"
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


def create_app(service: Service) -> FastAPI:
    """The application over ``service``; its feed runs while the application does."""
    feed, verbs, metrics = service.feed, service.verbs, service.metrics
    gate, explainer = service.gate, service.explainer
    filtering = Verb("filter", verbs.filter, verbs.shed_filter, filter_error)
    scoring = Verb("prioritize", verbs.prioritize, verbs.shed_prioritize, no_scores)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        feed.start()
        try:
            yield
        finally:
            feed.stop()

    app = FastAPI(title="Traffic Footprint scheduler extender", lifespan=lifespan)

    @app.post("/filter", response_model=ExtenderFilterResult, openapi_extra=_BODY, responses=_REFUSED)
    async def filter_(request: Request) -> Response:
        """Drop nodes whose link does not suit the pod."""
        return await gate.answer(request, filtering)

    @app.post("/prioritize", response_model=list[HostPriority], openapi_extra=_BODY, responses=_REFUSED)
    async def prioritize(request: Request) -> Response:
        """Score nodes 0-10 by what the pod's placement would cost."""
        return await gate.answer(request, scoring)

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
        problem = service.not_ready
        return Response(problem or "ok", 503 if problem else 200, media_type="text/plain")

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> Response:
        """Counters for Prometheus."""
        verbs.look()
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    app.state.short_ways = {
        b"/filter": gate.short_way(filtering),
        b"/prioritize": gate.short_way(scoring),
    }
    return app
