# SPDX-License-Identifier: Apache-2.0
"""What a workload's pods typically do, smoothed over many samples.

Enters: one workload's tally over all nodes, once per sample. Leaves: a Profile. Pure. Guarantees: a profile lies
within the range of its samples, and its peaks are never below its typical rates.

A profile is the mean of its samples, and an exponentially weighted mean once there are ``WINDOW`` of them. Only
samples of busy pods count, and each trait (elephants, mice) is averaged over the samples that show it: so idle
samples do not dilute what a workload does when it is busy. A peak rises at once and falls slowly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from extender.model.demand import Demand, Origin, Tally
from footprint.classes import TrafficClass
from footprint.units import quantise

WINDOW: Final = 720
"""Samples after which old ones fade: six hours at the default interval. For a nightly job of half an hour these
are about two weeks, for a service the last working day."""

HYSTERESIS: Final = 0.1
"""A trait is gained at 60 percent of the samples and lost below 40."""

HALFWAY: Final = 3
"""Samples at which confidence is 50 percent."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Elephant bit/s of one pod in one direction."""

    typical: float = 0.0
    peak: float = 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    samples: int = 0
    cls: TrafficClass = TrafficClass.UNKNOWN
    active: int = 0
    """Samples of busy pods, at most ``WINDOW``."""
    hurting: float = 0.0
    """Part of them with elephants, smoothed, 0-1."""
    suffering: float = 0.0
    """Part of them with mice."""
    tx: Rates = Rates()
    rx: Rates = Rates()
    mice: float = 0.0
    """Mice weight of one pod."""
    flows: float = 0.0
    """Mice flows per second of one pod."""

    @property
    def confidence(self) -> int:
        """Percent: how little one more sample could change."""
        return round(100 * self.samples / (self.samples + HALFWAY))


NOTHING_YET: Final = Profile()


def known(samples: int, cls: TrafficClass, *, tx: Rates, rx: Rates, mice: float, flows: float) -> Profile:
    """The profile that a record holds, to which further samples can be added."""
    active = 0 if cls is TrafficClass.QUIET else min(samples, WINDOW)
    return Profile(samples, cls, active, float(cls.hurts), float(cls.suffers), tx, rx, mice, flows)


def _towards(old: float, new: float, part: float) -> float:
    return old + part * (new - old) if part < 1 else new


def _rates(old: Rates, mean: float, peak: float, part: float) -> Rates:
    highest = max(peak, mean)  # the largest pod has at least the mean, but for rounding
    slow = highest if part >= 1 else max(highest, _towards(old.peak, highest, 1 / WINDOW))
    return Rates(min(_towards(old.typical, mean, part), slow), slow)


def _trait(share: float, had: bool) -> bool:
    return share >= (0.5 - HYSTERESIS if had else 0.5 + HYSTERESIS)


def _class(hurting: float, suffering: float, before: TrafficClass) -> TrafficClass:
    hurts, suffers = _trait(hurting, before.hurts), _trait(suffering, before.suffers)
    if not (hurts or suffers):
        hurts, suffers = hurting >= suffering, suffering > hurting
    if hurts:
        return TrafficClass.MIXED if suffers else TrafficClass.ELEPHANT
    return TrafficClass.MOUSE


def fold(profile: Profile, tally: Tally) -> Profile:
    """``profile`` after one more sample: the pods that are measured now, of which there must be one at least."""
    samples = profile.samples + 1
    if not tally.active:
        cls = TrafficClass.QUIET if profile.cls is TrafficClass.UNKNOWN else profile.cls
        return replace(profile, samples=samples, cls=cls)
    active = min(profile.active + 1, WINDOW)
    weight = 1 / active
    hurts, suffers = 2 * tally.hurting >= tally.active, 2 * tally.suffering >= tally.active
    hurting = _towards(profile.hurting, float(hurts), weight)
    suffering = _towards(profile.suffering, float(suffers), weight)
    after = replace(
        profile, samples=samples, active=active, hurting=hurting, suffering=suffering,
        cls=_class(hurting, suffering, profile.cls),
    )  # fmt: skip
    if hurts:
        n, part = tally.hurting, weight / hurting
        after = replace(
            after, tx=_rates(profile.tx, tally.tx / n, tally.peak_tx, part),
            rx=_rates(profile.rx, tally.rx / n, tally.peak_rx, part),
        )  # fmt: skip
    if suffers:
        n, part = tally.suffering, weight / suffering
        after = replace(
            after, mice=_towards(profile.mice, tally.mice / n, part),
            flows=_towards(profile.flows, tally.flows / n, part),
        )  # fmt: skip
    return after


def remembered(profile: Profile) -> Demand | None:
    """The demand that a profile predicts; None before its first sample."""
    if profile.cls is TrafficClass.UNKNOWN:
        return None
    tx, rx = (profile.tx.typical, profile.rx.typical) if profile.cls.hurts else (0.0, 0.0)
    mice = profile.mice if profile.cls.suffers else 0.0
    return Demand(profile.cls, quantise(tx), quantise(rx), quantise(mice), Origin.REMEMBERED)
