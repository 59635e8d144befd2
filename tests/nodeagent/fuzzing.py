# SPDX-License-Identifier: Apache-2.0
"""Mutated bytes in numbers that hypothesis is too slow for.

``make test`` draws a share of them, the same every time. ``make fuzz`` draws all, from another seed each time. A
failure names the seed. ``tests.fuzzing`` has the numbers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests import fuzzing


def mutations(kind: str, seeds: list[bytes], share: float = 1.0) -> Iterator[tuple[bytes, str]]:
    """Mutants of ``seeds``, ``share`` of all of their ``kind``, each with the words that a failed test shows."""
    seed = random.SystemRandom().getrandbits(32) if fuzzing.fuzzes() else 1
    draw = random.Random(seed)
    for number in range(fuzzing.examples(kind, share)):
        fuzzing.tried(kind)
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
