# SPDX-License-Identifier: Apache-2.0
"""The lab of a module of the cluster tier. ``tests.labs`` starts, checks and removes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.lab import Lab, LabConfig
from tests.labs import running

__all__ = ["logs_of", "running"]


def logs_of(module: str) -> Path:
    """Where the logs of a module's lab are kept after the run: ``build/cluster-logs``."""
    return Path(__file__).parents[2] / "build" / "cluster-logs" / module


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Four nodes with agents and the extender. This thread is in the lab's namespace while the module runs."""
    module = request.module.__name__.rpartition(".")[2]
    yield from running(LabConfig(keep_dir=logs_of(module)))
