# SPDX-License-Identifier: Apache-2.0
"""``python -m lab.bench.agent.capacity``: how well is a link's capacity learned from the link itself?

Enters: simulated links of known capacity. Leaves: for each, the agent's estimate and its error, beside the largest
rate that was ever seen, which is the simplest rule. Pure arithmetic: the figures are the same on every machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from footprint.units import format_rate
from lab.bench.agent.simulated_links import LINKS, SimulatedLink, carried
from nodeagent.node.capacity.direction import Direction

MINUTES: Final = (1, 10, 60)
FIRM: Final = 0.5
"""Confidence from which the extender filters by an estimate."""


@dataclass(frozen=True, slots=True)
class Learned:
    """After a while on one link. Rates in bit/s."""

    link: SimulatedLink
    minutes: int
    estimate: float
    sure: float
    largest: float
    """The largest mean of five seconds."""

    @property
    def error(self) -> float | None:
        """Of the estimate, as a part of the truth; None where there is none."""
        return self.estimate / self.link.truth - 1 if self.estimate else None

    @property
    def largest_error(self) -> float:
        return self.largest / self.link.truth - 1


def learn(link: SimulatedLink, minutes: Sequence[int] = MINUTES, seed: int = 1) -> list[Learned]:
    """What is learned of ``link`` after each of ``minutes``."""
    direction, found = Direction(), []
    for second, (rate, busy) in enumerate(carried(link, seed, 60 * max(minutes)), 1):
        direction.after(rate, 1.0, busy=busy, now=float(second))
        if second % 60 == 0 and second // 60 in minutes:
            learned = direction.learned
            found.append(Learned(link, second // 60, learned.rate, learned.sure, direction.most))
    return found


def _row(learned: Learned) -> str:
    error = "-" if learned.error is None else f"{learned.error:+.0%}"
    estimate = format_rate(learned.estimate) if learned.estimate else "none"
    cells = (
        learned.link.name, format_rate(learned.link.truth), f"{learned.minutes} min", estimate, error,
        f"{learned.sure:.2f}", format_rate(learned.largest), f"{learned.largest_error:+.0%}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table of docs/explanation/measurements.md."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.agent.capacity", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    print("| link | truth | after | estimate | error | sure | largest rate seen | its error |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for link in LINKS:
        for learned in learn(link, seed=seed):
            print(_row(learned))


if __name__ == "__main__":
    main()
