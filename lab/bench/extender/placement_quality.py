# SPDX-License-Identifier: Apache-2.0
"""How well pods end up placed: a simulation of 1,000 nodes with the extender's own scoring.

``python -m lab.bench.extender.placement_quality [--output json]``. Each pod has a typical transfer. Its size is
drawn from the "data mining" flow sizes of a production data centre (A. Greenberg et al., VL2, SIGCOMM 2009, as
tabulated by M. Alizadeh et al., pFabric, SIGCOMM 2013). There, four fifths of the flows are under 10 kB, and most
bytes are in the few flows above 100 MB. A pod with a transfer of at least 10 MiB is an elephant that wants to move
it within a second. A pod with one under 128 KiB is a mouse. The others are ignored.

Pods arrive one by one in random order until the cluster is full. Then a random pod ends and a new one arrives,
until the whole cluster was replaced ``--turnover`` times. A tenth of the nodes are candidates each time, as with
the shipped kube-scheduler configuration (``--candidates 42``: as by kube-scheduler's own rule for 1,000 nodes). Of
the nodes with the best score, the one with the fewest pods is taken, as kube-scheduler's own spreading would.

The extender is compared with:

- random nodes, and spreading alone
- a packing that is computed with all pods known beforehand
- a bound: the best that any placement can reach while links carry as much as they can
- the extender without one term of the cost model, for each term
- the extender with other weights for slowed elephants, in the mode ``score``, in which costs alone decide
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from extender.model.cost import DEFAULT_COST_MODEL, SATURATED, CostModel, waiting
from extender.model.demand import Demand, Origin
from extender.model.ledger import BoundPod
from extender.model.mice_free_links import MiceFreeLinks
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeFacts, NodeView, Snapshot, view_node
from extender.placement.tables import Tables
from footprint.classes import TrafficClass
from footprint.declared import PlacementMode
from footprint.models import LinkRates, NodeFootprint
from footprint.staleness import LastRenewal

# (1,460-byte packets, cumulative share of flows)
DATA_MINING: Final = (
    (1, 0.0), (1, 0.5), (2, 0.6), (3, 0.7), (7, 0.8), (267, 0.9), (2107, 0.95), (66667, 0.99), (666667, 1.0),
)  # fmt: skip
_PACKET: Final = 1460
_ELEPHANT: Final = 10 * 2**20
_MOUSE: Final = 128 * 2**10
_SAMPLED: Final = 10.0
"""Percent: ``percentageOfNodesToScore`` of the shipped configuration."""
_PODS_PER_NODE: Final = 110
"""What a kubelet accepts by default."""
_ROUNDING: Final = 1 + 1e-9
"""So that elephants that fill a link exactly still fit."""

PACKED: Final = "offline packing, achievable"
LOWER_BOUND: Final = "lower bound"

WITHOUT: Final = {
    "waiting": CostModel(waiting=0.0), "harm": CostModel(harm=0.0), "slowdown": CostModel(slowdown=0.0),
    "room": CostModel(first_mouse=0.0),
}  # fmt: skip
"""The cost model with one term switched off, by the term's name in explanations."""

Choose = Callable[["Nodes", Demand, list[str], random.Random], str]


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of one policy."""

    policy: str
    pairs: int
    """Mouse pods times elephant pods on the same node, summed over nodes."""
    mean_wait: float
    """Mean over mouse pods, in service times of the link's queue."""
    waiting_mice: float
    """Percent of mouse pods that wait at least one service time."""
    unmet: float
    """Percent of the elephants' bandwidth beyond what their links carry."""


def flow_size(draw: random.Random) -> float:
    """Bytes of one flow, log-linear between the published points."""
    share = draw.random()
    for (low, below), (high, upto) in pairwise(DATA_MINING):
        if share <= upto:
            part = (share - below) / (upto - below) if upto > below else 1.0
            return _PACKET * math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
    return float(_PACKET * DATA_MINING[-1][0])


