# SPDX-License-Identifier: Apache-2.0
"""How much memory the live page takes in a browser that stays open, over a cluster that goes on changing.

``python -m lab.bench.extender.page_replay [--minutes 60]``. The page's own board, stream and files are served over
a computed cluster. Its time passes only when the browser's driver (``lab/page/memory.mjs``) asks for it. So an
hour takes minutes. Every second of it is there: footprints of nodes that are rewritten, binds, decisions, nodes
that go and come back. The page's timers run by the same seconds. A node's panel is open.

Read are, after a warm-up and at the end, with garbage collected: bytes of the JavaScript heap, elements and
listeners.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope, Send

from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.offline import StateFeed
from extender.cluster.state import ClusterState
from extender.model.pods import decode_pod
from extender.page.app import Page
from extender.page.board import Board
from extender.placement.policy import Policy
from extender.serving.server import Server, listen
from lab.bench.extender.cluster import node_name, pod_object
from lab.bench.extender.page_cluster import computed, node_info
from lab.errors import LabError
from lab.page import tools

REWRITES: Final = 20
"""Nodes that write their footprint in a second: of 5,000, each every four minutes."""
BINDS: Final = 5
ASKS: Final = 3
"""Decisions in a second."""
_AWAY_SECONDS: Final = 60
"""So long one node in turn is gone."""
_CANDIDATES: Final = 100
_BOUND: Final = 200
"""Pods that are bound at a time."""
_PATH: Final = "/page/replay"
_MOST_SECONDS: Final = 60
"""Of one request."""


class Cluster:
    """A computed cluster whose seconds pass one by one."""

    def __init__(self, state: ClusterState, service: Service, nodes: int, pods: int) -> None:
        self._state, self._service, self._nodes, self._pods = state, service, nodes, pods
        self._draw, self.seconds, self._bound, self._asked = random.Random(1), 0, 0, 0

    def clock(self) -> float:
        return float(self.seconds)

    def pass_second(self) -> None:
        """What happens in one."""
        self.seconds += 1
        draw, state = self._draw, self._state
        away = self.seconds // _AWAY_SECONDS % self._nodes
        if self.seconds % _AWAY_SECONDS == 0:
            state.put_nodes([node_info((away - 1) % self._nodes, self._pods)])
            state.drop_node(node_name(away))
        some = [number for number in draw.sample(range(self._nodes), REWRITES) if number != away]
        state.put_nodes([node_info(number, self._pods, draw.uniform(0.5, 1.0)) for number in some])
        for _ in range(BINDS):
            self._bound += 1
            node = node_name(draw.randrange(self._nodes))
            state.put_pod(decode_pod(pod_object(self._bound, uid=f"bound-{self._bound}", node=node)))
            state.drop_pod(f"bound-{self._bound - _BOUND}")
        while state.apply():
            pass
        for _ in range(ASKS):
            self._ask()

    def _ask(self) -> None:
        self._asked += 1
        names = [node_name(number) for number in self._draw.sample(range(self._nodes), _CANDIDATES)]
        pod, verbs = pod_object(self._asked, uid=f"asked-{self._asked}"), self._service.verbs
        for verb in (verbs.filter, verbs.prioritize):
            body = orjson.dumps({"Pod": pod, "NodeNames": names})
            told = orjson.loads(verb(verbs.read(body), time.monotonic()))
            if isinstance(told, dict):
                names = told["NodeNames"]


class ReplayedPage(Page):
    """The page, with a path that lets seconds of its cluster pass."""

    def __init__(self, state: ClusterState, cluster: Cluster, before: Page) -> None:
        super().__init__(state, before.board.recorder)
        self._cluster, self._sampled = cluster, 0
        self._board = Board(state, before.board.recorder, clock=cluster.clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """No time passes by itself."""
        await self.board.sample()
        await self.board.frame()
        yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != _PATH:
            await super().__call__(scope, receive, send)
            return
        seconds = int(parse_qs(scope["query_string"].decode())["seconds"][0])
        for _ in range(min(seconds, _MOST_SECONDS)):
            await self._second()
        board = self.board
        told = {"seconds": self._cluster.seconds, "merged": board.merged, "reloads": board.reloads}
        body = orjson.dumps(told)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def _second(self) -> None:
        self._cluster.pass_second()
        board = self.board
        while board.recorder.digest():
            pass
        if self._cluster.seconds // 30 > self._sampled:  # a step of the history
            self._sampled = self._cluster.seconds // 30
            await board.sample()
        await board.frame()
        await asyncio.sleep(0.002)  # readers take the frame


@contextmanager
def served(nodes: int, pods: int) -> Iterator[str]:
    """The address, with a slash at its end."""
    state = computed(nodes, pods)
    service = Service(state, StateFeed(), Policy(deadline=60.0), page=True)
    assert service.page is not None  # noqa: S101 - there is one, as asked
    service.page = ReplayedPage(state, Cluster(state, service, nodes, pods), service.page)
    with listen("127.0.0.1", 0) as main_port, listen("127.0.0.1", 0) as page_port:
        server = Server(create_app(service), metrics_port=page_port, page=service.page)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([main_port])))
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.05)
            yield f"http://127.0.0.1:{page_port.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(60)


def replayed(nodes: int, pods: int, warm: int, seconds: int) -> dict[str, Any]:
    """What ``memory.mjs`` read. Raises LabError."""
    with served(nodes, pods) as url:
        return tools.memory(url, warm, seconds)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=10, help="measured pods per node")
    parser.add_argument("--minutes", type=float, default=60.0, help="that are replayed after the warm-up")
    parser.add_argument("--warm", type=float, default=5.0, help="minutes before the first reading")
    options = parser.parse_args(argv)
    began = time.monotonic()
    try:
        found = replayed(options.nodes, options.pods, round(60 * options.warm), round(60 * options.minutes))
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for one in found["readings"]:
        print(
            f"after {one['seconds'] / 60:g} min: heap {one['heap'] / 1e6:.2f} MB, {one['elements']} elements, "
            f"{one['listeners']} listeners, {one['tiles']} tiles, {one['decisions']} decisions"
        )
    first, last = found["readings"]
    print(f"heap, last over first: {last['heap'] / first['heap']:.3f}; events {found['events']}")
    print(f"replay: {found['replayed']}; problems: {found['problems'] or 'none'}")
    print(f"took {time.monotonic() - began:.0f} s; load of the machine: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
