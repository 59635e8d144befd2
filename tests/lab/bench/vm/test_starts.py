# SPDX-License-Identifier: Apache-2.0
"""Seconds by the runtime's stamps; a start of another kind than asked for is refused."""

from __future__ import annotations

import json

import pytest

from lab.bench.vm.starts import COUNTS, WRITTEN, begun, summary
from lab.errors import LabError

STARTED = "2026-01-01T00:00:00.123456789Z"


def logged(*events: tuple[str, str, str]) -> str:
    """Lines as containerd writes them."""
    return "".join(
        f"2026-01-01T00:00:{second}Z stderr F {json.dumps({'event': event, 'program': program})}\n"
        for second, event, program in events
    )


def test_seconds_from_the_start_of_the_container_to_the_first_of_each() -> None:
    log = "2026-01-01T00:00:01.0Z stderr F no JSON\n" + logged(
        ("20.623456", COUNTS, "kept"), ("22.123456999", WRITTEN, ""), ("40.5", WRITTEN, "")
    )
    assert begun(STARTED, log, "kept") == {"counts": 20.5, "written": 22.0}


def test_stamps_may_bear_a_zone() -> None:
    assert begun("2026-01-01T01:00:00.5+01:00", logged(("02.0", COUNTS, "kept")), "kept") == {"counts": 1.5}


def test_another_kind_of_start_is_refused() -> None:
    with pytest.raises(LabError, match="the program was compiled, not pinned"):
        begun(STARTED, logged(("20.0", COUNTS, "compiled")), "pinned")


def test_an_agent_that_does_not_count_by_ebpf_is_refused() -> None:
    with pytest.raises(LabError, match="does not measure by eBPF"):
        begun(STARTED, logged(("20.0", "measuring with ctnetlink", "")), "kept")


def test_the_summary_has_medians_by_way() -> None:
    starts = [{"way": "kept", "counts": float(n), "written": n + 1.0} for n in (1, 5, 3)]
    assert summary([*starts])["kept"]["counts"] == {"median": 3.0, "least": 1.0, "most": 5.0}  # type: ignore[list-item]
