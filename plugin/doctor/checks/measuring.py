# SPDX-License-Identifier: Apache-2.0
"""Is the traffic seen, and is it known whose it is?

Enters: what the Nodes say, and the pods of nodes on which no pod has traffic. Leaves: findings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from footprint.codec import DecodeReason, FootprintError, decode
from footprint.keys import NODE_FOOTPRINT
from footprint.models import NodeFootprint
from footprint.units import format_rate
from plugin.doctor.facts import Facts, Listing, items
from plugin.doctor.finding import Finding, Severity, about, of
from plugin.doctor.names import Kind, namespace, node
from plugin.doctor.objects import annotation, at, named, text
from plugin.doctor.remedies import upgrade

TOPIC: Final = "measuring"
LEAST_RATE: Final = 1e6
"""bit/s of traffic that should be some pod's."""
_MISSING_BYTES: Final = "docs/how-to/debug-missing-bytes.md"
_LOW: Final = "low-coverage"
_SOCKETS: Final = "nodeagent.settings.source=ebpf-cgroup"
_CAPACITY: Final = "link-capacity-not-understood"
"""A reason that the topic ``links`` tells."""


_decode: Final = lru_cache(maxsize=20_000)(decode)
"""Several topics read the same annotations."""


def decoded(facts: Facts) -> dict[str, NodeFootprint]:
    """Footprints by node."""
    found: dict[str, NodeFootprint] = {}
    for one in items(facts.nodes):
        if (said := annotation(one, NODE_FOOTPRINT)) is not None:
            try:
                found[named(one)] = _decode(said)
            except FootprintError:
                continue
    return found


def unreadable(facts: Facts) -> dict[DecodeReason, dict[str, str]]:
    """Nodes whose annotation is no footprint, and what is wrong with it, by reason."""
    found: dict[DecodeReason, dict[str, str]] = {}
    for one in items(facts.nodes):
        if (said := annotation(one, NODE_FOOTPRINT)) is not None:
            try:
                _decode(said)
            except FootprintError as error:
                found.setdefault(error.reason, {})[named(one)] = str(error)
    return found


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on measuring."""
    footprints = decoded(facts)
    yield from _malformed(facts)
    yield from _reasons(facts, footprints)
    yield from _unattributed(facts, footprints)
    yield from _sources(facts.release, footprints)
    cut = {name for name, found in footprints.items() if found.cut}
    if cut:
        yield Finding(
            "pods-left-out", TOPIC, Severity.NOTE,
            f"The annotations of {of(len(cut), 'node')} have no room for all pods; the smallest are left out.",
            "The nodes' sums are right. The pods that were left out teach nothing about their workloads.",
            ("kubectl footprint nodes -o wide",),
            **about(Kind.NODE, cut),
        )  # fmt: skip


def _malformed(facts: Facts) -> Iterator[Finding]:
    for reason, nodes in unreadable(facts).items():
        if reason is DecodeReason.VERSION:  # the topic ``versions`` tells
            continue
        first = sorted(nodes)[0]
        yield Finding(
            "footprint-malformed", TOPIC, Severity.WARNING,
            f"The annotation of {of(len(nodes), 'node')} is no footprint ({reason.value}).",
            "The extender counts these nodes as unknown. Somebody else wrote the annotation, or cut it.",
            (
                f"kubectl annotate node {node(first)} {NODE_FOOTPRINT}-    # the agent writes it anew",
                "kubectl get nodes --show-managed-fields -o yaml    # who wrote it",
            ),
            **about(Kind.NODE, nodes),
            said=nodes[first],
        )  # fmt: skip


def _reasons(facts: Facts, footprints: Mapping[str, NodeFootprint]) -> Iterator[Finding]:
    """What the agents themselves say is wrong."""
    by_reason: dict[str, set[str]] = {}
    for name, found in footprints.items():
        for reason in found.bad:
            by_reason.setdefault(reason, set()).add(name)
    for reason, nodes in sorted(by_reason.items()):
        if reason == _CAPACITY:
            continue
        low = reason == _LOW
        yield Finding(
            _LOW if low else "losses", TOPIC, Severity.WARNING,
            f"The agents of {of(len(nodes), 'node')} report {reason}.",
            "Their links carry more than the agents count: the network's datapath passes them by."
            if low else "Measurements are missing there, so figures are too small, or not whose they seem.",
            (
                *((upgrade(facts, _SOCKETS),) if low else ()),
                f"{_MISSING_BYTES}    # what the reason means",
            ),
            **about(Kind.NODE, nodes),
        )  # fmt: skip


def suspects(footprints: Mapping[str, NodeFootprint]) -> list[str]:
    """Nodes whose traffic is all the host's or nobody's, busiest first."""
    idle = {
        name: found.host.busier + found.un.busier
        for name, found in footprints.items()
        if found.host.busier + found.un.busier >= LEAST_RATE
        and not any(pod.busier for pod in (*found.pods, *found.ended))
    }
    return sorted(idle, key=lambda name: (-idle[name], name))


def _unattributed(facts: Facts, footprints: Mapping[str, NodeFootprint]) -> Iterator[Finding]:
    found = [
        name
        for name in suspects(footprints)
        if isinstance(pods := facts.suspects.get(name), Listing)
        and any(text(p, "status", "phase") == "Running" and not at(p, "spec", "hostNetwork") for p in pods.items)
    ]
    if not found:
        return
    worst = footprints[found[0]]
    yield Finding(
        "pods-without-traffic", TOPIC, Severity.WARNING,
        f"On {of(len(found), 'node')} with pods, all traffic is the host's or nobody's: {node(found[0])} has "
        f"{format_rate(worst.host.busier)} of the host and {format_rate(worst.un.busier)} unattributed.",
        "Pods there have no class, so nothing is kept apart. Addresses are translated before the agent sees them, "
        "or pods have addresses that their status does not tell.",
        (
            upgrade(facts, _SOCKETS, "counts at sockets"),
            f"{_MISSING_BYTES}    # unattributed",
        ),
        **about(Kind.NODE, found),
    )  # fmt: skip


def _sources(release: str, footprints: Mapping[str, NodeFootprint]) -> Iterator[Finding]:
    sources = Counter(found.src for found in footprints.values())
    if sources:
        spelled = ", ".join(f"{of(count, 'node')} by {source}" for source, count in sorted(sources.items()))
        slow = sources.get("ctnetlink", 0)
        yield Finding(
            "sources", TOPIC, Severity.NOTE,
            f"Measured: {spelled}.",
            "ctnetlink needs more CPU with many connections, and misses what begins and ends between two readings."
            if slow else "All count in the kernel.",
            (
                f"kubectl -n {namespace(release)} logs --tail -1 -l app.kubernetes.io/component=nodeagent "
                "| grep -i ebpf    # why not by eBPF",
            )
            if slow else (),
            count=sum(sources.values()),
        )  # fmt: skip
