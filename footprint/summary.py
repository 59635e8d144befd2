# SPDX-License-Identifier: Apache-2.0
"""The two plain annotations beside the JSON: a line for people, and a number for score plugins. Pure."""

from __future__ import annotations

from footprint.classes import TrafficClass
from footprint.models import CapacitySource, NodeFootprint, direction_share
from footprint.units import format_rate

_LISTED = (TrafficClass.ELEPHANT, TrafficClass.MIXED, TrafficClass.MOUSE, TrafficClass.QUIET, TrafficClass.UNKNOWN)


def elephant_share(node: NodeFootprint) -> int:
    """0-100, per cent of the link that elephants use in the busier direction; 0 when capacity is not known."""
    return round(100 * (node.elephant_utilisation or 0.0))


_UNSURE = (CapacitySource.ESTIMATED, CapacitySource.ASSUMED)


_Way = tuple[float, float, bool]
"""Elephants and capacity of a direction, and whether it is full."""


def _ways(node: NodeFootprint) -> tuple[_Way, _Way]:
    return (node.el.tx, node.cap.tx, "tx" in node.full), (node.el.rx, node.cap.rx, "rx" in node.full)


def _share(way: _Way) -> tuple[float, float]:
    """The busier of two directions; without capacities, the one that carries more."""
    el, cap, full = way
    return direction_share(el, cap, full=full) or 0.0, el


def _which(node: NodeFootprint) -> str:
    return f"link {node.up}, the busiest of {len(node.uplinks)}" if node.uplinks and node.up else "link"


def _health(node: NodeFootprint) -> str:
    full = (f"link full in {' and '.join(node.full)}",) if node.full else ()
    return ", ".join((*full, *node.bad)) or "ok"


def summary(node: NodeFootprint) -> str:
    """One line for ``kubectl describe node``, such as
    ``elephants 81% of link (162 Mbit/s of 200 Mbit/s); pods: 2 elephant, 5 mouse; source ctnetlink, ok``.
    """
    counts = {cls: sum(pod.cls is cls for pod in node.pods) for cls in _LISTED}
    pods = ", ".join(f"{count} {cls}" for cls, count in counts.items() if count) or "none measured"
    used, capacity, full = max(_ways(node), key=_share)
    if full and used:
        link = f"elephants {elephant_share(node)}% of {_which(node)} ({format_rate(used)}, full)"
    elif capacity:
        by = f" {node.by}" if node.by in _UNSURE else ""
        of = f"{format_rate(used)} of {format_rate(capacity)}{by}"
        link = f"elephants {elephant_share(node)}% of {_which(node)} ({of})"
    else:
        link = f"elephants {format_rate(used)} ({_which(node)} capacity not known)"
    cut = f" ({node.cut} left out)" if node.cut else ""
    return f"{link}; pods: {pods}{cut}; source {node.src}, {_health(node)}"
