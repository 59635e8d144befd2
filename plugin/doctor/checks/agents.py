# SPDX-License-Identifier: Apache-2.0
"""Do the agents run, and are their nodes' figures alive?

Enters: DaemonSets, their pods, Leases and Nodes. Leaves: findings. A heartbeat's age is the API server's: it wrote
down when it took the Lease. Only where nothing says so, the agent's own clock counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from footprint.keys import FIELD_MANAGER, NODE_FOOTPRINT, lease_name, node_of_lease
from footprint.staleness import LEASE_RENEW_SECONDS, stale_after
from plugin.doctor.facts import NODEAGENT, Facts, Listing, Missing, items, of_component
from plugin.doctor.finding import Finding, Severity, about, listed, of
from plugin.doctor.names import Kind, namespace, node, thing
from plugin.doctor.objects import Object, annotation, at, label, moment, named, number, objects, text, written_at
from plugin.doctor.remedies import CHART, NAME

TOPIC: Final = "agents"
_UNKNOWN: Final = "The extender knows nothing of these nodes: they score neutral, and nothing is kept off them."
_WAITING: Final = frozenset({"ContainerCreating", "PodInitializing"})


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on the agents."""
    if isinstance(facts.daemonsets, Listing):
        sets = of_component(facts.daemonsets, NODEAGENT)
        for one in sets:
            yield from _rollout(one, facts)
        if not sets:
            yield _no_agents(facts)
    yield from _pods(facts)
    if isinstance(facts.nodes, Listing) and isinstance(facts.leases, Listing):
        yield from _heartbeats(facts)


def _no_agents(facts: Facts) -> Finding:
    alive = any(_alive(lease, facts.now) for lease in _of_nodes(facts).values())
    space = namespace(facts.release)
    return Finding(
        "agents-absent", TOPIC, Severity.WARNING if alive else Severity.ERROR,
        f"Namespace {space} has no DaemonSet of the node agent.",
        "Agents that somebody started by other means still publish; nothing restarts them."
        if alive else "Nothing is measured, so every pod is placed as without Traffic Footprint.",
        (
            "kubectl get daemonsets -A -l app.kubernetes.io/component=nodeagent    # is it elsewhere? "
            "Then give --release-namespace",
            f"helm upgrade --install {NAME} {CHART} -n {space} --create-namespace",
        ),
    )  # fmt: skip


def _rollout(one: Object, facts: Facts) -> Iterator[Finding]:
    """Of a DaemonSet's own figures."""
    name, space = thing(named(one)), namespace(facts.release)
    wanted, ready = number(one, "status", "desiredNumberScheduled"), number(one, "status", "numberReady")
    seen = number(one, "status", "observedGeneration") >= number(one, "metadata", "generation")
    updated = number(one, "status", "updatedNumberScheduled")
    if not wanted and seen:
        yield Finding(
            "agents-nowhere", TOPIC, Severity.ERROR,
            f"DaemonSet {name} wants no node.",
            "Its selector and affinity fit no node, so nothing is measured.",
            (f"kubectl -n {space} get daemonset {name} -o jsonpath='{{.spec.template.spec.nodeSelector}}'",),
        )  # fmt: skip
    if ready < wanted:
        lost = [p for p in of_component(facts.pods, NODEAGENT) if not _ready(p)]
        yield Finding(
            "agents-not-ready", TOPIC, Severity.WARNING if ready else Severity.ERROR,
            f"{of(wanted - ready, 'agent')} of {wanted} {'is' if wanted - ready == 1 else 'are'} not ready.",
            _UNKNOWN,
            (
                f"kubectl -n {space} get pods -l app.kubernetes.io/component=nodeagent -o wide",
                f"kubectl -n {space} describe daemonset {name}",
            ),
            **about(Kind.NODE, {place for p in lost if (place := text(p, "spec", "nodeName"))}),
        )  # fmt: skip
    if updated < wanted or not seen:
        yield Finding(
            "agents-outdated", TOPIC, Severity.WARNING,
            f"{of(max(wanted - updated, 0), 'agent')} of {wanted} still to be replaced by the present version.",
            "Nodes measure in two ways until the rollout is over.",
            (f"kubectl -n {space} rollout status daemonset/{name}",),
        )  # fmt: skip


def _ready(one: Object) -> bool:
    return any(
        c.get("type") == "Ready" and c.get("status") == "True" for c in objects(one, "status", "conditions")
    )


def _pods(facts: Facts) -> Iterator[Finding]:
    """Why containers of the release do not run."""
    reasons: dict[str, list[str]] = {}
    for one in items(facts.pods):
        if not label(one, "app.kubernetes.io/component"):
            continue
        for state in objects(one, "status", "containerStatuses"):
            reason = text(state, "state", "waiting", "reason")
            if reason and reason not in _WAITING:
                reasons.setdefault(reason, []).append(named(one))
    for reason, pods in sorted(reasons.items()):
        first = sorted(pods)[0]
        yield Finding(
            "pods-waiting", TOPIC, Severity.ERROR,
            f"{of(len(pods), 'pod')} of the release {'waits' if len(pods) == 1 else 'wait'} in {reason[:60]}.",
            "What it should do is not done.",
            (
                f"kubectl -n {namespace(facts.release)} describe pod {thing(first)}",
                f"kubectl -n {namespace(facts.release)} logs {thing(first)} --previous",
            ),
            **about(Kind.OBJECT, pods),
        )  # fmt: skip


