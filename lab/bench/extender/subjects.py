# SPDX-License-Identifier: Apache-2.0
"""The programs that ``lab.bench.extender.answers`` measures. Each is a process that prints its port first.

``python -m lab.bench.extender.subjects ours|plain``. ``ours`` is the extender over a computed cluster, with binds
and rewritten footprints arriving meanwhile. ``plain`` is the least that FastAPI with pydantic models does. A third
program, in Go, is in ``go-extender/``.
"""

from __future__ import annotations

import argparse
import itertools
import threading
from dataclasses import replace
from typing import Any, Final

from fastapi import FastAPI

from extender.api.protocol import ExtenderArgs, ExtenderFilterResult, HostPriority
from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.cluster.watches import decode_node
from extender.model.pods import decode_pod
from extender.placement.policy import Policy
from extender.serving.server import Server, listen
from footprint.codec import encode
from footprint.models import NodeFootprint
from lab.bench.extender.cluster import footprint, node_name, node_object, pod_object

REASON = "elephants use 90 percent of the link (3 pods, 9.1 Gbit/s of 10 Gbit/s)"

_REWRITING: Final = 500
"""Nodes that write footprints. Enough that a node's writes stay apart; few enough to prepare beforehand."""


class Churn:
    """Changes of the cluster. ``rate`` times a second a pod is bound and another ends; ``rewrites`` times a second
    a node writes its footprint."""

    def __init__(self, state: ClusterState, nodes: int, pods: int, rate: float, rewrites: float) -> None:
        self._state, self._nodes, self._rate, self._rewrites = state, nodes, rate, rewrites
        self._stop = threading.Event()
        self._writes = _rewritten(nodes, pods) if rewrites > 0 else []
        self.by_resource: dict[str, Any] = {}
        self.waiting_for: list[str] = []

    def start(self) -> None:
        threading.Thread(target=self._state.run, args=(self._stop,), daemon=True).start()
        if self._rate > 0:
            threading.Thread(target=self._bind, daemon=True).start()
        if self._rewrites > 0:
            threading.Thread(target=self._rewrite, daemon=True).start()

    def stop(self) -> None:
        self._stop.set()

    def _bind(self) -> None:
        number = 0
        while not self._stop.wait(1 / self._rate):
            uid, node = f"churn-{number}", node_name(number * 7 % self._nodes)
            self._state.put_pod(decode_pod(pod_object(number, uid=uid, node=node)))
            self._state.drop_pod(f"churn-{number - 200}")
            number += 1

    def _rewrite(self) -> None:
        for written in itertools.cycle(self._writes):
            if self._stop.wait(1 / self._rewrites):
                return
            self._state.put_nodes([written])


def _rewritten(nodes: int, pods: int) -> list[NodeInfo]:
    """Footprints that some nodes write in turn. The rates of every pod differ from the previous write."""
    some = range(0, nodes, max(1, nodes // _REWRITING))
    return [NodeInfo(node_name(node), encode(_moved(node, pods, by)).text) for by in (1.2, 1.0) for node in some]


def _moved(node: int, pods: int, by: float) -> NodeFootprint:
    before = footprint(node, pods)
    moved = tuple(replace(pod, etx=pod.etx * by, tx=pod.tx * by, nf=pod.nf * by) for pod in before.pods)
    return replace(before, pods=moved)


def ours(nodes: int, pods: int, churn: float, rewrites: float) -> FastAPI:
    state = ClusterState(stale_after=1e9)
    state.put_nodes([decode_node(node_object(number, pods)) for number in range(nodes)])
    for number in range(nodes):
        state.put_lease(LeaseInfo(node_name(number), "1"))
    state.apply()
    return create_app(Service(state, Churn(state, nodes, pods, churn, rewrites), Policy()))


def plain(reject_every: int) -> FastAPI:
    """An extender that rejects every ``reject_every``-th node."""
    app = FastAPI()

    @app.post("/filter")
    def filter_(args: ExtenderArgs) -> ExtenderFilterResult:
        names = args.NodeNames or []
        rejected = dict.fromkeys(names[::reject_every], REASON)
        passed = [name for name in names if name not in rejected]
        return ExtenderFilterResult(NodeNames=passed, FailedAndUnresolvableNodes=rejected)

    @app.post("/prioritize")
    def prioritize(args: ExtenderArgs) -> list[HostPriority]:
        return [HostPriority(Host=name, Score=index % 11) for index, name in enumerate(args.NodeNames or [])]

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("subject", choices=("ours", "plain"))
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30)
    parser.add_argument("--churn", type=float, default=0.0, help="binds per second")
    parser.add_argument("--rewrites", type=float, default=0.0, help="footprints written per second")
    parser.add_argument("--reject-every", type=int, default=2, help="the plain one rejects one of so many nodes")
    options = parser.parse_args()
    app = (
        plain(options.reject_every)
        if options.subject == "plain"
        else ours(options.nodes, options.pods, options.churn, options.rewrites)
    )
    with listen("127.0.0.1", 0) as listener:
        print(listener.getsockname()[1], flush=True)
        Server(app).run(sockets=[listener])


if __name__ == "__main__":
    main()
