# SPDX-License-Identifier: Apache-2.0
"""What is known of one node: its annotation, its Lease and its pods.

Enters: a Node or Lease reduced to the fields used here. Leaves: the facts that a view is made of. Guarantees: any
text is an Annotation; whatever is wrong with it is named in ``problem``.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from extender.cluster.workload_totals import NodeTallies
from extender.model.demand import tally_node
from extender.model.pods import PodInfo, WorkloadKey
from extender.model.snapshot import RunningPodSums
from footprint.classes import TrafficClass
from footprint.codec import FootprintError, decode
from footprint.models import NodeFootprint
from footprint.staleness import LastRenewal

_GONE_LIMIT: Final = 512
"""Ended pods remembered per node; more only gather where no agent rewrites the footprint."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A Node, reduced to its name and our annotation's text."""

    name: str
    annotation: str | None
    group: str = ""
    """Its zone, or whatever label groups nodes on the page."""


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A node's heartbeat; ``marker`` changes with each renewal."""

    node: str
    marker: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """A decoded annotation, with the sums over its pods."""

    footprint: NodeFootprint | None = None
    tallies: NodeTallies | None = None
    running: RunningPodSums | None = None
    reason: str = ""
    """Why the text is no footprint, as a metric label; empty when it is one, or absent."""
    problem: str = ""
    """The same for people."""

    def tallies_without(self, uids: Collection[str]) -> NodeTallies | None:
        """``tallies``, without those of some pods."""
        if not uids or self.footprint is None:
            return self.tallies
        return tally_node(self.footprint, uids)

    def class_of(self, uid: str) -> TrafficClass | None:
        """Of a pod that runs here, or ended lately; None: it is not in the footprint."""
        if self.footprint is None:
            return None
        pods = itertools.chain(self.footprint.pods, self.footprint.ended)
        return next((pod.cls for pod in pods if pod.uid == uid), None)


NO_ANNOTATION: Final = Annotation()


def read_annotation(text: str | None) -> Annotation:
    """What the annotation says. Never raises: a fault of ours must cost this node alone."""
    if text is None:
        return NO_ANNOTATION
    try:
        footprint = decode(text)
        return Annotation(footprint, tally_node(footprint), RunningPodSums.of(footprint))
    except FootprintError as error:
        return Annotation(reason=error.reason.value, problem=f"{error.reason.value}: {error}")
    except Exception as error:
        return Annotation(reason="failed", problem=f"failed: {type(error).__name__}: {error}")


@dataclass(slots=True)
class NodeEntry:
    """One node's facts as they stand."""

    present: bool = False
    text: str | None = None
    """The annotation as it came."""
    annotation: Annotation = NO_ANNOTATION
    group: str = ""
    """``NodeInfo.group``"""
    counted: bool = False
    """The annotation's tallies are in the workloads' totals."""
    renewal: LastRenewal | None = None
    pods: dict[str, PodInfo] = field(default_factory=dict)
    """Pods that are bound here, by UID."""
    gone: set[str] = field(default_factory=set)
    """UIDs that ended while the footprint may still list them."""
    expected: frozenset[WorkloadKey] = frozenset()
    """Workloads of pods that may count here by prediction."""

    def put(self, present: bool, text: str | None, annotation: Annotation) -> None:
        """Take in the Node object, or that it is gone."""
        self.present, self.text, self.annotation = present, text, annotation
        self._forget_gone()

    def end(self, uid: str) -> None:
        """The pod sends nothing more, whatever the footprint still says."""
        self.gone.add(uid)
        if len(self.gone) > _GONE_LIMIT:
            self._forget_gone()

    def _forget_gone(self) -> None:
        footprint = self.annotation.footprint
        self.gone &= {pod.uid for pod in footprint.pods} if footprint else set()
