# SPDX-License-Identifier: Apache-2.0
"""One pod's rates and class, now and over its whole life.

Enters: the pod's samples. Leaves: a ``PodFootprint`` while it runs, and another when it ended. A job's last second
is usually idle. Its rates then would make the extender learn that the job needs nothing. So an ended pod is
published with its *sustained peak*: the highest mean over ``SUSTAINED_TAU`` seconds, with the elephants' part and
the class of that moment. Its flows are those of its whole life.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from footprint.classes import ClassThresholds, TrafficClass, classify
from footprint.models import PodFootprint
from nodeagent.measuring.hysteresis import ClassState, observe
from nodeagent.measuring.rates import (
    MAX_FLOWS,
    SUSTAINED_TAU,
    Interval,
    LinkBits,
    LinkMeans,
    OwnerRates,
    Totals,
    link_bits,
    weight,
)
from nodeagent.node.pods import LocalPod

_PEAK_FROM: Final = weight(3.0, SUSTAINED_TAU)
"""Weight of a mean over 3 s; a younger mean is no sustained rate."""
_LEAST_SAMPLES: Final = 2


@dataclass(slots=True)
class PodLife:
    """One pod from its first sample to its end."""

    info: LocalPod
    rates: OwnerRates = field(default_factory=OwnerRates)
    state: ClassState = field(default_factory=ClassState)
    sustained: LinkMeans = field(default_factory=LinkMeans)
    peak: LinkBits | None = None
    """The busiest sustained moment so far."""
    peak_class: TrafficClass = TrafficClass.UNKNOWN
    most_elephants: int = 0
    seconds: float = 0.0
    flows_born: int = 0
    flows_ended: int = 0
    mice_ended: int = 0

    def add(
        self,
        step: Totals,
        interval: Interval,
        *,
        elephants: int,
        lasting: bool,
        now: float,
        thresholds: ClassThresholds,
    ) -> None:
        """One sample, as ``OwnerRates`` takes it, at ``now``."""
        bits = link_bits(step, interval.seconds)
        self.rates.add(step, bits, interval, elephants, lasting=lasting)
        self.sustained.add(bits, interval.sustained)
        self.seconds += interval.seconds
        self.flows_born += step.born
        self.flows_ended += step.ended
        self.mice_ended += step.mice
        self.most_elephants = max(self.most_elephants, elephants)
        self.state = observe(self.state, self._shows(thresholds), now)
        self._keep_peak()

    def _shows(self, thresholds: ClassThresholds) -> TrafficClass:
        rates = self.rates
        tx, rx, etx, erx = rates.link
        return classify(
            rate=tx if tx > rx else rx, elephant_rate=etx if etx > erx else erx, new_flows=rates.flows,
            samples=rates.samples, thresholds=thresholds,
        )  # fmt: skip

    @property
    def _taught_class(self) -> TrafficClass:
        """The settled class; before one has settled, the class of the last sample."""
        return self.state.shows if self.state.cls is TrafficClass.UNKNOWN else self.state.cls

    def _keep_peak(self) -> None:
        sustained, peak = self.sustained, self.peak
        if sustained.weight < _PEAK_FROM:
            return
        busier = max(sustained.tx, sustained.rx) / sustained.weight
        if peak is None or self.peak_class is TrafficClass.UNKNOWN or (busier > peak.tx and busier > peak.rx):
            self.peak = sustained.values
            self.peak_class = self._taught_class

    def running(self) -> PodFootprint | None:
        """What it does now; None before its first sample."""
        rates = self.rates
        if not rates.samples:
            return None
        return self._footprint(
            self.state.cls, rates.link, count=rates.elephants, flows=rates.flows, share=rates.mice_share
        )  # fmt: skip

    def ended(self) -> PodFootprint | None:
        """What it teaches; None when there were too few samples to teach anything."""
        if self.rates.samples < _LEAST_SAMPLES:
            return None
        peak, cls = (self.peak, self.peak_class) if self.peak else (self.sustained.values, self._taught_class)
        share = self.mice_ended / self.flows_ended if self.flows_ended else 0.0
        return self._footprint(
            cls,
            peak,
            count=self.most_elephants,
            flows=self.flows_born / self.seconds,
            share=min(share, 1.0),
        )

    def _footprint(
        self, cls: TrafficClass, link: LinkBits, *, count: int, flows: float, share: float
    ) -> PodFootprint:
        info = self.info
        return PodFootprint(
            uid=info.uid, ns=info.ns, name=info.name, wl=info.workload, cls=cls, tx=link.tx, rx=link.rx,
            etx=link.etx, erx=link.erx, el=count, nf=min(flows, MAX_FLOWS), ms=share,
        )  # fmt: skip
