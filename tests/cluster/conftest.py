# SPDX-License-Identifier: Apache-2.0
"""Labs for the cluster tier: started once per module that asks, always removed, never skipped.

A machine that cannot run a lab (no root, a tool missing) fails these tests with the remedy: a tier that did not
run must not look as if it had passed. ``pytest -m "not cluster"`` leaves the tier out on purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.errors import LabError
from lab.lab import Lab, LabConfig


def running(config: LabConfig) -> Iterator[Lab]:
    """A lab for a fixture to yield from; what it logged is kept in ``build/cluster-logs``."""
    try:
        lab = Lab(config).__enter__()
    except LabError as error:
        pytest.fail(f"the lab did not come up: {error}", pytrace=False)
    try:
        yield lab
    finally:
        lab.__exit__(None, None, None)


def logs_of(module: str) -> Path:
    """Where the logs of a module's lab are kept after the run, for whoever has to find out what went wrong."""
    return Path(__file__).parents[2] / "build" / "cluster-logs" / module


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Four nodes with agents and the extender. This thread is in the lab's namespace while the module runs."""
    module = request.module.__name__.rpartition(".")[2]
    yield from running(LabConfig(keep_dir=logs_of(module)))
