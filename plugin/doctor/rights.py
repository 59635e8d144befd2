# SPDX-License-Identifier: Apache-2.0
"""What could not be looked at, and the right that is missing for it.

Enters: what was not read. Leaves: a finding for each right, so that nobody takes silence for health. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from plugin.doctor.facts import Facts, Missing
from plugin.doctor.finding import Finding, Severity, of
from plugin.doctor.names import namespace

TOPIC: Final = "rights"
_ROLE: Final = "footprint-doctor"
_KNOWN_ABSENT: Final = (
    "secrets",
    "customresourcedefinitions",
    "validatingadmission",
    "trafficfootprints",
    "/apis/",
)
"""Their absence is told by the topics that they belong to."""
_USES: Final = {
    "secrets": "Ends and CAs of certificates are unknown, but for what the extender itself says of them.",
    "configmaps": "What kube-scheduler is told about the extender is unknown.",
    "pods/proxy": "Whether anybody asks the extender, and what it knows, is unknown.",
    "nodes": "What the Nodes say of traffic is unknown.",
    "leases": "Whether agents live is unknown.",
    "pods": "Which pods run, and whether kube-scheduler should have asked, is unknown.",
    "daemonsets": "Whether agents run is unknown.",
    "deployments": "Whether extender and kube-scheduler run is unknown.",
    "validatingadmissionpolicies": "Whether the agents are held by a policy is unknown.",
    "validatingadmissionpolicybindings": "Whether the policies are bound is unknown.",
    "mutatingadmissionpolicies": "Whether a policy gives pods of labelled namespaces a scheduler is unknown.",
    "mutatingadmissionpolicybindings": "Whether that policy is bound is unknown.",
    "namespaces": "Which namespaces ask for the scheduler by their label is unknown.",
    "customresourcedefinitions": "Whether the definition of TrafficFootprint is of this version is unknown.",
    "trafficfootprints": "What was learned is unknown.",
}


def check(facts: Facts) -> Iterator[Finding]:
    """A finding for each kind of things that could not be read, and each reason."""
    found: dict[tuple[str, str, str, bool, int], list[Missing]] = {}
    for one in facts.missing():
        if one.absent and one.resource.startswith(_KNOWN_ABSENT):
            continue
        key = (one.verb, one.resource, one.namespace, one.forbidden, one.status)
        found.setdefault(key, []).append(one)
    for group in found.values():
        yield _finding(group[0], len(group))


def _finding(one: Missing, count: int) -> Finding:
    why = _USES.get(one.resource.partition(".")[0], "What it would tell is unknown.")
    where = f" in namespace {namespace(one.namespace)}" if one.namespace else ""
    if one.forbidden:
        return Finding(
            "not-looked-at", TOPIC, Severity.WARNING,
            f"Could not look at {_plural(one)}{where}: the right to {one.verb} {one.resource} is missing.",
            why, (_grant(one), _try(one)), count=count, said=one.said,
        )  # fmt: skip
    reason = "there was no response" if one.status == 0 else f"the response was {one.status}"
    return Finding(
        "not-looked-at", TOPIC, Severity.WARNING,
        f"Could not look at {_plural(one)}{where}: {reason}"
        + (f", {of(count, 'time')}." if count > 1 else "."),
        why, (_try(one),) if one.namespace or not one.resource.startswith("/") else (), count=count, said=one.said,
    )  # fmt: skip


def _plural(one: Missing) -> str:
    """Without the names that some of these texts hold."""
    return one.resource.partition(".")[0] if not one.resource.startswith("/") else one.resource


def _grant(one: Missing) -> str:
    if one.resource.startswith("/"):
        return f"kubectl create clusterrole {_ROLE} --verb=get --non-resource-url={one.resource}"
    kind = "role" if one.namespace else "clusterrole"
    where = f" -n {namespace(one.namespace)}" if one.namespace else ""
    return (
        f"kubectl create {kind} {_ROLE}{where} --verb={one.verb} --resource={one.resource}    "
        f"# and bind it: kubectl create {kind}binding"
    )


def _try(one: Missing) -> str:
    where = f"-n {namespace(one.namespace)}" if one.namespace else "-A"
    return f"kubectl auth can-i {one.verb} {one.resource} {where}"
