# SPDX-License-Identifier: Apache-2.0
"""A browser that shows the page for long takes no more memory than after the first minutes.

Minutes of a changing cluster in fast motion. ``python -m lab.bench.extender.page_replay`` replays an hour of 5,000
nodes; here are fewer, so that what is kept by mistake weighs more.
"""

from __future__ import annotations

from typing import Final

import pytest

from lab.bench.extender.page_replay import replayed
from lab.page import tools

NODES: Final = 300
WARM_SECONDS: Final = 90
"""The list of decisions is full by then."""
SECONDS: Final = 150
GROWTH: Final = 1.1
"""Over the first reading. Keeping each second's rows by mistake makes 1.17."""


@pytest.mark.skipif(
    tools.chromium() is None or tools.npm() is None,
    reason="the page needs a browser: apt-get install chromium nodejs npm",
)
@pytest.mark.timeout(600)
def test_a_page_that_stays_open_keeps_nothing_of_what_is_over() -> None:
    found = replayed(NODES, 5, WARM_SECONDS, SECONDS)
    print(found)
    first, last = found["readings"]
    assert found["problems"] == []
    assert found["events"]["nodes"] > (WARM_SECONDS + SECONDS) / 2, "the browser was given hardly any second"
    assert first["decisions"] == last["decisions"] == 256
    for what in ("heap", "elements", "listeners"):
        assert last[what] <= GROWTH * first[what], what
