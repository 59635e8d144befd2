"""What one pod's life taught: rates now, class now, and what remains of them when it has ended.

Enters: its samples. Leaves: ``PodFootprint`` while it runs, and once more when it ended. A job's last second is
usually idle and its last figures would teach that it needs nothing: an ended pod is published with its
*sustained peak*, the highest mean over ``SUSTAINED_TAU`` seconds it reached, with the elephants' part and the
class of that moment; flows are those of its whole life.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

from footprint.classes import ClassThresholds, TrafficClass, classify
from footprint.models import LinkRates, PodFootprint
from nodeagent.hysteresis import ClassState, observe
from nodeagent.pods import PodInfo
from nodeagent.rates import SUSTAINED_TAU, LinkMeans, OwnerRates, Totals

_PEAK_FROM: Final = -math.expm1(-3.0 / SUSTAINED_TAU)
"""Weight of a mean over 3 s: what is younger is a blip, not a sustained rate."""
_LEAST_SAMPLES: Final = 2


@dataclass(frozen=True, slots=True)
class Moment:
    """Rates over the link at one moment, bit/s."""

    rates: LinkRates
    elephants: LinkRates


@dataclass(slots=True)
class PodLife:
    """One pod from its first sample to its end."""

    info: PodInfo
    rates: OwnerRates = field(default_factory=OwnerRates)
    state: ClassState = field(default_factory=ClassState)
    sustained: LinkMeans = field(default_factory=lambda: LinkMeans(SUSTAINED_TAU))
    peak: Moment | None = None
    """The busiest sustained moment so far."""
    peak_class: TrafficClass = TrafficClass.UNKNOWN
    most_elephants: int = 0
    seconds: float = 0.0
    flows: Totals = field(default_factory=Totals)

    def add(
        self, step: Totals, seconds: float, *, elephants: int, now: float, thresholds: ClassThresholds
    ) -> None:
        """One sample of ``seconds``."""
        self.rates.add(step, seconds, elephants)
        self.sustained.add(step, seconds)
        self.seconds += seconds
        self.flows = Totals(
            born=self.flows.born + step.born,
            ended=self.flows.ended + step.ended,
            mice=self.flows.mice + step.mice,
        )
        self.most_elephants = max(self.most_elephants, elephants)
        self.state = observe(self.state, self._shows(thresholds), now)
        self._keep_peak()

    def _shows(self, thresholds: ClassThresholds) -> TrafficClass:
        return classify(
            rate=self.rates.link.all.busier,
            elephant_rate=self.rates.link.elephants.busier,
            new_flows=self.rates.flows.value,
            samples=self.rates.samples,
            thresholds=thresholds,
        )

    @property
    def _taught_class(self) -> TrafficClass:
        """The class believed; for a life too short to settle, the one that shows."""
        return self.state.shows if self.state.cls is TrafficClass.UNKNOWN else self.state.cls

    def _keep_peak(self) -> None:
        known = self.peak is not None and self.peak_class is not TrafficClass.UNKNOWN
        higher = self.peak is None or self.sustained.all.busier > self.peak.rates.busier
        if self.sustained.tx.weight >= _PEAK_FROM and (higher or not known):
            self.peak = Moment(self.sustained.all, self.sustained.elephants)
            self.peak_class = self._taught_class

    def running(self) -> PodFootprint | None:
        """What it does now; None before its first sample."""
        if not self.rates.samples:
            return None
        now = Moment(self.rates.link.all, self.rates.link.elephants)
        return self._footprint(
            self.state.cls,
            now,
            count=self.rates.elephants,
            flows=self.rates.flows.value,
            share=self.rates.mice_share,
        )

    def ended(self) -> PodFootprint | None:
        """What it teaches; None when there were too few samples to teach anything."""
        if self.rates.samples < _LEAST_SAMPLES:
            return None
        peak, cls = (self.peak, self.peak_class) if self.peak else (self._so_far(), self._taught_class)
        share = self.flows.mice / self.flows.ended if self.flows.ended else 0.0
        return self._footprint(
            cls,
            peak,
            count=self.most_elephants,
            flows=self.flows.born / self.seconds,
            share=min(share, 1.0),
        )

    def _so_far(self) -> Moment:
        return Moment(self.sustained.all, self.sustained.elephants)

    def _footprint(
        self, cls: TrafficClass, moment: Moment, *, count: int, flows: float, share: float
    ) -> PodFootprint:
        info, rates, elephants = self.info, moment.rates, moment.elephants
        return PodFootprint(
            uid=info.uid, ns=info.ns, name=info.name, wl=info.workload, cls=cls, tx=rates.tx, rx=rates.rx,
            etx=elephants.tx, erx=elephants.rx, el=count, nf=min(flows, 1e9), ms=share,
        )  # fmt: skip
