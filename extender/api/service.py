# SPDX-License-Identifier: Apache-2.0
"""What the extender's HTTP side serves, built once and passed as one typed object.

Enters: the cluster state, its feed and the policy. Leaves: the two verbs, explanations, metrics and readiness.
The composition root (``extender.run``) builds one; routes and server use it. Knows nothing of FastAPI or sockets.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

from prometheus_client.registry import Collector
from starlette.types import ASGIApp

from extender.api.answers import Verbs
from extender.api.body import BodyReader
from extender.api.explainer import Explainer
from extender.api.fast_path import FastPath, Refuser
from extender.api.metrics import Metrics, ServerFigures
from extender.cluster.feed import Feed, outdated
from extender.cluster.state import ClusterState
from extender.page.app import Page
from extender.page.decisions import Recorder
from extender.page.explaining import Explaining
from extender.page.metrics import PageCollector
from extender.placement.policy import Policy


class Service:
    """See the module."""

    def __init__(
        self, state: ClusterState, feed: Feed, policy: Policy, *, collectors: Iterable[Collector] = (),
        figures: ServerFigures | None = None, bodies: BodyReader | None = None, page: bool = False,
    ) -> None:  # fmt: skip
        """``collectors``: further metrics; ``figures``: what the server counts and knows; ``page``: whether there
        is a live page."""
        self.feed, self.bodies = feed, bodies or BodyReader()
        self.metrics = Metrics(state, feed.by_resource, figures or ServerFigures())
        for collector in collectors:
            self.metrics.registry.register(collector)
        recorder = Recorder(policy.shadow) if page else None
        self.verbs = Verbs(state, policy, self.metrics, recorder=recorder)
        self.explainer = Explainer(state, policy, self.verbs.count_sent)
        self.page: Page | None = None
        """The live page, for the metrics port."""
        if recorder is not None:
            explaining = Explaining(self.explainer.known, self.verbs.count_sent)
            self.page = Page(state, recorder, self.verbs.shadow, explaining)
        if self.page is not None and recorder is not None:
            self.metrics.registry.register(PageCollector(self.page, recorder))
        self.metrics.show_node_failures(lambda: {"view": state.view_failures, "verdict": self.verbs.node_failures})
        if self.verbs.shadow is not None:
            self.metrics.show(self.verbs.shadow)
        self.refuser = Refuser(self.metrics)
        self._max_in_flight, self._leaving = policy.max_in_flight, False

    def fast_path(self, app: ASGIApp) -> FastPath:
        """The two verbs in front of ``app``."""
        return FastPath(
            app, self.verbs, self.metrics,
            bodies=self.bodies, refuser=self.refuser, max_in_flight=self._max_in_flight,
        )  # fmt: skip

    @asynccontextmanager
    async def lifespan(self, _app: ASGIApp) -> AsyncIterator[None]:
        """The feed runs meanwhile."""
        self.feed.start()
        try:
            async with self.page.running() if self.page is not None else nullcontext():
                yield
        finally:
            self.feed.stop()

    @contextmanager
    def time(self, verb: str) -> Iterator[None]:
        """Observe how long a response took, unless it failed."""
        began = time.monotonic()
        yield
        self.metrics.seconds.labels(verb).observe(time.monotonic() - began)

    def leave(self) -> None:
        """Report not ready from now on: the process is about to end."""
        self._leaving = True

    @property
    def health(self) -> str:
        """``ok``, and one line for each collection of which the extender knows an old state only."""
        old = outdated(self.feed.by_resource)
        lines = [f"{name}: nothing heard from the API server for {age:.0f} s" for name, age in old.items()]
        return "\n".join(["ok", *lines])

    @property
    def not_ready(self) -> str | None:
        """Why the extender is not ready; None when it is."""
        if self._leaving:
            return "about to end"
        if missing := self.feed.waiting_for:
            return f"waiting for the first list of {', '.join(missing)}"
        return None