def demand_of(size: float, link: float) -> Demand:
    """Demand of a pod that transfers ``size`` bytes, on a link of ``link`` bit/s."""
    if size >= _ELEPHANT:
        return Demand(TrafficClass.ELEPHANT, min(8 * size, SATURATED * link), 0.0, 0.0, Origin.LEARNED, 1)
    if size <= _MOUSE:
        return Demand(TrafficClass.MOUSE, 0.0, 0.0, 1.0, Origin.LEARNED, 1)
    return Demand(TrafficClass.QUIET, origin=Origin.LEARNED, pods=1)


@dataclass(slots=True)
class Nodes:
    """The cluster while it fills."""

    count: int
    link: float
    bound: dict[str, list[BoundPod]] = field(default_factory=dict)
    views: dict[str, NodeView] = field(default_factory=dict)
    snapshot: Snapshot = field(default_factory=Snapshot)
    model: CostModel = DEFAULT_COST_MODEL
    tables: Tables = field(init=False)
    mice_free_links: MiceFreeLinks = field(default_factory=lambda: MiceFreeLinks(1e8))

    def __post_init__(self) -> None:
        self.tables = Tables(model=self.model)
        self.bound = {f"node-{number:04d}": [] for number in range(self.count)}
        self.views = {name: self._view(name) for name in self.bound}
        self.snapshot = Snapshot(self.views)

    def _view(self, name: str) -> NodeView:
        footprint = NodeFootprint(src="simulation", cap=LinkRates(self.link, self.link))
        return view_node(NodeFacts(name, footprint, "", LastRenewal("1", 0.0), tuple(self.bound[name])), 0.0, 1e9)

    def place(self, name: str, demand: Demand, number: int) -> BoundPod:
        """Bind a pod of ``demand`` to node ``name``."""
        pod = PodInfo(f"pod-{number}", "default", f"pod-{number}", f"Job/{number}")
        placed = BoundPod(pod, demand)
        self.bound[name].append(placed)
        if demand.hurts:
            self.mice_free_links.put(pod)
            self.mice_free_links.update({pod.key: demand}, ())
        self._changed(name)
        return placed

    def end(self, name: str, placed: BoundPod) -> None:
        """End a pod of node ``name``, and its workload."""
        self.bound[name].remove(placed)
        if placed.demand.hurts:
            self.mice_free_links.drop(placed.pod)
            self.mice_free_links.update({}, ())
        self._changed(name)

    def _changed(self, name: str) -> None:
        self.views = {**self.views, name: self._view(name)}
        keep = self.mice_free_links.links_to_keep(self.link, self.count)
        free = sum(view.link.mice <= 0 for view in self.views.values()) if keep else self.count
        self.snapshot = Snapshot(
            self.views, scarce=keep > 0 and free <= keep, version=self.snapshot.version + 1,
            recent=(*self.snapshot.recent[-8:], frozenset({name})),
        )  # fmt: skip

    def fewest(self, names: list[str], draw: random.Random) -> str:
        return min(names, key=lambda name: (len(self.bound[name]), draw.random()))


def at_random(_nodes: Nodes, _demand: Demand, names: list[str], draw: random.Random) -> str:
    return draw.choice(names)


def spread(nodes: Nodes, _demand: Demand, names: list[str], draw: random.Random) -> str:
    return nodes.fewest(names, draw)


def extender(placement: PlacementMode) -> Choose:
    """kube-scheduler with the extender in mode ``placement``."""

    def choose(nodes: Nodes, demand: Demand, names: list[str], draw: random.Random) -> str:
        if demand.neutral:
            return nodes.fewest(names, draw)
        answer = nodes.tables.filter(names, demand, placement, nodes.snapshot, math.inf)
        passed = orjson.loads(answer.body)["NodeNames"] if answer.rejected else names
        scores = orjson.loads(nodes.tables.prioritize(passed, demand, nodes.snapshot, math.inf).body)
        top = max(entry["Score"] for entry in scores)
        return nodes.fewest([entry["Host"] for entry in scores if entry["Score"] == top], draw)

    return choose


