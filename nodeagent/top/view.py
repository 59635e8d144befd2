# SPDX-License-Identifier: Apache-2.0
"""One reading as it is shown: names instead of UIDs, sorted, with what a person must know beside it.

Enters: a reading, the footprints made of it, the link, this node's pods. Leaves: a ``View``, which the three
outputs only format. Guarantees: pure; the busiest owner and the fastest elephant come first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from footprint.classes import TrafficClass
from footprint.models import LinkRates, NodeFootprint, PodFootprint, Uplink
from nodeagent.node.link import Link
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import CARRIER, Counters, Elephant, Reading

_PROTOCOLS: Final = {
    1: "icmp",
    6: "tcp",
    17: "udp",
    33: "dccp",
    47: "gre",
    58: "icmpv6",
    132: "sctp",
    136: "udplite",
}


@dataclass(frozen=True, slots=True)
class ElephantRow:
    owners: tuple[str, ...]
    protocol: str
    source: str
    destination: str
    rate: float
    """bit/s."""
    carried: int
    """Bytes, both directions."""
    age: float
    """Seconds since it became an elephant."""
    local: bool
    """Both ends are on this machine: it does not use the link."""


@dataclass(frozen=True, slots=True)
class OwnerRow:
    name: str
    cls: TrafficClass
    rates: LinkRates
    elephants: LinkRates
    """The part of ``rates`` that elephants carry."""
    elephant_flows: int
    new_flows: float
    """Per second."""
    mice_share: float | None
    """Of the flows that ended, the part that ended as mice, 0-1; None: none has ended yet."""
    counted: Counters
    """Cumulative since measuring began (within the reading's epoch)."""
    uid: str = ""
    """The pod's; empty where there is only a name."""

    @property
    def idle(self) -> bool:
        return self.rates.busier < 1 and self.new_flows < 0.05 and not self.elephant_flows


@dataclass(frozen=True, slots=True)
class View:
    time: str
    """UTC, ISO 8601."""
    source: str
    epoch: int
    flows: int
    interface: str | None
    capacity: LinkRates
    """bit/s per direction; 0: not known."""
    used: LinkRates
    """By the interface's counters; without an interface, the sum of the owners."""
    by_elephants: LinkRates
    local: float
    """bit/s between two ends on this machine."""
    coverage: float | None
    """Bytes that conntrack counted over bytes that the interface carried."""
    elephants: tuple[ElephantRow, ...] = ()
    owners: tuple[OwnerRow, ...] = ()
    uplinks: tuple[Uplink, ...] = ()
    """Every link, where this machine has more than one. Then the view's own is the one that elephants use most."""
    lost: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def utilisation(self) -> LinkRates | None:
        """0-1 per direction; None when the capacity is not known."""
        if not (self.capacity.tx and self.capacity.rx):
            return None
        return LinkRates(self.used.tx / self.capacity.tx, self.used.rx / self.capacity.rx)


def build(
    *,
    time: str,
    reading: Reading,
    node: NodeFootprint,
    others: NodeFootprint,
    pods: Mapping[str, LocalPod],
    link: Link,
    used: LinkRates | None,
    coverage: float | None,
    notes: tuple[str, ...] = (),
) -> View:
    """``node`` has the pods and the totals, ``others`` host, unattributed and carrier in the same form; ``used``
    None: the interface's counters give no rate. Where no tunnel carries anything there is no carrier."""
    footprints = (*node.pods, *(f for f in others.pods if f.uid != CARRIER or CARRIER in reading.owners))
    carried = sum((LinkRates(p.tx, p.rx) for p in footprints if p.uid != CARRIER), LinkRates())
    return View(
        time=time,
        source=node.src,
        epoch=reading.epoch,
        flows=reading.flows,
        interface=node.up or link.interface,
        capacity=node.cap if node.up else link.capacity,
        used=carried if used is None else used,
        by_elephants=node.el,
        local=node.local,
        coverage=coverage,
        elephants=tuple(_elephant(flow, pods, reading.taken_at) for flow in _fastest_first(reading.elephants)),
        owners=_owners(footprints, reading, pods),
        uplinks=node.uplinks,
        lost={kind.value: count for kind, count in reading.lost.items() if count},
        notes=notes,
    )


def _fastest_first(elephants: tuple[Elephant, ...]) -> list[Elephant]:
    return sorted(elephants, key=lambda flow: (-flow.rate, flow.source, flow.destination))


def _name(owner: str, pods: Mapping[str, LocalPod]) -> str:
    return pods[owner].display_name if owner in pods else owner


def _elephant(flow: Elephant, pods: Mapping[str, LocalPod], now: float) -> ElephantRow:
    return ElephantRow(
        owners=tuple(_name(owner, pods) for owner in dict.fromkeys(flow.owners)),
        protocol=_PROTOCOLS.get(flow.protocol, str(flow.protocol)),
        source=flow.source,
        destination=flow.destination,
        rate=flow.rate,
        carried=flow.bytes,
        age=max(now - flow.since, 0.0),
        local=flow.local,
    )


def _owners(
    footprints: tuple[PodFootprint, ...], reading: Reading, pods: Mapping[str, LocalPod]
) -> tuple[OwnerRow, ...]:
    rows = (_owner(footprint, reading.owners.get(footprint.uid), pods) for footprint in footprints)
    return tuple(sorted(rows, key=lambda row: (-round(row.rates.busier), row.name)))


def _owner(footprint: PodFootprint, counted: Counters | None, pods: Mapping[str, LocalPod]) -> OwnerRow:
    counted = counted or Counters()
    name = _name(footprint.uid, pods)
    return OwnerRow(
        name=name,
        cls=footprint.cls,
        rates=LinkRates(footprint.tx, footprint.rx),
        elephants=footprint.elephants,
        elephant_flows=footprint.el,
        new_flows=footprint.nf,
        mice_share=footprint.ms if counted.flows_ended else None,
        counted=counted,
        uid=footprint.uid if footprint.uid != name else "",
    )
