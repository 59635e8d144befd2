# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nodeagent import run


@pytest.fixture
def unchanged_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent leaves logging as other tests have it: a logger keeps the file that it first wrote to."""
    monkeypatch.setattr(run, "configure_logging", lambda *_: None)
