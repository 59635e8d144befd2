# SPDX-License-Identifier: Apache-2.0
"""Mutated bytes in numbers that hypothesis is too slow for.

``make test`` takes a share, the same every time; ``make fuzz`` (hypothesis' profile of that name) takes all, from
another seed each time, which a failure names.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import settings


def mutations(seeds: list[bytes], *, share: int, whole: int) -> Iterator[tuple[bytes, str]]:
    """Mutants of ``seeds``, each with the words that a failed assertion should show."""
    fuzz = settings().max_examples == settings.get_profile("fuzz").max_examples
    seed = random.SystemRandom().getrandbits(32) if fuzz else 1
    draw = random.Random(seed)
    for number in range(whole if fuzz else share):
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
