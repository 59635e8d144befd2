# SPDX-License-Identifier: Apache-2.0
"""How many hostile inputs of each kind the tests try, and how many they did.

Enters: a kind of input, one of ``WANTED``. Leaves: how many examples a test draws (``examples``), and a count of
those it tried (``tried``). Guarantees: ``make fuzz`` prints the counts and fails when a kind had fewer than
wanted; ``make test`` draws a tenth, the same ones every time.

A test of a kind reads::

    @settings(max_examples=fuzzing.examples("annotations"))
    @given(st.binary())
    def test_no_annotation_is_an_exception(raw: bytes) -> None:
        fuzzing.tried("annotations")
        decode(raw)
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from hypothesis import settings

WANTED: Final = {"HTTP variants": 5_000, "annotations": 60_000, "ctnetlink dumps": 100_000, "BTF blobs": 20_000}
"""Under ``make fuzz``."""

PROFILE: Final = "fuzz"
"""Hypothesis' profile of ``make fuzz``."""

EVERYDAY: Final = 0.1
"""The share of them that ``make test`` tries."""

_tried: Counter[str] = Counter()


def examples(kind: str, share: float = 1.0) -> int:
    """How many inputs of ``kind`` a test draws that tries ``share`` (0-1) of them."""
    part = share if fuzzes() else share * EVERYDAY
    return math.ceil(WANTED[kind] * part)


def tried(kind: str, count: int = 1) -> None:
    """Note that ``count`` more inputs of ``kind`` were tried."""
    if kind not in WANTED:
        raise KeyError(f"no kind of input is called {kind!r}; there are {', '.join(WANTED)}")
    _tried[kind] += count


def take() -> dict[str, int]:
    """What was tried since the last call."""
    taken = dict(_tried)
    _tried.clear()
    return taken


def fuzzes() -> bool:
    """Whether this run is ``make fuzz``."""
    return settings.get_current_profile_name() == PROFILE


def report(counts: Counter[str]) -> list[str]:
    """A line for each kind: how many inputs were tried, of how many."""
    return [f"{kind:16} {counts[kind]:>8,} tried, {examples(kind):,} wanted" for kind in WANTED]


def short(counts: Counter[str]) -> list[str]:
    """The kinds of which fewer were tried than wanted."""
    return [kind for kind in WANTED if counts[kind] < examples(kind)]
