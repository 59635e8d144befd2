# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.bench.extender.page_cluster``: an extender with the live page over a computed cluster.

Prints two ports, kube-scheduler's and the page's, and serves until SIGTERM. Nodes are spread over zones, some are
not known, and some receive more than they send. Meanwhile pods are bound, footprints are rewritten, and with
``--asks`` pods are asked about as kube-scheduler does.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import threading
import urllib.request
from contextlib import suppress
from dataclasses import replace
from typing import Final

from extender.api.routes import create_app
from extender.api.service import Service
from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.pods import decode_pod
from extender.placement.policy import Policy
from extender.serving.server import Server, listen
from footprint.codec import encode
from footprint.models import LinkRates, NodeFootprint
from lab.bench.extender.cluster import footprint, node_name, pod_object
from lab.bench.extender.subjects import Churn

_ZONES: Final = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
_SILENT_EVERY: Final = 97
"""Of so many nodes, one has no Lease."""
_MIRRORED_EVERY: Final = 3
"""Of so many nodes, one receives what the others send."""
_CANDIDATES: Final = 100
_PENDING: Final = 500
"""Asked pods that are known at a time."""


def zone(number: int) -> str:
    return _ZONES[number % len(_ZONES)]


def said(number: int, pods: int, by: float = 1.0) -> NodeFootprint:
    """What a node publishes, with rates times ``by``."""
    before, draw = footprint(number, pods), random.Random(number)
    shown = tuple(replace(pod, tx=pod.tx * by, etx=pod.etx * by) for pod in before.pods)
    elephants = LinkRates(min(sum(pod.etx for pod in shown), before.cap.tx), 0.0)
    mice = LinkRates(draw.uniform(0.01, 0.1) * before.cap.tx, draw.uniform(0.01, 0.3) * before.cap.rx)
    used = LinkRates(min(elephants.tx + mice.tx, before.cap.tx), mice.rx)
    if number % _MIRRORED_EVERY == 0:
        shown = tuple(replace(pod, tx=pod.rx, rx=pod.tx, etx=pod.erx, erx=pod.etx) for pod in shown)
        elephants, used = LinkRates(0.0, elephants.tx), LinkRates(used.rx, used.tx)
    return replace(before, pods=shown, el=elephants, used=used, up="eth0", by="driver")


class Zoned(Churn):
    """The same changes, of nodes that stay in their zones. Times are rates per second."""

    def __init__(self, state: ClusterState, nodes: int, pods: int, rate: float, rewrites: float) -> None:
        super().__init__(state, nodes, pods, rate, 0.0)
        self._rewrites = rewrites
        some = range(0, nodes, max(1, nodes // 200))
        self._writes = [node_info(number, pods, by) for by in (0.6, 1.0) for number in some] if rewrites else []


def node_info(number: int, pods: int, by: float = 1.0) -> NodeInfo:
    return NodeInfo(node_name(number), encode(said(number, pods, by)).text, zone(number))


def computed(nodes: int, pods: int) -> ClusterState:
    """The cluster, worked out."""
    state = ClusterState(stale_after=1e9)
    state.put_nodes([node_info(number, pods) for number in range(nodes)])
    for number in range(nodes):
        if number % _SILENT_EVERY:
            state.put_lease(LeaseInfo(node_name(number), "1"))
    while state.apply():
        pass
    return state


def ask(state: ClusterState, port: int, nodes: int, rate: float, stop: threading.Event) -> None:
    """Place pods as kube-scheduler does. The watch shows them before."""
    draw = random.Random(1)
    for number in itertools.count():
        if stop.wait(1 / rate):
            return
        names = [node_name(index) for index in draw.sample(range(nodes), min(_CANDIDATES, nodes))]
        pod = pod_object(number, uid=f"asked-{number}")
        state.put_pod(decode_pod(pod))
        state.drop_pod(f"asked-{number - _PENDING}")
        for verb in ("filter", "prioritize"):
            body = json.dumps({"Pod": pod, "NodeNames": names}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/{verb}", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                found = json.load(answer)
            names = found["NodeNames"] if verb == "filter" else names


def asking(state: ClusterState, port: int, nodes: int, rate: float, stop: threading.Event) -> None:
    """The same until the extender is gone."""
    with suppress(OSError):
        ask(state, port, nodes, rate, stop)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=30)
    parser.add_argument("--churn", type=float, default=5.0, help="binds per second")
    parser.add_argument("--rewrites", type=float, default=20.0, help="footprints written per second")
    parser.add_argument("--asks", type=float, default=0.0, help="pods asked about per second")
    parser.add_argument("--port", type=int, default=0, help="of the page; 0: any")
    options = parser.parse_args()
    state = computed(options.nodes, options.pods)
    feed = Zoned(state, options.nodes, options.pods, options.churn, options.rewrites)
    service, stop = Service(state, feed, Policy(), page=True), threading.Event()
    with listen("127.0.0.1", 0) as main_port, listen("127.0.0.1", options.port) as page_port:
        port = main_port.getsockname()[1]
        for opened in (main_port, page_port):
            opened.listen(64)  # who comes early, waits
        print(port, page_port.getsockname()[1], flush=True)
        if options.asks:
            threading.Thread(
                target=asking, args=(state, port, options.nodes, options.asks, stop), daemon=True
            ).start()
        Server(create_app(service), metrics_port=page_port, page=service.page).run(sockets=[main_port])
    stop.set()


if __name__ == "__main__":
    main()
