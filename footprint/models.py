# SPDX-License-Identifier: Apache-2.0
"""What a node publishes: plain frozen values, in SI units, without any Kubernetes type.

The short field names are the JSON keys of the annotation (``footprint.codec``): it holds hundreds of pods in 64
KiB, and the API server sends every byte to every watcher of Nodes. Each field's meaning and unit stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Final

from annotated_types import Ge, Le, MaxLen
from pydantic import ConfigDict, StringConstraints

from footprint.classes import TrafficClass
from footprint.units import MAX_RATE

VERSION: Final = 1

_STRICT: Final = ConfigDict(strict=True, allow_inf_nan=False)
"""For pydantic, when it reads these values from JSON: no coercion, no NaN."""

Rate = Annotated[float, Ge(0), Le(MAX_RATE)]
"""bit/s."""
Share = Annotated[float, Ge(0), Le(1)]
Count = Annotated[int, Ge(0), Le(2**53)]
Name = Annotated[str, StringConstraints(max_length=253, pattern=r"^[-A-Za-z0-9_.:/~]*$")]
"""The characters of Kubernetes names: nothing that a terminal, a table or a metric's label would interpret."""


@dataclass(frozen=True, slots=True)
class LinkRates:
    """bit/s over the node's links, per direction as seen from the node."""

    __pydantic_config__: ClassVar = _STRICT

    tx: Rate = 0.0
    rx: Rate = 0.0

    @property
    def busier(self) -> float:
        return max(self.tx, self.rx)

    def __add__(self, other: LinkRates) -> LinkRates:
        return LinkRates(self.tx + other.tx, self.rx + other.rx)

    def at_least(self, other: LinkRates) -> LinkRates:
        """The larger of both in each direction."""
        return LinkRates(max(self.tx, other.tx), max(self.rx, other.rx))


@dataclass(frozen=True, slots=True)
class PodFootprint:
    """One pod's measured traffic over its node's links; node-internal traffic is not in it."""

    __pydantic_config__: ClassVar = _STRICT

    uid: Name
    ns: Name
    name: Name
    wl: Name
    """Workload inside the namespace, ``Kind/name`` (``footprint.workload``)."""
    cls: TrafficClass
    tx: Rate = 0.0
    """Everything the pod sends over the link, bit/s (EWMA)."""
    rx: Rate = 0.0
    etx: Rate = 0.0
    """The part of ``tx`` carried by elephant flows, bit/s (EWMA)."""
    erx: Rate = 0.0
    el: Count = 0
    """Elephant flows now."""
    nf: Annotated[float, Ge(0), Le(1e9)] = 0.0
    """New flows per second (EWMA)."""
    ms: Share = 0.0
    """Mice share: of the flows that ended, the part that ended as mice; 0-1."""

    @property
    def elephants(self) -> LinkRates:
        return LinkRates(self.etx, self.erx)

    @property
    def busier(self) -> float:
        return max(self.tx, self.rx)


class CapacitySource(StrEnum):
    """Where a link's capacity came from. A reader that does not know a value treats it as not known where from."""

    STATED = "stated"  # an operator named it
    DRIVER = "driver"  # the interface's driver reports it
    ESTIMATED = "estimated"  # it follows from what the link carried while it was full
    ASSUMED = "assumed"  # nothing tells, so a common value stands in


MAX_UPLINKS: Final = 16
"""Links of one node in its footprint."""


FULL_SHARE: Final = 0.9
"""Least share of a link that its elephants use while it is full. TCP's elephants take what a link gives. Headers
and averaging hide the rest, so 90 % measured means that they want more."""


def direction_share(el: float, cap: float, *, full: bool) -> float | None:
    """Elephants' share of one direction, 0-1; None when the capacity is not known, and no queue says that they
    fill it."""
    share = min(el / cap, 1.0) if cap > 0 else None
    return max(share or 0.0, FULL_SHARE) if full and el > 0 else share


