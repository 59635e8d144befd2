# SPDX-License-Identifier: Apache-2.0
"""The node's uplinks from reading to reading: what each carries, what elephants carry on it, which is the worst.

Enters: the links, their counters, the owners' figures, the uplink of each elephant. Leaves: a footprint that tells
of them. Guarantees: no clock and no I/O. On the wire elephants of a link never exceed what it carried, and ``el``
never exceeds ``used``.

Two VLANs of one bond share a wire. Each is told of by what it carries itself, and by what all on its wire do. The
node's figures are those of all links on the worst wire, for that is what another elephant would meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from footprint.models import MAX_UPLINKS, LinkRates, NodeFootprint, Uplink
from nodeagent.measuring.aggregation import Aggregator, Counted
from nodeagent.measuring.coverage import Coverages
from nodeagent.measuring.link_meter import LinkMeter
from nodeagent.measuring.shares import BookedFlow, oriented, settled, shared
from nodeagent.measuring.truth import Truth
from nodeagent.node.capacity.links import LinkState
from nodeagent.node.link import Link, LinkCounters
from nodeagent.sources.base import UNATTRIBUTED

_NOTHING: Final = LinkRates()
_NO_STATES: Final[Mapping[str, LinkState]] = {}
_WORSE: Final = 0.05
"""By how much more of another link elephants must use before that one is told of as the node's."""

NOT_KNOWN: Final = "uplink-not-known"
"""Among the footprint's reasons: a rule that follows a firewall's mark decides which uplink an elephant uses."""
UNSURE_MEMORY: Final = 60.0
"""Seconds that it stays among them."""


@dataclass(frozen=True, slots=True)
class _Carried:
    """bit/s of one uplink."""

    now: LinkRates | None = None
    """In the last interval; None when its counters give no rate."""
    smoothed: LinkRates | None = None
    most: LinkRates = _NOTHING


