# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from nodeagent.sources.base import FlowSource, FlowThresholds, Locality, Reading, SourceUnavailable
from nodeagent.sources.select import SOURCES, choices, choose


class Stub:
    """A source that opens, or refuses with a reason."""

    keep = pinned = False

    def __init__(self, name: str, refusal: str = "") -> None:
        self.name, self.refusal = name, refusal
        self.opened = self.closed = False

    def open(self) -> None:
        if self.refusal:
            raise SourceUnavailable(self.refusal)
        self.opened = True

    def set_locality(self, locality: Locality) -> None: ...

    def set_thresholds(self, thresholds: FlowThresholds) -> None: ...

    def read(self, now: float) -> Reading:
        return Reading(now, 1, {})

    def wait(self, timeout: float) -> bool:
        time.sleep(timeout)
        return False

    def close(self) -> None:
        self.closed = True


def table(*stubs: Stub) -> dict[str, Callable[[FlowThresholds, Locality], FlowSource]]:
    return {stub.name: lambda _t, _l, stub=stub: stub for stub in stubs}  # type: ignore[misc] # default binds stub


def test_auto_takes_the_first_that_opens_and_closes_those_it_passed_over() -> None:
    first, second, third = Stub("first", "no kernel"), Stub("second"), Stub("third")
    assert choose("auto", sources=table(first, second, third)) is second
    assert (first.closed, second.opened, third.opened) == (True, True, False)


def test_a_named_source_has_no_fallback() -> None:
    first, second = Stub("first", "no kernel; upgrade"), Stub("second")
    with pytest.raises(SourceUnavailable, match="no kernel; upgrade"):
        choose("first", sources=table(first, second))
    assert not second.opened


def test_when_none_opens_every_reason_is_told() -> None:
    with pytest.raises(SourceUnavailable, match=r"no kernel.*or no root"):
        choose("auto", sources=table(Stub("first", "no kernel"), Stub("second", "no root")))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'ebfp' is not a flow source; use auto, ebpf, ctnetlink"):
        choose("ebfp")


def test_ctnetlink_is_a_choice() -> None:
    assert choices() == ("auto", *SOURCES)
    assert "ctnetlink" in SOURCES
