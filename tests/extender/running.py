# SPDX-License-Identifier: Apache-2.0
"""A served extender on loopback, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from extender.api.body import BodyReader
from extender.api.metrics import ServerFigures
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.offline import StateFeed
from extender.cluster.state import ClusterState
from extender.placement.policy import Policy
from extender.serving.limits import Refusals
from extender.serving.server import Server, listen
from tests.extender.builders import M, annotation, elephant, mouse, patient

PATIENCE_SECONDS = 30.0


def small_state() -> ClusterState:
    """A busy node, one with mice, one free."""
    state = ClusterState(stale_after=180.0)
    for name, pods in {"busy": [elephant("e", tx=180 * M)], "mice": [mouse("m")], "free": []}.items():
        state.put_nodes([NodeInfo(name, annotation(*pods))])
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    return state


def until(condition: Callable[[], bool]) -> None:
    """Wait for it, as long as a busy machine may need."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


@contextmanager
def served(
    policy: Policy | None = None, state: ClusterState | None = None, bodies: BodyReader | None = None,
    page: bool = False, **options: Any,
) -> Iterator[tuple[int, Server]]:  # fmt: skip
    """Port and server; ended and joined afterwards. ``options``: those of ``Server``."""
    refusals = Refusals()
    figures = ServerFigures(refused=refusals.counts)
    service = Service(
        state or small_state(), StateFeed(), policy or patient(), bodies=bodies, figures=figures, page=page
    )
    server = Server(
        create_app(service), on_drain=service.leave, refusals=refusals, page=service.page, **options
    )  # fmt: skip
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
        thread.start()
        try:
            while not server.started:
                thread.join(0.01)
            yield listener.getsockname()[1], server
        finally:
            server.should_exit = True
            thread.join(20)
    assert not thread.is_alive()