def _elephant_utilisation(el: LinkRates, cap: LinkRates, full: tuple[str, ...]) -> float | None:
    ways = (
        direction_share(el.tx, cap.tx, full="tx" in full),
        direction_share(el.rx, cap.rx, full="rx" in full),
    )
    return max((share for share in ways if share is not None), default=None)


@dataclass(frozen=True, slots=True)
class Uplink:
    """One of several links of a node."""

    __pydantic_config__: ClassVar = _STRICT

    name: Name
    """Interface."""
    cap: LinkRates = LinkRates()
    """Capacity per direction, bit/s; 0 means not known."""
    by: Name = ""
    """Where the capacity came from: ``stated``, ``driver``, ``estimated`` or ``assumed``."""
    sure: Share = 0.0
    """Confidence in an estimated capacity, 0-1."""
    used: LinkRates = LinkRates()
    """All that the interface carried, by its own counters, bit/s (EWMA)."""
    el: LinkRates = LinkRates()
    """Elephants on it, bit/s."""
    full: tuple[Name, ...] = ()
    """Directions (``tx``, ``rx``) in which it is saturated now."""
    wire: LinkRates = LinkRates()
    """Where others share its wire, as two VLANs of one card do: what all of them carried, bit/s (EWMA)."""
    wire_el: LinkRates = LinkRates()
    """Elephants of all that share its wire, bit/s."""

    @property
    def elephant_utilisation(self) -> float | None:
        """As of the node."""
        return _elephant_utilisation(self.el, self.cap, self.full)


@dataclass(frozen=True, slots=True)
class NodeFootprint:
    """One node's annotation. Defaults are what absence on the wire means."""

    __pydantic_config__: ClassVar = _STRICT

    src: Name
    """Measuring source, such as ``ctnetlink`` or ``ebpf-fentry``."""
    cap: LinkRates
    """Link capacity per direction, bit/s; 0 means not known, and so does anything below 1 bit/s."""
    pods: tuple[PodFootprint, ...] = ()
    ended: tuple[PodFootprint, ...] = ()
    """Pods that ended within the retention time, with the footprint they had while they ran."""
    el: LinkRates = LinkRates()
    """Elephants of the whole node (pods, host and unattributed), bit/s: exact even when pods were left out."""
    un: LinkRates = LinkRates()
    """Traffic that could not be attributed to a pod or to the host."""
    host: LinkRates = LinkRates()
    """Traffic of the node itself, and of host-network pods where the source does not see sockets."""
    local: Rate = 0.0
    """Traffic between two ends on this node; it does not use the link."""
    cut: Count = 0
    """Pods left out (smallest first) to stay within the size bound."""
    bad: tuple[Name, ...] = ()
    """Health of the source: empty when healthy, else short reasons such as ``events-lost``."""
    up: Name = ""
    """Interface that ``cap``, ``by``, ``sure``, ``used`` and ``full`` describe: the only uplink, or of several the
    one whose elephants use most of it. ``el`` is then of that one too, and of other uplinks on the same wire."""
    by: Name = ""
    """Where ``cap`` came from: ``stated``, ``driver``, ``estimated`` or ``assumed``."""
    sure: Share = 0.0
    """Confidence in an estimated ``cap``, 0-1."""
    used: LinkRates = LinkRates()
    """All that the link carried, by the interface's own counters, bit/s (EWMA)."""
    full: tuple[Name, ...] = ()
    """Directions (``tx``, ``rx``) in which the link is saturated now."""
    uplinks: Annotated[tuple[Uplink, ...], MaxLen(MAX_UPLINKS)] = ()
    """Every uplink by name, where the node has more than one."""
    home: Name = ""
    """Of several uplinks the default route's, by which pods on the node's own network leave."""
    v: Annotated[int, Ge(1)] = VERSION

    @property
    def elephant_utilisation(self) -> float | None:
        """Elephants' share of the link in the busier direction, 0-1; None when the capacity is not known."""
        return _elephant_utilisation(self.el, self.cap, self.full)
