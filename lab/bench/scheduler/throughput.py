# SPDX-License-Identifier: Apache-2.0
"""Pods that the real kube-scheduler places per second, with the extender and without, in the same run.

``python -m lab.bench.scheduler.throughput [--output json]`` runs the lab's etcd, API server, controller manager
and kube-scheduler. It registers 1,000 Nodes with footprints of 30 pods each, and renews their node Leases and
agents' Leases. There are no kubelets, so pods are bound and never run. In each round, 2,000 pods are created while
kube-scheduler is stopped. Then it is started, and the time from the 100th to the last bind is measured.

The cases, whose rounds take turns:

- with the extender as it is shipped
- with the extender, and kube-scheduler's own rule for how many nodes it considers
- with the extender, without the filter verb, as in clusters that only score
- without the extender, with kube-scheduler's defaults
- without the extender, considering as few nodes as the shipped configuration
- without the extender, without opportunistic batching, which any extender switches off

A fifth of the pods are declared elephants, the rest mice. So the extender decides on every pod, and keeps it as an
assumed pod. Binds are read from kube-scheduler's own counter. CPU time is what each program used meanwhile. All
programs share the machine, so the extender's CPU time is missing for the API server. The limits on request rates
of kube-scheduler's and the controller manager's clients are raised.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import orjson
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from footprint.cluster.client import ApiError
from lab import programs
from lab.bench.process_cost import Cost
from lab.bench.scheduler.cluster import NAMESPACE, Crowd
from lab.controlplane import pins
from lab.errors import LabError
from lab.lab import Lab, LabConfig
from lab.network import netns

HEAD_START: Final = 100
"""Binds before the measured time: kube-scheduler first fills its caches."""
_WAIT_SECONDS: Final = 900.0
_POLL_SECONDS: Final = 0.5
OWN_RULE: Final = {"percentageOfNodesToScore": 0}
"""kube-scheduler decides by the cluster's size: 42 percent of 1,000 nodes, 10 percent of 5,000."""
_EXTENDER: Final = "traffic-footprint-extender"
_PROGRAMS: Final = (pins.KUBE_SCHEDULER, pins.KUBE_APISERVER, pins.ETCD, pins.KUBE_CONTROLLER_MANAGER, _EXTENDER)


class Kind(StrEnum):
    """Kinds of rounds."""

    WITHOUT = "without"
    UNBATCHED = "without, no batching"
    WITHOUT_FEWER = "without, as few nodes as shipped"
    WITH = "with, as shipped"
    WITH_MORE = "with, kube-scheduler's own number of nodes"
    SCORING = "with, as shipped, no filter verb"


@dataclass(frozen=True, slots=True)
class Setup:
    """How a kind starts kube-scheduler."""

    extender: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that replace those of the shipped configuration."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Changes of the extender's entry in that configuration."""
    flags: tuple[str, ...] = ()


SETUPS: Final = {
    Kind.WITHOUT: Setup(settings=OWN_RULE),
    Kind.UNBATCHED: Setup(settings=OWN_RULE, flags=("--feature-gates=OpportunisticBatching=false",)),
    Kind.WITHOUT_FEWER: Setup(),
    Kind.WITH: Setup(extender=True),
    Kind.WITH_MORE: Setup(extender=True, settings=OWN_RULE),
    Kind.SCORING: Setup(extender=True, changes={"filterVerb": ""}),
}


@dataclass(frozen=True, slots=True)
class Round:
    """One filling of the cluster."""

    kind: Kind
    pods: int
    seconds: float
    """From the ``HEAD_START``-th bind to the last."""
    cpu: dict[str, float]
    """CPU seconds by program in that time."""
    answers: dict[str, float] = field(default_factory=dict)
    """Counts of the extender's responses by result; ``milliseconds``: mean time of one."""

    @property
    def per_second(self) -> float:
        return (self.pods - HEAD_START) / self.seconds


def summed(page: str, metric: str, **labels: str) -> float:
    """Sum of the samples of ``metric`` with ``labels`` on a Prometheus page."""
    # Only matching lines are parsed. Parsing the whole page would cost the measured machine 0.1 s.
    lines = [line for line in page.splitlines() if line.startswith(metric)]
    return sum(
        sample.value
        for family in text_string_to_metric_families("\n".join([*lines, ""]))
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    )


def crossing(samples: list[tuple[float, float]], count: float) -> float:
    """When a counter passed ``count``, interpolated between its (seconds, value) samples."""
    for (earlier, low), (later, high) in itertools.pairwise(samples):
        if low < count <= high:
            return earlier + (later - earlier) * (count - low) / (high - low)
    return samples[0][0] if samples[0][1] >= count else samples[-1][0]


def ratio(rounds: list[Round], of: Kind, to: Kind = Kind.WITHOUT) -> float:
    """Median over the cycles of ``of``'s rate divided by ``to``'s. A cycle has every kind once."""
    cycles = [rounds[at : at + len(Kind)] for at in range(0, len(rounds), len(Kind))]
    rates = [{one.kind: one.per_second for one in cycle} for cycle in cycles]
    return statistics.median(cycle[of] / cycle[to] for cycle in rates)


def order(cycles: int) -> list[Kind]:
    """Every kind once a cycle. Every other cycle is reversed, so that none is always first."""
    return [kind for number in range(cycles) for kind in (list(Kind) if number % 2 == 0 else list(Kind)[::-1])]


