# SPDX-License-Identifier: Apache-2.0
"""A cluster of two real nodes for each module that asks, always removed, never skipped.

A machine that cannot run it fails these tests with the remedy. Logs are kept in ``build/node-logs``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.config import LabConfig
from lab.errors import LabError
from lab.nodes.real.cluster import RealLab
from tests.labs import standing_on

LOGS = Path(__file__).parents[2] / "build" / "node-logs"


def started(lab: RealLab) -> Iterator[RealLab]:
    """``lab``, for a fixture to yield from: up, watched over, and always removed."""
    try:
        lab.__enter__()
    except LabError as error:
        pytest.fail(f"the real nodes did not come up: {error}", pytrace=False)
    try:
        with standing_on(lab):
            yield lab
    finally:
        lab.__exit__(None, None, None)


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[RealLab]:
    """This thread is in the control plane's namespace while the module runs."""
    module = request.module.__name__.rpartition(".")[2]
    yield from started(RealLab(LabConfig(nodes=2, keep_dir=LOGS / module)))
