# SPDX-License-Identifier: Apache-2.0
"""What elephants carry on each uplink. Pure.

Enters: what each owner's elephants carry, and which uplink each elephant uses. Leaves: bit/s per uplink. An owner
whose elephants all use one uplink is exact. Of one whose elephants use several, each direction is shared by the
flows' rates, and by what the uplinks carried: a flow's rate is that of its busier direction, and an uplink that
received nothing did not receive it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from footprint.models import LinkRates
from footprint.units import MAX_RATE
from nodeagent.measuring.rates import LinkBits


class BookedFlow(NamedTuple):
    """An elephant of one owner, and its uplink."""

    owner: str
    uplink: str | None
    """None: it uses none of those that are measured."""
    rate: float
    """bit/s."""
    instead: tuple[str | None, ...] = ()
    """Where it is if a firewall marks its packets."""


_CARRIES: Final = 0.5
"""Part of a flow's rate that an uplink must have carried to be the flow's: both are means, of different times."""


def settled(flow: BookedFlow, carried: Mapping[str, LinkRates]) -> tuple[BookedFlow, bool]:
    """The flow on the only uplink that carried as much as it has; else where it is without a mark. And whether
    that is sure: not when several carried so much."""
    if not flow.instead:
        return flow, True
    able = [
        uplink
        for uplink in (flow.uplink, *flow.instead)
        if uplink is not None and uplink in carried and carried[uplink].busier >= _CARRIES * flow.rate
    ]
    return flow._replace(uplink=able[0] if len(able) == 1 else flow.uplink, instead=()), len(able) <= 1


def shared(
    owners: Mapping[str, LinkBits], flows: Iterable[BookedFlow], carried: Mapping[str, LinkRates], home: str | None
) -> dict[str | None, LinkRates]:
    """bit/s of elephants by uplink, None for those that use none. ``carried``: bit/s of each interface. ``home``:
    the uplink of owners whose elephants are not listed any more."""
    rates: dict[str, dict[str | None, float]] = {}
    for flow in flows:
        known = rates.setdefault(flow.owner, {})
        known[flow.uplink] = known.get(flow.uplink, 0.0) + max(flow.rate, 1.0)
    found: dict[str | None, list[float]] = {}
    for owner, bits in owners.items():
        by_rate = rates.get(owner) or {home: 1.0}
        for at, value in enumerate((bits.etx, bits.erx)):
            weights = _weights(by_rate, carried, at)
            whole = sum(weights.values())
            for uplink, weight in weights.items():
                found.setdefault(uplink, [0.0, 0.0])[at] += value * weight / whole
    return {uplink: LinkRates(min(tx, MAX_RATE), min(rx, MAX_RATE)) for uplink, (tx, rx) in found.items()}


def _weights(
    by_rate: Mapping[str | None, float], carried: Mapping[str, LinkRates], at: int
) -> Mapping[str | None, float]:
    if len(by_rate) == 1:
        return by_rate
    weights = {
        uplink: min(rate, (room.tx, room.rx)[at]) if uplink and (room := carried.get(uplink)) else rate
        for uplink, rate in by_rate.items()
    }
    return weights if sum(weights.values()) > 0 else by_rate


def oriented(bits: LinkBits, room: LinkRates) -> LinkBits:
    """Traffic of nobody known, as the link carried it. Which direction is sent is convention where both ends are
    elsewhere; what exceeds the ``room`` of one direction and fits into the other's belongs there."""
    to_rx = max(min(bits.tx - room.tx, room.rx - bits.rx), 0.0)
    to_tx = max(min(bits.rx - room.rx, room.tx - bits.tx), 0.0)
    of_tx = to_rx / bits.tx if bits.tx > 0 else 0.0
    of_rx = to_tx / bits.rx if bits.rx > 0 else 0.0
    return LinkBits(
        bits.tx - to_rx + to_tx,
        bits.rx + to_rx - to_tx,
        bits.etx * (1 - of_tx) + bits.erx * of_rx,
        bits.erx * (1 - of_rx) + bits.etx * of_tx,
    )
