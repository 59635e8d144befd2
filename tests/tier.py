# SPDX-License-Identifier: Apache-2.0
"""One tier's run as pytest sees it: what it counted, and going on where an earlier run stopped.

Enters: ``--tier NAME`` and ``--resume``. Leaves, below ``build/tiers``: ``NAME.passed``, one line for each test
that has passed since the last full run, ``NAME.json``, how many passed, failed, were skipped, and ``NAME.failed``,
one line for each test, or each of a test's named parts, that failed. Guarantees: with
``--resume`` every test that has not passed runs (failed, skipped, or never reached because the run was ended). A
test that passed is not run again, even where the code has changed since: run the whole tier before you trust it.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

RESULTS: Final = Path(__file__).parents[1] / "build" / "tiers"


class Progress:
    """Notes each test's outcome; registered where a tier is named."""

    def __init__(self, name: str, *, resume: bool, records: bool, folder: Path) -> None:
        self._passed = folder / f"{name}.passed"
        self._counts = folder / f"{name}.json"
        self._failed = folder / f"{name}.failed"
        self._records = records
        self._outcomes: dict[str, str] = {}
        self._earlier = frozenset(
            self._passed.read_text().splitlines() if resume and self._passed.exists() else ()
        )
        if records:
            folder.mkdir(parents=True, exist_ok=True)
            self._failed.write_text("")
            if not resume:
                self._passed.write_text("")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what passed, after every other choice was made."""
        left_out = [item for item in items if item.nodeid in self._earlier]
        if left_out:
            items[:] = [item for item in items if item.nodeid not in self._earlier]
            config.hook.pytest_deselected(items=left_out)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has passed when none of its parts failed or was skipped."""
        if not self._records:
            return
        if report.failed:
            part = f" [{report.context.msg}]" if isinstance(report, pytest.SubtestReport) else ""
            with self._failed.open("a") as file:
                file.write(f"{report.nodeid}{part}\n")
        worst = self._outcomes.get(report.nodeid, "passed")
        if report.outcome != "passed" and worst != "failed":
            self._outcomes[report.nodeid] = report.outcome
        else:
            self._outcomes[report.nodeid] = worst
        if report.when == "teardown" and self._outcomes[report.nodeid] == "passed":
            with self._passed.open("a") as file:
                file.write(f"{report.nodeid}\n")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the counts. A resumed run that has nothing left to run has passed."""
        if not self._records:
            return
        if self._earlier and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            session.exitstatus = pytest.ExitCode.OK
        counted = Counter(self._outcomes.values())
        counts = {what: counted[what] for what in ("passed", "failed", "skipped")}
        counts["passed in an earlier run"] = len(self._earlier)
        self._counts.write_text(json.dumps(counts))


def add_options(parser: pytest.Parser) -> None:
    """``--tier`` and ``--resume``."""
    parser.addoption("--tier", metavar="NAME", help="keep under this name which tests passed")
    parser.addoption(
        "--resume", action="store_true", help="with --tier: leave out what passed since its last full run"
    )


def configure(config: pytest.Config) -> None:
    """Note outcomes when a tier is named. Workers of pytest-xdist choose; their controller writes."""
    name = config.getoption("--tier")
    if name:
        records = not hasattr(config, "workerinput")
        config.pluginmanager.register(
            Progress(name, resume=config.getoption("--resume"), records=records, folder=RESULTS)
        )
