# SPDX-License-Identifier: Apache-2.0
"""``auto`` while it runs: the source that does not see the link's traffic is changed for the one that does.

Conntrack's hooks attach to every kernel, also where the network's packets pass conntrack by. Only the coverage
tells. So the agent starts with conntrack, and tells this module the coverage after each reading.

Enters: coverages. Leaves: readings of one source at a time. Guarantees: a change begins a new epoch, and so counts
nothing twice. The source in use ends only when the other one has opened. A change that brought little is taken
back, and not tried again for a long time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import structlog

from nodeagent.sources.base import FlowSource, FlowThresholds, Locality, Reading, SourceUnavailable

PATIENCE: Final = 60.0
"""Seconds for which the coverage must have been low. It is a mean of a minute already."""
TRIAL: Final = 240.0
"""Seconds until a change is judged: four times the mean's minute, so that little is left of the time before."""
GAIN: Final = 0.1
"""By how much the coverage must be better after a change than before it."""
RETRY: Final = 3600.0
"""Seconds without another try after one that was refused or taken back."""

_log = structlog.get_logger(__name__)


class Step(StrEnum):
    """What to do now."""

    STAY = "stay"
    CHANGE = "change"
    BACK = "back"


@dataclass(slots=True)
class Judge:
    """When to change. Pure: coverages and monotonic ``now`` in, steps out."""

    changed: bool = False
    _low_since: float | None = None
    _blocked_until: float = 0.0
    _changed_at: float | None = None
    """While the change is on trial."""
    _before: float = 0.0

    def advance(self, coverage: float | None, now: float, *, low: bool) -> Step:
        """``coverage`` is None while the link carries too little to tell."""
        if self._changed_at is not None:
            return self._on_trial(coverage, now)
        if self.changed or not low or coverage is None or now < self._blocked_until:
            self._low_since = None
            return Step.STAY
        if self._low_since is None:
            self._low_since = now
        if now - self._low_since < PATIENCE:
            return Step.STAY
        self.changed, self._changed_at, self._before, self._low_since = True, now, coverage, None
        return Step.CHANGE

    def _on_trial(self, coverage: float | None, now: float) -> Step:
        if coverage is None or self._changed_at is None or now - self._changed_at < TRIAL:
            return Step.STAY
        self._changed_at = None
        if coverage >= self._before + GAIN:
            return Step.STAY
        self.block(now)
        return Step.BACK

    def block(self, now: float) -> None:
        """The change was refused, or is taken back."""
        self.changed, self._changed_at = False, None
        self._blocked_until = now + RETRY


class ChangingSource:
    """The source in use, and how to make each of the two. Its name is that of the source in use."""

    def __init__(self, used: FlowSource, other: Callable[[], FlowSource], again: Callable[[], FlowSource]) -> None:
        """``used`` is open. ``other`` and ``again`` make the one to change to, and one like ``used``, unopened."""
        self._used, self._other, self._again = used, other, again
        self.name = used.name
        self._judge = Judge()
        self._epochs = 0
        self._last = 0
        self._locality: Locality | None = None
        self._thresholds: FlowThresholds | None = None
        self.changes = 0
        """How often the source was changed."""

    @property
    def keep(self) -> bool:
        return self._used.keep

    @keep.setter
    def keep(self, keep: bool) -> None:
        self._used.keep = keep

    @property
    def pinned(self) -> bool:
        return self._used.pinned

    def open(self) -> None:
        """Open the source in use anew, which is a new epoch."""
        self._used.open()
        self.name = self._used.name

    def set_locality(self, locality: Locality) -> None:
        self._locality = locality
        self._used.set_locality(locality)

    def set_thresholds(self, thresholds: FlowThresholds) -> None:
        self._thresholds = thresholds
        self._used.set_thresholds(thresholds)

    def read(self, now: float) -> Reading:
        reading = self._used.read(now)
        self._last = self._epochs + reading.epoch
        return replace(reading, epoch=self._last)

    def wait(self, timeout: float) -> bool:
        return self._used.wait(timeout)

    def close(self) -> None:
        self._used.close()

    def reconsider(self, coverage: float | None, now: float, *, low: bool) -> bool:
        """Whether another source is in use from now on, given the coverage of the one before."""
        step = self._judge.advance(coverage, now, low=low)
        if step is Step.STAY:
            return False
        made = self._other() if step is Step.CHANGE else self._again()
        try:
            self._take(made)
        except SourceUnavailable as refusal:
            made.close()
            self._judge.block(now)
            _log.warning(
                "the source in use does not see most of the link's traffic, and the other one cannot run here",
                used=self.name, other=made.name, coverage=coverage, reason=str(refusal),
            )  # fmt: skip
            return False
        _log.warning(
            "the source did not see most of the link's traffic; another one counts from now on"
            if step is Step.CHANGE
            else "the other source saw no more of the link's traffic; the one before counts again",
            source=self.name, coverage=coverage,
        )  # fmt: skip
        return True

    def _take(self, made: FlowSource) -> None:
        """Raises SourceUnavailable; the source in use stays then."""
        if self._thresholds is not None:
            made.set_thresholds(self._thresholds)
        if self._locality is not None:
            made.set_locality(self._locality)
        made.open()
        made.keep = False
        before, self._used, self._epochs = self._used, made, self._last
        before.keep = False
        before.close()
        self.name = made.name
        self.changes += 1