class Links:
    """State between readings; see the module."""

    def __init__(self) -> None:
        self.coverage, self.truth = Coverages(), Truth()
        self._meters: dict[str, LinkMeter] = {}
        self._counted = Counted()
        self._link = Link(None, LinkRates())
        self._carried: dict[str, _Carried] = {}
        self._elephants: dict[str | None, LinkRates] = {}
        self._elsewhere_by_rate = 0.0
        self._worst = ""
        self._now, self._unsure_at = 0.0, -math.inf

    def advance(
        self,
        link: Link,
        counters: Mapping[str, LinkCounters],
        owners: Aggregator,
        flows: Iterable[BookedFlow],
        now: float,
    ) -> None:
        """One reading at monotonic ``now``, which ``owners`` has taken already."""
        before, self._link = self._link, link
        if _names(before) != _names(link):
            self.truth.restart()
        self._measure(link, counters, now, anew=owners.restarted)
        self._now = now
        self._share(owners, flows, now)
        counted, self._counted = self._counted, owners.counted
        if owners.sampled is not None:
            self._compare(counted, owners.counted, owners.sampled)

    def told(self, footprint: NodeFootprint, states: Mapping[str, LinkState] = _NO_STATES) -> NodeFootprint:
        """``footprint`` with what is known of the links. ``states``: of those whose capacity is followed."""
        bad = tuple(sorted({*footprint.bad, *self.coverage.reasons, *self.truth.reasons, *self._unsure}))
        links = [
            _with_state(self._uplink(link), states.get(link.interface or ""))
            for link in self._link.all[:MAX_UPLINKS]
        ]
        if not links:
            return replace(footprint, bad=bad)
        whole = self._on_wires(links)
        worst = self._choose(whole)
        links = [
            link if wire is link else replace(link, wire=wire.used, wire_el=wire.el)
            for link, wire in zip(links, whole, strict=True)
        ]
        return replace(
            footprint, bad=bad, up=worst.name, cap=worst.cap, by=worst.by, sure=worst.sure, used=worst.used,
            el=worst.el, full=worst.full,
            uplinks=tuple(sorted(links, key=lambda link: link.name)) if len(links) > 1 else (),
            home=(self._link.interface or "") if len(links) > 1 else "",
        )  # fmt: skip

    @property
    def _unsure(self) -> tuple[str, ...]:
        return (NOT_KNOWN,) if self._now - self._unsure_at < UNSURE_MEMORY else ()

    @property
    def measured(self) -> bool:
        """Whether the links' own counters give rates."""
        return any(one.smoothed is not None for one in self._carried.values())

    def elephants(self, name: str) -> LinkRates:
        """bit/s of the elephants on the link ``name``, as of the last reading."""
        return self._elephants.get(name, _NOTHING)

    def _measure(self, link: Link, counters: Mapping[str, LinkCounters], now: float, *, anew: bool) -> None:
        self._meters = {name: self._meters.get(name) or LinkMeter() for name in _names(link)}
        self._carried = {}
        for name, meter in self._meters.items():
            smoothed = meter.advance(name, counters.get(name), now, anew=anew)
            self._carried[name] = _Carried(meter.sample, smoothed, meter.most)

    def _share(self, owners: Aggregator, flows: Iterable[BookedFlow], now: float) -> None:
        rates = owners.rates_with_elephants()
        carried = {name: one.smoothed for name, one in self._carried.items() if one.smoothed is not None}
        nobody = rates.get(UNATTRIBUTED)
        if nobody is not None and len(carried) == len(self._carried) > 0:
            room = sum((one.most for one in self._carried.values()), LinkRates())
            rates[UNATTRIBUTED] = oriented(nobody, room)
        found = [settled(flow, carried) for flow in flows]
        if not all(sure for _, sure in found):
            self._unsure_at = now
        listed = [flow for flow, _ in found]
        self._elephants = shared(rates, listed, carried, self._link.interface)
        whole, elsewhere = (
            sum(flow.rate for flow in listed),
            sum(flow.rate for flow in listed if flow.uplink is None),
        )
        self._elsewhere_by_rate = elsewhere / whole if whole > 0 else 0.0

    def _compare(self, before: Counted, after: Counted, seconds: float) -> None:
        """What was counted in the last interval, with what the interfaces carried."""
        samples = {name: one.now for name, one in self._carried.items() if one.now is not None}
        if not samples or len(samples) < len(self._carried):
            self.truth.restart()
            return
        tx, rx, nobody, etx, erx = (
            max(new - old, 0) * 8 / seconds for new, old in zip(after, before, strict=True)
        )
        elsewhere = self._elsewhere
        counted = LinkRates(max(tx - etx * elsewhere.tx, 0.0), max(rx - erx * elsewhere.rx, 0.0))
        samples = {name: one for name, one in samples.items() if self._counts_for(name) == name}
        self.truth.advance(counted, nobody, sum(samples.values(), LinkRates()), seconds)
        self.coverage.advance(
            self._booked(counted.tx + counted.rx + nobody),
            {name: one.tx + one.rx for name, one in samples.items()},
            seconds,
        )

    def _counts_for(self, name: str) -> str:
        """The uplink whose counters hold what ``name`` carries: of a VLAN its parent, where that is one as
        well."""
        link = next(link for link in self._link.all if link.interface == name)
        return next((carrier for carrier in link.carriers if carrier in self._carried), name)

    @property
    def _elsewhere(self) -> LinkRates:
        """The part of elephants, 0-1, that uses none of the links. What they carry may be scaled, even to nothing;
        the part is not."""
        whole, elsewhere = sum(self._elephants.values(), LinkRates()), self._elephants.get(None, LinkRates())
        otherwise = self._elsewhere_by_rate
        return LinkRates(
            elsewhere.tx / whole.tx if whole.tx > 0 else otherwise,
            elsewhere.rx / whole.rx if whole.rx > 0 else otherwise,
        )

    def _booked(self, counted: float) -> dict[str, float]:
        """bit/s by uplink: elephants where they are, all else by the default route's."""
        found: dict[str, float] = {}
        for name, el in self._elephants.items():
            if name in self._carried and name is not None:
                at = self._counts_for(name)
                found[at] = found.get(at, 0.0) + el.tx + el.rx
        home = self._counts_for(self._link.interface or "")
        others = sum(rate for name, rate in found.items() if name != home)
        return {**found, home: max(counted - others, 0.0)}

    def _uplink(self, link: Link) -> Uplink:
        name = link.interface or ""
        carried = self._carried.get(name, _Carried())
        el = self._elephants.get(name, LinkRates())
        if carried.smoothed is None:  # its counters give no rate: nothing to hold it against
            return Uplink(name, link.capacity, el=el)
        el = LinkRates(min(el.tx, carried.most.tx), min(el.rx, carried.most.rx))
        used = carried.smoothed.at_least(el)
        return Uplink(name, link.capacity, used=used, el=el)

    def _on_wires(self, links: list[Uplink]) -> list[Uplink]:
        """Each link with what all links on its wire carry."""
        wires = {link.interface: set(link.carriers or (link.interface,)) for link in self._link.all}
        return [self._whole_wire(link, [o for o in links if wires[link.name] & wires[o.name]]) for link in links]

    def _whole_wire(self, link: Uplink, together: list[Uplink]) -> Uplink:
        if len(together) == 1:
            return link
        counting = [other for other in together if self._counts_for(other.name) == other.name]
        el = sum((other.el for other in together), LinkRates())
        used = sum((other.used for other in counting), LinkRates())
        used = used.at_least(link.used)
        return replace(link, el=LinkRates(min(el.tx, used.tx), min(el.rx, used.rx)), used=used)

    def _choose(self, links: list[Uplink]) -> Uplink:
        """The link whose elephants use most of it; the one chosen before unless another is clearly worse; the
        default route's while there are none."""
        home = next((link for link in links if link.name == self._worst), links[0])
        worst = max(links, key=_burden)
        share, rate = _burden(worst)
        if share > _burden(home)[0] + _WORSE or (not any(_burden(home)) and rate > 0):
            home = worst
        self._worst = home.name if any(_burden(home)) else ""
        return home if self._worst else links[0]


def _with_state(link: Uplink, state: LinkState | None) -> Uplink:
    if state is None:
        return link
    found = state.capacity
    return replace(link, cap=found.rates, by=found.by, sure=found.sure, full=state.full)


def _burden(link: Uplink) -> tuple[float, float]:
    return link.elephant_utilisation or 0.0, link.el.busier


def _names(link: Link) -> tuple[str, ...]:
    return tuple(one.interface for one in link.all if one.interface is not None)
