# SPDX-License-Identifier: Apache-2.0
"""How many hostile inputs of each kind the tests try, and how many they did.

Enters: a kind of input, one of ``WANTED``. Leaves: how many examples a test draws (``examples``), and a count of
those it tried (``tried``). Guarantees: ``make fuzz`` prints the counts and fails when a kind had fewer than
wanted; ``make test`` draws a tenth, the same ones every time.

``mutations`` makes damaged bytes in numbers that hypothesis is too slow for. A test of drawn values reads::

    @settings(max_examples=fuzzing.examples("annotations"))
    @given(st.binary())
    def test_no_annotation_is_an_exception(raw: bytes) -> None:
        fuzzing.tried("annotations")
        decode(raw)
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
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


def mutations(kind: str, seeds: list[bytes], share: float = 1.0) -> Iterator[tuple[bytes, str]]:
    """Mutants of ``seeds``, ``share`` of all of their ``kind``, each with the words that a failed test shows."""
    seed = random.SystemRandom().getrandbits(32) if fuzzes() else 1
    draw = random.Random(seed)
    for number in range(examples(kind, share)):
        tried(kind)
        yield _mutant(draw, draw.choice(seeds)), f"mutant {number} of seed {seed}"


def _mutant(draw: random.Random, data: bytes) -> bytes:
    """A few bytes changed, most often to values that lengths, types and ids of these formats have."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(changed))
        change = draw.randrange(6)
        if change == 0:
            changed[at] ^= 1 << draw.randrange(8)
        elif change == 1:
            changed[at] = draw.randrange(256)
        elif change == 2:
            changed[at] = draw.choice((0, 1, 2, 3, 4, 7, 8, 9, 10, 12, 28, 0x7F, 0x80, 0xFF))
        elif change == 3:
            other = draw.randrange(0, len(changed), 4)
            changed[at & ~3 : (at & ~3) + 4] = changed[other : other + 4]
        elif change == 4:
            changed[at : at + draw.randint(1, 8)] = b""
        else:
            changed[at:at] = draw.randbytes(draw.randint(1, 8))
        if not changed:
            return b""
    return bytes(changed)


def report(counts: Counter[str]) -> list[str]:
    """A line for each kind: how many inputs were tried, of how many."""
    return [f"{kind:16} {counts[kind]:>8,} tried, {examples(kind):,} wanted" for kind in WANTED]


def short(counts: Counter[str]) -> list[str]:
    """The kinds of which fewer were tried than wanted."""
    return [kind for kind in WANTED if counts[kind] < examples(kind)]
