# SPDX-License-Identifier: Apache-2.0
"""What moving pods gains over a day in which workloads change: a simulation of 1,000 nodes.

``python -m lab.bench.extender.rebalancing [--output json]``. Ten pods a node, in workloads of four. Every workload
changes what it does every six hours on average, and its pods stay where they are. Of the workloads 60 percent are
mice, 32 percent quiet and 8 percent elephants that want 10 to 60 percent of a link. The rebalancer looks once a
minute. The simulation is ``lab.bench.extender.drifting``; the rounds and limits are the extender's own.

Compared are, on the same day: no rebalancing, rebalancing with the shipped limits, and with five times as many
moves, a packing that is computed anew each hour with all pods known, and a bound that no placement beats.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import orjson
from rich.console import Console
from rich.table import Table

from extender.rebalancing.config import RebalanceConfig, RebalanceMode
from lab.bench.extender.drifting import Drifting, Rebalanced
from lab.bench.extender.placement_quality import LOWER_BOUND, PACKED, Quality, lower_bound, packed, quality

NONE: Final = "no rebalancing"
_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Day:
    """One policy's figures, means over the samples of a day."""

    policy: str
    pairs: float
    mean_wait: float
    waiting_mice: float
    unmet: float
    moves: int = 0
    most_of_a_workload: int = 0
    """Moves of the workload that was moved most often."""
    seconds: float = 0.0
    """Mean time of a round on this machine, simulated evictions included."""


def mean(policy: str, samples: Sequence[Quality], moves: Rebalanced | None = None, seconds: float = 0.0) -> Day:
    """The means of hourly figures."""
    count = len(samples)
    per = [[one.pairs, one.mean_wait, one.waiting_mice, one.unmet] for one in samples]
    pairs, wait, waiting, unmet = (sum(column) / count for column in zip(*per, strict=True))
    made = [key for _, key, _, _ in moves.moves] if moves is not None else []
    most = max(Counter(made).values(), default=0)
    return Day(policy, pairs, wait, waiting, unmet, len(made), most, seconds)


def simulate(
    nodes: int, hours: float, configs: Sequence[tuple[str, RebalanceConfig]], seed: int, every: float
) -> list[Day]:
    """The same day without rebalancing, with each of ``configs``, and as well as it could be."""
    days, best, bound = list[Day](), list[Quality](), list[Quality]()
    for policy, config in configs:
        cluster = Drifting(nodes, seed=seed, every=every)
        cluster.place_all(by_extender=True)
        rebalanced = Rebalanced(cluster, config)
        samples, spent, first = list[Quality](), 0.0, not best
        for minute in range(round(60 * hours)):
            cluster.step(_MINUTE)
            if config.mode is RebalanceMode.ACT:
                began = time.perf_counter()
                rebalanced.round()
                spent += time.perf_counter() - began
            if minute % 60 == 59:
                placed = cluster.placed()
                samples.append(quality(policy, placed, cluster.link))
                if first:
                    demands = [demand for there in placed for demand in there]
                    best.append(quality(PACKED, packed(demands, nodes, cluster.link), cluster.link))
                    bound.append(lower_bound(demands, nodes, cluster.link))
        days.append(mean(policy, samples, rebalanced, spent / (60 * hours)))
    return [*days, mean(PACKED, best), mean(LOWER_BOUND, bound)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--every", type=float, default=6.0, help="hours between two changes of a workload")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    act = RebalanceConfig(RebalanceMode.ACT)
    configs = [
        (NONE, RebalanceConfig()), ("1 move a minute", act),
        ("5 moves a minute", RebalanceConfig(RebalanceMode.ACT, per_minute=5.0)),
    ]  # fmt: skip
    days = simulate(options.nodes, options.hours, configs, options.seed, 3600 * options.every)
    if options.output == "json":
        print(orjson.dumps([asdict(day) for day in days], option=orjson.OPT_INDENT_2).decode())
        return 0
    shown = Table(title=f"{options.nodes} nodes, {options.hours:g} h, a change every {options.every:g} h")
    columns = ("policy", "pairs", "mean wait", "mice waiting %", "unmet %", "moves", "most of one", "s a round")
    for column in columns:
        shown.add_column(column, justify="left" if column == "policy" else "right")
    for day in days:
        shown.add_row(
            day.policy, f"{day.pairs:.0f}", f"{day.mean_wait:.3f}", f"{day.waiting_mice:.2f}", f"{day.unmet:.2f}",
            str(day.moves), str(day.most_of_a_workload), f"{day.seconds:.3f}",
        )  # fmt: skip
    Console(width=130).print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
