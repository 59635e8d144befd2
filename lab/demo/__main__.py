"""``python -m lab.demo``: the same workload twice, with the default scheduler and with the extender."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from footprint.service import fail
from lab.demo.driver import run
from lab.demo.report import RunReport, placement_table, table, write
from lab.demo.scenario import Scenario
from lab.errors import LabError


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description=__doc__)
    defaults = Scenario()
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, help="of the arrivals' order (default: %(default)s)"
    )
    parser.add_argument(
        "--nodes", type=int, default=defaults.nodes, help="nodes of the lab (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo-report"), help="folder of the report (default: %(default)s)"
    )
    parser.add_argument("--keep-logs", type=Path, help="folder for everything the two labs logged")
    return parser.parse_args(argv)


def _about(scenario: Scenario) -> dict[str, Any]:
    return {
        "seed": scenario.seed,
        "nodes": scenario.nodes,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _complete(reports: list[RunReport]) -> bool:
    return not any(report.unplaced for report in reports)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 when a pod has no result (the figures are then incomplete); 2 when the lab cannot start."""
    options = _arguments(argv)
    console = Console()
    scenario = Scenario(seed=options.seed, nodes=options.nodes)
    reports = []
    try:
        for extender in (False, True):
            console.rule("with Traffic Footprint" if extender else "default scheduler", align="left")
            say = lambda text: console.print(text, highlight=False, markup=False)  # noqa: E731
            reports.append(run(scenario, extender=extender, say=say, keep=options.keep_logs))
    except LabError as error:
        fail(str(error))
    except KeyboardInterrupt:
        console.print("interrupted; the lab is gone")
        return 130
    for report in reports:
        console.print(placement_table(report))
    console.print(table(*reports))
    for path in write(reports, options.output, _about(scenario)):
        console.print(f"wrote {path}")
    for report in reports:
        for pod in report.unplaced:
            console.print(f"[red]no result in run {report.scheduler}: {pod}[/red]")
    return 0 if _complete(reports) else 1


if __name__ == "__main__":
    sys.exit(main())
