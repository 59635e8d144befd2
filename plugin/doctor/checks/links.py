# SPDX-License-Identifier: Apache-2.0
"""Is it known what the links carry?

Enters: what the Nodes say of their links. Leaves: findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from footprint.keys import NODE_LINK_CAPACITY
from footprint.models import CapacitySource, NodeFootprint, Uplink
from footprint.units import format_rate
from plugin.doctor.checks.measuring import decoded
from plugin.doctor.facts import Facts
from plugin.doctor.finding import Finding, Severity, about, of
from plugin.doctor.names import Kind, node

TOPIC: Final = "links"
SURE: Final = 0.5
"""Confidence in an estimate from which on nobody needs to look."""
_STATE: Final = "docs/how-to/state-link-capacity.md    # by instance type, or for all nodes"


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on links."""
    footprints = decoded(facts)
    links = {name: found.uplinks or (found,) for name, found in footprints.items()}
    unknown = {name for name, ours in links.items() if any(not link.cap.busier for link in ours)}
    assumed = {name: link for name, ours in links.items() if name not in unknown
               for link in ours if link.by == CapacitySource.ASSUMED}  # fmt: skip
    unsure = {name for name, ours in links.items() if name not in unknown and any(map(_unsure, ours))}
    full = {name for name, ours in links.items() if any(link.full for link in ours)}
    malformed = {name for name, found in footprints.items() if "link-capacity-not-understood" in found.bad}
    if unknown:
        yield Finding(
            "capacity-unknown", TOPIC, Severity.WARNING,
            f"The link capacity of {of(len(unknown), 'node')} is not known.",
            "Elephants cannot be held against the link: nothing is kept off these nodes until a link is full.",
            (_annotate(sorted(unknown)[0]), _STATE),
            **about(Kind.NODE, unknown),
        )  # fmt: skip
    if assumed:
        rates = sorted({format_rate(link.cap.busier) for link in assumed.values()})
        yield Finding(
            "capacity-assumed", TOPIC, Severity.WARNING,
            f"The link capacity of {of(len(assumed), 'node')} is only assumed ({', '.join(rates[:3])}).",
            "It moves scores and never filters, so elephants and mice meet more often than they have to.",
            (_annotate(sorted(assumed)[0]), _STATE),
            **about(Kind.NODE, assumed),
        )  # fmt: skip
    if unsure:
        yield Finding(
            "capacity-unsure", TOPIC, Severity.NOTE,
            f"The estimated link capacity of {of(len(unsure), 'node')} is not sure yet.",
            "It becomes surer each time the link is full.",
            (_annotate(sorted(unsure)[0]),),
            **about(Kind.NODE, unsure),
        )  # fmt: skip
    if malformed:
        yield Finding(
            "capacity-malformed", TOPIC, Severity.WARNING,
            f"What is written about the links of {of(len(malformed), 'node')} is not understood.",
            "It counts as absent.",
            (
                f"kubectl get node {node(sorted(malformed)[0])} "
                r"-o jsonpath='{.metadata.annotations.traffic-footprint\.io/link-capacity}'",
                _annotate(sorted(malformed)[0]),
            ),
            **about(Kind.NODE, malformed),
        )  # fmt: skip
    if full:
        yield Finding(
            "links-full", TOPIC, Severity.NOTE,
            f"{of(len(full), 'node')} {'has' if len(full) == 1 else 'have'} a full link now.",
            "Mice on it wait. New mice are sent elsewhere.",
            ("kubectl footprint nodes",),
            **about(Kind.NODE, full),
        )  # fmt: skip


def _unsure(link: NodeFootprint | Uplink) -> bool:
    return link.by == CapacitySource.ESTIMATED and link.sure < SURE


def _annotate(name: str) -> str:
    return f"kubectl annotate node {node(name)} {NODE_LINK_CAPACITY}=10G    # what its link carries"
