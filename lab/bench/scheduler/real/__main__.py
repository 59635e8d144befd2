# SPDX-License-Identifier: Apache-2.0
"""Programs as Debian ships them, placed by the cluster's own scheduler and by the chart's, in one lab.

``python -m lab.bench.scheduler.real [--output json]`` runs real nodes (kubelet, containerd, kube-proxy) with the
chart installed. Each node's link carries 200 Mbit/s in each direction. In each turn a scheduler places

- an iperf3 client that sends to a host outside as fast as TCP lets it, and that nobody declared;
- two redis and two nginx servers, declared mice;
- a second iperf3 client, of the first one's workload.

Then that host asks every server at once: redis-benchmark in runs of 100 requests on one connection, a second
apart, and wrk on one connection with 20 ms between requests. Latencies are what these clients print, as the median
over runs and pods. Goodput is what the iperf3 servers received meanwhile. Agents measure in all turns.

Each round has a turn without elephants too: what the services take on this machine while nothing is in their way.
Its p99 is the least that any placement could have. The table has medians over the rounds, and their extremes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console

from footprint.cluster.client import ApiError
from lab import manifests
from lab.bench.scheduler.real import driver, programs
from lab.bench.scheduler.real.results import Turn, table
from lab.config import LabConfig
from lab.errors import LabError
from lab.nodes.real.cluster import RealLab

RELEASE: Final = "traffic-footprint"
DEFAULT: Final = "default-scheduler"
ALONE: Final = "without elephants"


def install(lab: RealLab) -> None:
    """Install the chart with the links' true capacity. Raises LabError."""
    argv = [
        str(lab.helm_path), "--kubeconfig", str(lab.kubeconfig), "install", RELEASE, str(manifests.CHART),
        "--namespace", RELEASE, "--create-namespace", "--wait", "--timeout=4m",
        "--set", f"nodeagent.settings.linkCapacity={lab.config.link}",
    ]  # fmt: skip
    env = {"PATH": os.environ["PATH"], "HOME": str(lab.dir)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise LabError(f"the chart was not installed: {done.stderr.strip()}")


def rounds(lab: RealLab, count: int, replicas: int, seconds: float) -> dict[str, list[Turn]]:
    """The turns by kind. Raises LabError."""
    found: dict[str, list[Turn]] = {ALONE: [], DEFAULT: [], RELEASE: []}
    for number in range(count):
        for name, turns in found.items():
            scheduler, elephants = (DEFAULT, 0) if name == ALONE else (name, driver.ELEPHANTS)
            turns.append(
                driver.turn(lab, scheduler, replicas=replicas, seconds=seconds, elephants=elephants, number=number)
            )
            print(f"round {number + 1} of {count}, {name}: done", file=sys.stderr, flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 when the lab could not run."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.scheduler.real", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--replicas", type=int, default=2, help="pods of each service")
    parser.add_argument("--seconds", type=float, default=20.0, help="measured in each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each kind, one after the other")
    parser.add_argument("--keep", type=Path, help="folder for the programs' logs")
    parser.add_argument("--output", choices=("table", "json"), default="table")
    options = parser.parse_args(argv)
    try:
        programs.image()  # downloaded once, before this thread is in a lab's network
        with RealLab(LabConfig(nodes=options.nodes, keep_dir=options.keep)) as lab:
            install(lab)
            turns = rounds(lab, options.rounds, options.replicas, options.seconds)
    except (LabError, ApiError) as error:
        print(f"scheduler on real nodes: {error}", file=sys.stderr)
        return 1
    if options.output == "json":
        load = [round(value, 2) for value in os.getloadavg()]
        shown = {name: [asdict(turn) for turn in kind] for name, kind in turns.items()}
        print(orjson.dumps({"load": load, "turns": shown}).decode())
    else:
        Console(width=120).print(table(turns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
