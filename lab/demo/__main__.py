# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.demo``: the same workload twice, with the default scheduler and with the extender.

Exit status 0 when the runs fulfil the acceptance rule (``lab.demo.verdict``), 1 when they do not, 2 when the lab
cannot run or its report cannot be written. With ``--live`` nothing is judged.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from rich.console import Console

from footprint.cluster.client import ApiError
from footprint.service import fail
from lab.demo.driver import run
from lab.demo.live import Live
from lab.demo.report import placement_table, prepare, table, write
from lab.demo.scenario import Scenario
from lab.demo.verdict import judge
from lab.errors import LabError
from lab.signals import signals_end


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
    parser.add_argument(
        "--no-capacity", action="store_true",
        help="tell no agent what its link carries: it assumes 1G, and learns from the link's queue",
    )  # fmt: skip
    parser.add_argument(
        "--live", nargs="?", const=0, type=int, metavar="PORT",
        help="open the extender's live page on 127.0.0.1, at PORT or any free one, and put pictures of it into "
        "the report; the browser takes time from what is measured",
    )  # fmt: skip
    parser.add_argument("--keep-logs", type=Path, help="folder for everything the two labs logged")
    return parser.parse_args(argv)


def _about(scenario: Scenario) -> dict[str, Any]:
    return {
        "seed": scenario.seed,
        "nodes": scenario.nodes,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _prepare(options: argparse.Namespace) -> None:
    """Folders are tried before two labs are run for what cannot be kept."""
    for flag, folder in (("--output", options.output), ("--keep-logs", options.keep_logs)):
        try:
            if folder is not None:
                prepare(folder)
        except OSError as error:
            fail(
                f"nothing can be written in {folder}: {error.strerror or error}",
                f"name another folder with {flag}",
            )


def main(argv: list[str] | None = None) -> int:
    """The exit status, as the module says."""
    options = _arguments(argv)
    _prepare(options)
    console = Console()
    scenario = Scenario(seed=options.seed, nodes=options.nodes)
    reports, live = [], None
    try:
        with signals_end(), ExitStack() as stack:
            if options.live is not None:
                told = lambda text: console.print(text, highlight=False, markup=False)  # noqa: E731
                live = stack.enter_context(closing(Live(options.output, told, options.live)))
            for extender in (False, True):
                console.rule("with Traffic Footprint" if extender else "default scheduler", align="left")
                say = lambda text: console.print(text, highlight=False, markup=False)  # noqa: E731
                reports.append(
                    run(
                        scenario,
                        extender=extender,
                        say=say,
                        keep=options.keep_logs,
                        link_stated=not options.no_capacity,
                        live=live,
                    )
                )
    except (LabError, ApiError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        console.print("interrupted; the lab is gone")
        return 130
    for report in reports:
        console.print(placement_table(report))
    console.print(table(*reports))
    for path in write(reports, options.output, _about(scenario)):
        console.print(f"wrote {path}")
    checks = judge(*reports)
    for check in checks:
        console.print(str(check), style="" if check.passed else "red", highlight=False, markup=False)
    if live is not None:
        console.print("a browser took time from the runs: what they took is told and not judged", highlight=False)
        return 0
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