class Bench:
    """Runs rounds in one lab with its nodes."""

    def __init__(self, lab: Lab, crowd: Crowd) -> None:
        self._lab, self._crowd = lab, crowd

    def round(self, pods: int, kind: Kind) -> Round:
        """Fill the cluster once, and empty it again. Raises LabError when it does not fill."""
        setup = SETUPS[kind]
        self._crowd.create_pods(pods)
        if setup.extender:
            self._lab.start_extender()
            self._until(self._all_known, "the extender to know every node")
        self._crowd.renew()
        try:
            self._lab.start_scheduler(
                extender=setup.extender, settings=setup.settings, changes=setup.changes, flags=setup.flags
            )
            found = self._fill(pods, kind)
        finally:
            self._lab.stop_scheduler()
            if setup.extender:
                with suppress(LabError):  # it did not start
                    self._lab.stop_extender()
        self._crowd.delete_pods()
        return found

    def _fill(self, pods: int, kind: Kind) -> Round:
        samples: list[tuple[float, float]] = []
        cpu: dict[str, float] = {}

        def full() -> bool:
            nonlocal cpu
            samples.append((time.monotonic(), self._bound()))
            if not cpu and samples[-1][1] >= HEAD_START:
                cpu = self._cpu()
            return samples[-1][1] >= pods

        self._until(full, f"{pods} pods to be bound")
        used = {name: seconds - cpu.get(name, 0.0) for name, seconds in self._cpu().items()}
        taken = crossing(samples, pods) - crossing(samples, HEAD_START)
        return Round(kind, pods, taken, used, self._answers() if SETUPS[kind].extender else {})

    def _bound(self) -> float:
        page = self._lab.scheduler_metrics()
        return summed(page, "scheduler_schedule_attempts_total", result="scheduled")

    def _cpu(self) -> dict[str, float]:
        """CPU seconds so far by program."""
        used = dict.fromkeys(_PROGRAMS, 0.0)
        for pid in netns.pids([self._lab.cp_namespace]):
            with suppress(OSError):  # the process ended meanwhile
                argv = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                name = next((Path(part).name for part in argv[:2] if Path(part).name in used), None)
                if name:
                    used[name] += Cost.of(pid).cpu_seconds
        return used

    def _extender_page(self) -> str:
        with urlopen(f"{programs.EXTENDER_URL}/metrics", timeout=10) as page:  # noqa: S310 - our own
            text: bytes = page.read()
        return text.decode()

    def _all_known(self) -> bool:
        known = summed(self._extender_page(), "traffic_footprint_extender_nodes", state="known")
        return known >= self._crowd.nodes

    def _answers(self) -> dict[str, float]:
        page, prefix = self._extender_page(), "traffic_footprint_extender_request"
        found = {r: summed(page, prefix + "s_total", result=r) for r in ("ok", "late", "shed", "failed")}
        count = summed(page, prefix + "_duration_seconds_count")
        return {**found, "milliseconds": 1000 * summed(page, prefix + "_duration_seconds_sum") / max(count, 1.0)}

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise LabError(f"waited {_WAIT_SECONDS:g} s for {what}; see the logs (--keep FOLDER)")
            time.sleep(_POLL_SECONDS)


def measure(nodes: int, pods: int, rounds: int, keep: Path | None) -> list[Round]:
    """Run ``rounds`` cycles of every kind."""
    with Lab(LabConfig(nodes=1, extender=False, agents=False, keep_dir=keep)) as lab:
        lab.stop_scheduler()
        lab.kubectl("cordon", *lab.node_names)
        lab.create_namespace(NAMESPACE)
        with Crowd(lab.api, nodes) as crowd:
            bench = Bench(lab, crowd)
            found = []
            for kind in order(rounds):
                found.append(bench.round(pods, kind))
                print(f"extender: {kind}: {found[-1].per_second:.0f} pods/s", file=sys.stderr, flush=True)
            return found


def table(rounds: list[Round]) -> Table:
    shown = Table(title=f"pods bound per second; ratio: to {Kind.WITHOUT} in the same cycle, median")
    for column in ("extender", "pods/s", "ratio", "ms per response", "responses", *_PROGRAMS):
        shown.add_column(column, justify="right")
    for one in rounds:
        answers = ", ".join(
            f"{count:.0f} {r}" for r, count in one.answers.items() if count and r != "milliseconds"
        )
        milliseconds = f"{one.answers['milliseconds']:.2f}" if one.answers else "-"
        cpu = (f"{one.cpu.get(name, 0.0):.1f} s" for name in _PROGRAMS)
        rate, beside = f"{one.per_second:.1f}", f"{ratio(rounds, one.kind):.2f}"
        shown.add_row(one.kind, rate, beside, milliseconds, answers or "-", *cpu)
    return shown


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3, help="cycles of every kind")
    parser.add_argument("--keep", type=Path, help="folder for the programs' logs")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    if options.pods <= HEAD_START or options.nodes < 1 or options.rounds < 1:
        parser.error(f"at least one node and one round, and more than {HEAD_START} pods")
    try:
        rounds = measure(options.nodes, options.pods, options.rounds, options.keep)
    except (LabError, ApiError) as error:
        print(f"scheduler_throughput: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        load = [round(value, 2) for value in os.getloadavg()]
        print(
            orjson.dumps(
                {
                    "load": load,
                    "ratios": {kind: ratio(rounds, kind) for kind in Kind},
                    "rounds": [asdict(r) for r in rounds],
                }
            ).decode()
        )
    else:
        Console(width=160).print(table(rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
