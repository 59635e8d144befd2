# SPDX-License-Identifier: Apache-2.0
"""How property tests search: repeatably by default, at random and for longer with ``make fuzz``.

A check that draws new examples each time can refuse a change that has nothing to do with what it found. So
``make test`` draws the same examples every time, and the search for new ones is a command of its own.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# No deadlines: how long an example takes says more about the machine's other work than about the code.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile(
    "fuzz", deadline=None, max_examples=3000, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """A test fails before its first line when the lab that its fixtures stand on is not healthy."""
    if item.get_closest_marker("cluster"):
        from tests import labs  # noqa: PLC0415 - only this tier needs a lab

        labs.fail_when_unhealthy()