def _of_nodes(facts: Facts) -> dict[str, Object]:
    """Heartbeats by node."""
    found = ((node_of_lease(named(lease)), lease) for lease in items(facts.leases))
    return {node: lease for node, lease in found if node}


def renewed_at(lease: Object) -> datetime | None:
    """When a heartbeat was last renewed: by the API server's clock where it wrote that down."""
    return written_at(lease, FIELD_MANAGER) or moment(at(lease, "spec", "renewTime"))


def _alive(lease: Object, now: datetime) -> bool:
    renewed = renewed_at(lease)
    lasts = number(lease, "spec", "leaseDurationSeconds") or stale_after(LEASE_RENEW_SECONDS)
    return renewed is not None and (now - renewed).total_seconds() <= lasts


def _heartbeats(facts: Facts) -> Iterator[Finding]:
    leases, space = _of_nodes(facts), namespace(facts.release)
    present = {named(one): annotation(one, NODE_FOOTPRINT) is not None for one in items(facts.nodes)}
    covered = {text(p, "spec", "nodeName") for p in of_component(facts.pods, NODEAGENT)}
    stale = {name for name in present if name in leases and not _alive(leases[name], facts.now)}
    fresh = {name for name in present if name in leases} - stale
    unborn = {name for name in present.keys() - leases.keys() if name in covered or present[name]}
    bare = {name for name in fresh if not present[name]}
    if stale:
        oldest = max((facts.now - at).total_seconds() for name in stale if (at := renewed_at(leases[name])))
        yield Finding(
            "heartbeats-stale", TOPIC, Severity.WARNING if fresh else Severity.ERROR,
            f"The agents of {of(len(stale), 'node')} stopped renewing their Leases, {_ago(oldest)} ago at most.",
            f"{_UNKNOWN} What these Nodes say is what was last measured.",
            (
                _agent_on(sorted(stale)[0], facts),
                f"kubectl -n {space} get lease {thing(lease_name(sorted(stale)[0]))} -o yaml",
            ),
            **about(Kind.NODE, stale),
        )  # fmt: skip
    if unborn:
        yield Finding(
            "heartbeats-missing", TOPIC, Severity.WARNING if fresh else Severity.ERROR,
            f"{of(len(unborn), 'node')} with an agent or a footprint {'has' if len(unborn) == 1 else 'have'} "
            "no Lease.",
            f"{_UNKNOWN} An agent renews its Lease once its Node is written.",
            (_agent_on(sorted(unborn)[0], facts),),
            **about(Kind.NODE, unborn),
        )  # fmt: skip
    if bare:
        yield Finding(
            "footprints-missing", TOPIC, Severity.WARNING,
            f"{of(len(bare), 'node')} with a living agent {'has' if len(bare) == 1 else 'have'} no footprint.",
            f"{_UNKNOWN} Somebody removed the annotation; the agent writes it again when traffic changes.",
            (_agent_on(sorted(bare)[0], facts),),
            **about(Kind.NODE, bare),
        )  # fmt: skip
    strangers = {name for name in present.keys() - leases.keys() if name not in covered and not present[name]}
    if strangers and (leases or covered):
        yield Finding(
            "nodes-without-agent", TOPIC, Severity.NOTE,
            f"{of(len(strangers), 'node')} of {len(present)} {'has' if len(strangers) == 1 else 'have'} no agent: "
            f"{listed(about(Kind.NODE, strangers)['about'], len(strangers))}.",
            "Their traffic is unknown, so they score neutral. That is right for nodes that cannot run one.",
            (f"kubectl -n {space} get daemonsets -o wide    # its node selector, and the chart's nodeAffinity",),
            **about(Kind.NODE, strangers),
        )  # fmt: skip


def _agent_on(name: str, facts: Facts) -> str:
    """How to look at the agent of a node."""
    space = namespace(facts.release)
    pods = [named(p) for p in of_component(facts.pods, NODEAGENT) if text(p, "spec", "nodeName") == name]
    if pods:
        return f"kubectl -n {space} logs {thing(sorted(pods)[0])} --tail 20"
    return f"kubectl -n {space} get pods -o wide --field-selector spec.nodeName={node(name)}    # has it an agent?"


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} minutes" if seconds < 7200 else (
        f"{seconds / 3600:.0f} hours"
    )  # fmt: skip


def unread(facts: Facts) -> tuple[Listing | Missing, ...]:
    """What this topic rests on."""
    return facts.daemonsets, facts.nodes, facts.leases