def fill(
    nodes: Nodes, choose: Choose, demands: list[Demand], full: int, draw: random.Random,
    *, candidates: float = _SAMPLED,
) -> list[Demand]:  # fmt: skip
    """Place ``demands`` in order, at most ``full`` at a time. Returns those that run at the end.
    ``candidates`` percent of the nodes can be chosen each time.

    Who ends and which nodes are candidates does not depend on what is chosen, nor who ends on how many candidates
    there are: all policies end with the same pods.
    """
    ends, samples = random.Random(draw.random()), random.Random(draw.random())
    live: list[tuple[str, BoundPod]] = []
    everyone = list(nodes.bound)
    sampled = max(1, round(candidates * len(everyone) / 100))
    for number, demand in enumerate(demands):
        if len(live) == full:
            at = ends.randrange(full)
            live[at], live[-1] = live[-1], live[at]
            nodes.end(*live.pop())
        names = samples.sample(everyone, sampled)
        name = choose(nodes, demand, names, draw)
        live.append((name, nodes.place(name, demand, number)))
    return [placed.demand for _, placed in live]


def quality(policy: str, placed: Iterable[Sequence[Demand]], link: float) -> Quality:
    """Figures of ``placed``: the demands of each node's pods."""
    pairs, waits, wanted, unmet = 0, list[float](), 0.0, 0.0
    for there in placed:
        elephants = [demand.tx for demand in there if demand.hurts]
        mice = sum(demand.suffers for demand in there)
        pairs += mice * len(elephants)
        waits += [waiting(sum(elephants) / link)] * mice
        wanted += sum(elephants)
        unmet += max(0.0, sum(elephants) - SATURATED * link)
    long = sum(wait >= 1 for wait in waits)
    mean = sum(waits) / max(len(waits), 1)
    return Quality(policy, pairs, mean, 100 * long / max(len(waits), 1), 100 * unmet / max(wanted, 1.0))


def judged(policy: str, nodes: Nodes) -> Quality:
    """The figures of a filled cluster."""
    return quality(policy, ([pod.demand for pod in bound] for bound in nodes.bound.values()), nodes.link)


def packed(demands: list[Demand], nodes: int, link: float, full: int = _PODS_PER_NODE) -> list[list[Demand]]:
    """Pods by node, placed with knowledge of all of them.

    Elephants use as few links as first-fit decreasing needs; those that fit nowhere go onto the least loaded link.
    Quiet pods go beside them. Mice go to the other nodes, and when these are full, where they wait least. No node
    gets more than ``full`` pods if that can be.
    """
    full = max(full, math.ceil(len(demands) / nodes))
    there: list[list[Demand]] = [[] for _ in range(nodes)]
    used, usable = [0.0] * nodes, SATURATED * link * _ROUNDING

    def put(demand: Demand, node: int) -> None:
        there[node].append(demand)
        used[node] += demand.tx

    def open_nodes() -> list[int]:
        return [node for node in range(nodes) if len(there[node]) < full]

    for demand in sorted((d for d in demands if d.hurts), key=lambda d: -d.tx):
        fits = (node for node in open_nodes() if used[node] + demand.tx <= usable)
        put(demand, next(fits, min(open_nodes(), key=used.__getitem__)))
    quiet = [d for d in demands if not d.hurts and not d.suffers]
    mice = [d for d in demands if not d.hurts and d.suffers]
    for others, best_first in ((quiet, -1.0), (mice, 1.0)):
        open_first = sorted(open_nodes(), key=lambda node: best_first * used[node])
        places = [node for node in open_first for _ in range(full - len(there[node]))]
        for demand, node in zip(others, places, strict=False):
            put(demand, node)
    return there


