# SPDX-License-Identifier: Apache-2.0
"""Is the policy there that gives pods of labelled namespaces a scheduler, is it bound, is that scheduler ours?

Enters: the release's MutatingAdmissionPolicies and their bindings, and the namespaces with the label. Leaves:
findings. Whoever switched nothing of it on gets none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from plugin.doctor.checks import schedulers
from plugin.doctor.facts import Facts, Listing, items
from plugin.doctor.finding import Finding, Severity, of
from plugin.doctor.names import namespace, thing
from plugin.doctor.objects import Object, at, named, objects, text
from plugin.doctor.remedies import upgrade

TOPIC: Final = "policies"
COMPONENT_NAME: Final = "routing"
LABEL: Final = "traffic-footprint.io/scheduling"
"""Of namespaces, by the chart's default."""
LABELLED: Final = "enabled"
KIND: Final = "MutatingAdmissionPolicy"
_SO: Final = "Their pods go to the cluster's own scheduler, which knows nothing of traffic."
_SCHEDULER: Final = re.compile(r"""schedulerName:\s*(['"])([^'"]+)\1""")
_NAMED: Final = 5


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on the policy that routes pods."""
    policies = items(facts.routing)
    bound = [text(one, "spec", "policyName") for one in items(facts.routing_bindings)]
    if isinstance(facts.routing, Listing):
        yield from _absent(policies, bound, facts)
    for policy in policies:
        name = named(policy)
        if isinstance(facts.routing_bindings, Listing) and name not in bound:
            yield Finding(
                "policy-not-bound", TOPIC, Severity.WARNING,
                f"The {KIND} {thing(name)} has no {KIND}Binding.",
                f"A policy without a binding does nothing. {_SO}", _mend(facts), (thing(name),), 1,
            )  # fmt: skip
        yield from _scheduler(policy, facts)
    for binding in items(facts.routing_bindings):
        if at(binding, "spec", "matchResources"):
            yield Finding(
                "policy-narrowed", TOPIC, Severity.WARNING,
                f"{KIND}Binding {thing(named(binding))} holds for a part of the pods only: it has matchResources.",
                f"For the others: {_SO}", _mend(facts), (thing(named(binding)),), 1,
            )  # fmt: skip


def _absent(policies: tuple[Object, ...], bound: list[str], facts: Facts) -> Iterator[Finding]:
    for name in bound:
        if name not in map(named, policies):
            yield Finding(
                "policy-absent", TOPIC, Severity.WARNING, f"There is no {KIND} {thing(name)}, which is bound.",
                f"A binding alone does nothing. {_SO}", _mend(facts), (thing(name),), 1,
            )  # fmt: skip
    labelled = items(facts.labelled)
    if labelled and not policies and not bound:
        yield Finding(
            "routing-absent", TOPIC, Severity.WARNING,
            f"{of(len(labelled), 'namespace has', 'namespaces have')} the label {LABEL}={LABELLED}, and no {KIND} "
            "acts on it.",
            _SO, _mend(facts), tuple(namespace(named(one)) for one in labelled[:_NAMED]), len(labelled),
        )  # fmt: skip


def _scheduler(policy: Object, facts: Facts) -> Iterator[Finding]:
    """The scheduler that it names should be one that asks the extender."""
    expressions = [text(one, "applyConfiguration", "expression") for one in objects(policy, "spec", "mutations")]
    named_here = {match[2] for one in expressions for match in _SCHEDULER.finditer(one)}
    asking = schedulers.asking(facts)
    for name in sorted(named_here - asking) if asking else ():
        yield Finding(
            "routing-elsewhere", TOPIC, Severity.ERROR,
            f"{KIND} {thing(named(policy))} gives pods the scheduler {thing(name)}, "
            "which does not ask the extender.",
            "If no scheduler has that name, pods of the labelled namespaces stay Pending.",
            _mend(facts), (thing(named(policy)),), 1,
        )  # fmt: skip


def _mend(facts: Facts) -> tuple[str, ...]:
    return (upgrade(facts, "routing.namespaceLabel.enabled=true"),)
