# SPDX-License-Identifier: Apache-2.0
"""Links of known capacity, second by second, as an agent would see them. Pure: a seed decides everything.

Enters: a seed. Leaves: for each second what was carried, and whether packets were held back. Each link names its
truth: the rate that it carries for long.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from footprint.units import MAX_RATE

NOISE: Final = 0.01
"""Relative deviation of a full link's rate between seconds, as the lab's links show it."""
QUIET: Final = 0.02
"""Part of a link that is used between transfers."""
CHANCE: Final = 0.1
"""Chance that a queue is found standing on a link that is not full."""

Second = tuple[float, bool]
"""bit/s carried, and whether packets were held back."""


@dataclass(frozen=True, slots=True)
class SimulatedLink:
    """``truth``: bit/s that it carries for long."""

    name: str
    truth: float
    seconds: Callable[[random.Random], Iterator[Second]]


def _idle(capacity: float, draw: random.Random, seconds: int) -> Iterator[Second]:
    for _ in range(seconds):
        yield capacity * QUIET * draw.uniform(0.5, 1.5), draw.random() < CHANCE


def _steady(draw: random.Random) -> Iterator[Second]:
    """A minute of bulk work, a minute of none."""
    while True:
        for _ in range(60):
            yield 1e9 * draw.gauss(1, NOISE), True
        yield from _idle(1e9, draw, 60)


BURST, BASELINE, CREDIT_SECONDS = 10e9, 0.75e9, 300


def _bursting(draw: random.Random) -> Iterator[Second]:
    """Forty minutes of bulk work on an instance with credit for five at its full speed, ten minutes of rest."""
    full = credit = (BURST - BASELINE) * CREDIT_SECONDS
    while True:
        for _ in range(2400):
            limit = BURST if credit > 0 else BASELINE
            credit = max(0.0, credit - (limit - BASELINE))
            yield limit * draw.gauss(1, NOISE), True
        for rate, busy in _idle(BASELINE, draw, 600):
            credit = min(full, credit + BASELINE - rate)
            yield rate, busy


def _shared(draw: random.Random) -> Iterator[Second]:
    """Bulk work all the time. Neighbours take up to 60 per cent for half of it."""
    while True:
        for taken in (draw.uniform(0.1, 0.6), 0.0):
            for _ in range(draw.randint(30, 120)):
                yield 1e9 * (1 - taken) * draw.gauss(1, NOISE), True


def _never_full(draw: random.Random) -> Iterator[Second]:
    """At most 30 per cent of 1 Gbit/s."""
    while True:
        yield 1e9 * draw.uniform(0.05, 0.3), draw.random() < CHANCE


def _grown(draw: random.Random) -> Iterator[Second]:
    """A quarter of an hour at 1 Gbit/s, then the machine is given 2."""
    for _ in range(900):
        yield 1e9 * draw.gauss(1, NOISE), True
    while True:
        yield 2e9 * draw.gauss(1, NOISE), True


LINKS: Final = (
    SimulatedLink("steady", 1e9, _steady),
    SimulatedLink("bursting by credit", BASELINE, _bursting),
    SimulatedLink("shared", 1e9, _shared),
    SimulatedLink("raised after 15 minutes", 2e9, _grown),
    SimulatedLink("never full", 1e9, _never_full),
)


def carried(link: SimulatedLink, seed: int, seconds: int) -> Iterator[Second]:
    """The first ``seconds`` of ``link``."""
    stream = link.seconds(random.Random(seed))
    for _ in range(seconds):
        rate, busy = next(stream)
        yield min(max(rate, 0.0), MAX_RATE), busy