def lower_bound(demands: list[Demand], nodes: int, link: float, full: int = _PODS_PER_NODE) -> Quality:
    """Figures that no placement beats that carries as much as all links can.

    Assumes that elephants can be split to fill links completely, which leaves the most nodes to mice. Mice beyond
    those nodes share a link with at least one elephant, and wait as long as the smallest elephant causes.
    """
    rates = [demand.tx for demand in demands if demand.hurts]
    mice = sum(demand.suffers and not demand.hurts for demand in demands)
    full, usable = max(full, math.ceil(len(demands) / nodes)), SATURATED * link
    carried = min(sum(rates), nodes * usable)
    links = max(math.ceil(carried / (usable * _ROUNDING)), math.ceil(len(rates) / full))
    beside = max(0, mice - (nodes - links) * full)
    wait = waiting(min(rates) / link) if rates else 0.0
    share = beside / max(mice, 1)
    unmet = sum(rates) - carried
    return Quality(
        LOWER_BOUND, beside, share * wait, 100 * share * (wait >= 1), 100 * unmet / max(sum(rates), 1.0)
    )


def simulate(options: argparse.Namespace) -> tuple[dict[str, Any], list[Quality]]:
    """Run all policies on the same pods in the same order."""
    draw = random.Random(options.seed)
    link = options.link * 1e9
    full = options.nodes * options.pods
    demands = [demand_of(flow_size(draw), link) for _ in range(round(full * (1 + options.turnover)))]
    by_score = extender(PlacementMode.SCORE)
    policies: list[tuple[str, Choose, CostModel]] = [
        ("random", at_random, DEFAULT_COST_MODEL),
        ("spreading", spread, DEFAULT_COST_MODEL),
        ("extender, prefer", extender(PlacementMode.PREFER), DEFAULT_COST_MODEL),
        ("extender, score", by_score, DEFAULT_COST_MODEL),
        *((f"score, without {term}", by_score, model) for term, model in WITHOUT.items()),
        *((f"score, slowdown at {price}", by_score, CostModel(slowdown=price)) for price in (5, 50, 150)),
    ]
    found = []
    for name, choose, model in policies:
        nodes = Nodes(options.nodes, link, model=model)
        live = fill(nodes, choose, demands, full, random.Random(options.seed), candidates=options.candidates)
        found.append(judged(name, nodes))
    about = {
        "nodes": options.nodes, "pods": full, "ended": len(demands) - full, "link_gbit": options.link,
        "candidates_percent": options.candidates,
        "elephants": sum(demand.hurts for demand in live), "mice": sum(demand.suffers for demand in live),
        "elephants_percent_of_links": 100 * sum(demand.tx for demand in live) / (options.nodes * link),
    }  # fmt: skip
    return about, [
        *found, quality(PACKED, packed(live, options.nodes, link), link), lower_bound(live, options.nodes, link),
    ]  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=10, help="per node")
    parser.add_argument("--turnover", type=float, default=1.0, help="times that the whole cluster is replaced")
    parser.add_argument("--candidates", type=float, default=_SAMPLED, help="percent of the nodes, for each pod")
    parser.add_argument("--link", type=float, default=2.5, help="Gbit/s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    if not 0 < options.candidates <= 100:
        parser.error("--candidates: more than 0, at most 100 percent")
    about, found = simulate(options)
    if options.output == "json":
        report = {**about, "policies": [asdict(quality) for quality in found]}
        print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())
        return 0
    shown = Table(title=", ".join(f"{key} {value:g}" for key, value in about.items()))
    for column in ("policy", "pairs", "mean wait", "mice waiting %", "unmet %"):
        shown.add_column(column, justify="left" if column == "policy" else "right")
    for q in found:
        shown.add_row(q.policy, str(q.pairs), f"{q.mean_wait:.3f}", f"{q.waiting_mice:.1f}", f"{q.unmet:.2f}")
    Console(width=120).print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
