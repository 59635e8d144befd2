# SPDX-License-Identifier: Apache-2.0
"""A served extender on loopback, in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.offline import StateFeed
from extender.cluster.state import ClusterState
from extender.placement.policy import Policy
from extender.serving.server import Server, listen
from tests.extender.builders import M, annotation, elephant, mouse, patient


def small_state() -> ClusterState:
    """A busy node, one with mice, one free."""
    state = ClusterState(stale_after=180.0)
    for name, pods in {"busy": [elephant("e", tx=180 * M)], "mice": [mouse("m")], "free": []}.items():
        state.put_nodes([NodeInfo(name, annotation(*pods))])
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    return state


@contextmanager
def served(
    policy: Policy | None = None, state: ClusterState | None = None, **options: Any
) -> Iterator[tuple[int, Server]]:
    """Port and server; ended and joined afterwards."""
    service = Service(state or small_state(), StateFeed(), policy or patient())
    server = Server(create_app(service), on_drain=service.leave, **options)
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
