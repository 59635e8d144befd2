# SPDX-License-Identifier: Apache-2.0
"""What users declare about a pod with annotations.

Enters: any annotations. Leaves: the values that were understood, and a problem for each other one. Pure.
Guarantees: never raises. A value that is not understood counts as absent, except that of ``rebalance``. Its
problem becomes an Event and a counter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from footprint.classes import TrafficClass
from footprint.keys import (
    POD_CLASS,
    POD_EGRESS_LIMIT,
    POD_EXPECTED_BANDWIDTH,
    POD_INGRESS_LIMIT,
    POD_PLACEMENT,
    POD_WORKLOAD,
    REBALANCE,
)
from footprint.units import parse_bandwidth
from footprint.workload import valid_workload_name


class PlacementMode(StrEnum):
    """How strongly placement may act on a pod."""

    SCORE = "score"  # scores nodes, rejects none
    PREFER = "prefer"  # rejects unsuitable nodes, unless no candidate is known to be suitable
    STRICT = "strict"  # rejects unsuitable nodes; acts as prefer once the pod has waited for --relax-after
    IGNORE = "ignore"  # all nodes pass, and all score the same


class Rebalance(StrEnum):
    """Whether pods may be moved."""

    NEVER = "never"  # the rebalancer leaves them where they are
    ALLOW = "allow"  # it may evict them, where it acts at all


@dataclass(frozen=True, slots=True)
class AnnotationProblem:
    """An annotation value that was not understood."""

    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Declared:
    cls: TrafficClass | None = None
    """Declared class: elephant or mouse."""
    bandwidth: float | None = None
    """Declared bandwidth, bit/s, in the pod's busier direction."""
    placement: PlacementMode | None = None
    rebalance: Rebalance | None = None
    problems: tuple[AnnotationProblem, ...] = ()
    tx_limit: float | None = None
    """bit/s that the pod may send at most, and with ``rx_limit`` receive, by Kubernetes' own annotations."""
    rx_limit: float | None = None


_DECLARABLE: Final = {"elephant": TrafficClass.ELEPHANT, "mouse": TrafficClass.MOUSE}
_PLACEMENTS: Final = {p.value: p for p in PlacementMode}
_REBALANCE: Final = {r.value: r for r in Rebalance}
_T = TypeVar("_T")


def _lookup(table: Mapping[str, _T], value: object) -> _T | None:
    return table.get(value) if isinstance(value, str) else None


def _shown(value: object) -> str:
    return ascii(value)[:60]


def _limit(value: object) -> float | None:
    """None for what is not understood: the annotation is Kubernetes', and kubelet judges it."""
    try:
        return parse_bandwidth(value) if isinstance(value, str) else None
    except ValueError:
        return None


def rebalance_of(annotations: Mapping[str, Any] | None) -> Rebalance | None:
    """What the annotations of a pod, a Namespace or a Node say about moves; None: nothing. Never raises.

    A value that is not understood means ``never``: whoever wrote it wanted something, and a move cannot be undone.
    """
    found: Mapping[str, Any] = annotations if isinstance(annotations, Mapping) else {}
    return (_lookup(_REBALANCE, found[REBALANCE]) or Rebalance.NEVER) if REBALANCE in found else None


def declared_by(annotations: Mapping[str, Any] | None) -> Declared:
    """What a pod's annotations declare. Never raises."""
    found: Mapping[str, Any] = annotations if isinstance(annotations, Mapping) else {}
    problems: list[AnnotationProblem] = []

    def refuse(key: str, accepted: str) -> None:
        problems.append(AnnotationProblem(key, f"{key}: {_shown(found[key])} is not understood; use {accepted}"))

    cls = placement = bandwidth = None
    if POD_CLASS in found and (cls := _lookup(_DECLARABLE, found[POD_CLASS])) is None:
        refuse(POD_CLASS, "elephant or mouse")
    if POD_PLACEMENT in found and (placement := _lookup(_PLACEMENTS, found[POD_PLACEMENT])) is None:
        refuse(POD_PLACEMENT, "score, prefer, strict or ignore")
    if POD_EXPECTED_BANDWIDTH in found:
        try:
            bandwidth = parse_bandwidth(found[POD_EXPECTED_BANDWIDTH])
        except (ValueError, TypeError):
            refuse(POD_EXPECTED_BANDWIDTH, "bit/s with a suffix, such as 400M or 1.5G")
    if POD_WORKLOAD in found and not (
        isinstance(found[POD_WORKLOAD], str) and valid_workload_name(found[POD_WORKLOAD])
    ):
        refuse(POD_WORKLOAD, "a name of up to 63 letters, digits, '-', '_' or '.'")
    if REBALANCE in found and _lookup(_REBALANCE, found[REBALANCE]) is None:
        refuse(REBALANCE, "never or allow; until then it means never")
    return Declared(
        cls, bandwidth, placement, rebalance_of(found), tuple(problems),
        tx_limit=_limit(found.get(POD_EGRESS_LIMIT)), rx_limit=_limit(found.get(POD_INGRESS_LIMIT)),
    )  # fmt: skip
