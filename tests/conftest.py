# SPDX-License-Identifier: Apache-2.0
"""What holds for every tier: how property tests search, what a run counts, which lab a test stands on.

A check that draws new examples each time can refuse a change that has nothing to do with what it found. So
``make test`` draws the same examples every time, and ``make fuzz`` searches for new ones, many more of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import fuzzing, tier

# No deadlines: how long an example takes says more about the machine's other work than about the code.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile(
    fuzzing.PROFILE,
    deadline=None,
    max_examples=3000,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("repeatable")

collect_ignore = ["kernel/guest"]
"""It is for sessions inside virtual machines: its conftest.py changes how programs are compiled."""

_tried: Counter[str] = Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
    tier.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    tier.configure(config)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """A test fails before its first line when the lab that its fixtures stand on is not healthy."""
    if item.get_closest_marker("cluster") or item.get_closest_marker("node"):
        from tests import labs  # noqa: PLC0415 - only these tiers need a lab

        labs.fail_when_unhealthy()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test's counts of hostile inputs go with its report, from pytest-xdist's workers too."""
    item.user_properties.extend((f"tried {kind}", count) for kind, count in fuzzing.take().items())
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        for name, count in report.user_properties:
            if name.startswith("tried "):
                _tried[name.removeprefix("tried ")] += int(str(count))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """``make fuzz`` fails when it tried too little."""
    if fuzzing.fuzzes() and not hasattr(session.config, "workerinput") and fuzzing.short(_tried):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _tried or fuzzing.fuzzes():
        terminalreporter.section("hostile inputs")
        for line in fuzzing.report(_tried):
            terminalreporter.write_line(line)
        if fuzzing.fuzzes() and (short := fuzzing.short(_tried)):
            terminalreporter.write_line(f"FAILED: too few {', '.join(short)}", red=True)
