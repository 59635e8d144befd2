# SPDX-License-Identifier: Apache-2.0
"""The acceptance rule of the demo, applied to its two runs: pure.

With Traffic Footprint, the p99 of mice must be at most a fifth of the default scheduler's, and the goodput of
elephants must not be lower. Runs in which a pod has no result are not accepted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lab.demo.report import RunReport

P99_RATIO: Final = 5.0
"""How many times lower p99 has to be."""
GOODPUT_NOISE: Final = 0.01
"""Part by which the goodput of two runs may differ with nothing changed; it was 0.999 to 1.001 times the other's
where every elephant had a link to itself in both."""


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the rule: what it asks, the figures, and whether they fulfil it."""

    asks: str
    found: str
    passed: bool

    def __str__(self) -> str:
        return f"{'pass' if self.passed else 'FAIL'}  {self.asks}: {self.found}"


def judge(default: RunReport, extender: RunReport) -> tuple[Check, ...]:
    """The rule's parts, in order of reading."""
    return (_complete(default, extender), _latency(default, extender), _goodput(default, extender))


def _complete(default: RunReport, extender: RunReport) -> Check:
    missing = [f"{pod} ({run.scheduler})" for run in (default, extender) for pod in run.unplaced]
    both = all(run.mice and run.elephants for run in (default, extender))
    found = f"none from {', '.join(missing)}" if missing else "all" if both else "a run without mice or elephants"
    return Check("every pod has a result", found, both and not missing)


def _latency(default: RunReport, extender: RunReport) -> Check:
    before, after = default.p99, extender.p99
    return Check(
        f"mice p99 at most 1/{P99_RATIO:.0f} of the default scheduler's",
        f"{after * 1e3:.2f} of {before * 1e3:.2f} ms",
        0 < after <= before / P99_RATIO,
    )


def _goodput(default: RunReport, extender: RunReport) -> Check:
    before, after = default.goodput, extender.goodput
    return Check(
        f"elephants' goodput not lower (beyond {GOODPUT_NOISE:.0%} of noise)",
        f"{after / 1e6:.1f} of {before / 1e6:.1f} Mbit/s",
        0 < before * (1 - GOODPUT_NOISE) <= after,
    )
