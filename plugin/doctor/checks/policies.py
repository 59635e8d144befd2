# SPDX-License-Identifier: Apache-2.0
"""Are the admission policies there, bound, and about the accounts that the programs have?

Enters: the policies and bindings of the names that the release should have. Leaves: findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from plugin.doctor.facts import EXTENDER, NODEAGENT, Facts, Missing, of_component
from plugin.doctor.finding import Finding, Severity
from plugin.doctor.names import thing
from plugin.doctor.objects import Object, at, named, objects, text, texts
from plugin.doctor.remedies import upgrade

TOPIC: Final = "policies"
_HOLDS: Final = {
    NODEAGENT: "RBAC alone holds the agents: an agent may write every Node's annotations and labels.",
    EXTENDER: "RBAC alone holds the extender: it may delete TrafficFootprints in which people stated something.",
}


def expected(facts: Facts) -> dict[str, tuple[str, str]]:
    """Names of the policies that the release should have, each with its component and account."""
    found: dict[str, tuple[str, str]] = {}
    for component, listing in ((NODEAGENT, facts.daemonsets), (EXTENDER, facts.deployments)):
        for one in of_component(listing, component):
            account = text(one, "spec", "template", "spec", "serviceAccountName")
            found[account or named(one)] = component, account
    return found


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on admission policies."""
    for name, (component, account) in expected(facts).items():
        policy, binding = facts.policies.get(name), facts.bindings.get(name)
        if policy is not None:
            yield from _policy(policy, name, component, account, facts)
        if binding is not None and not (isinstance(policy, Missing) and policy.absent):
            yield from _binding(binding, name, component, facts)


def _mend(facts: Facts) -> tuple[str, ...]:
    return (upgrade(facts, "policy.enabled=true"),)


def _policy(policy: Object | Missing, name: str, component: str, account: str, facts: Facts) -> Iterator[Finding]:
    kind = "ValidatingAdmissionPolicy"
    if isinstance(policy, Missing):
        if policy.absent:
            yield Finding(
                "policy-absent", TOPIC, Severity.WARNING, f"There is no {kind} {thing(name)}.", _HOLDS[component],
                _mend(facts), (thing(name),), 1,
            )  # fmt: skip
        return
    conditions = [text(one, "expression") for one in objects(policy, "spec", "matchConditions")]
    if account and conditions and not any(f":{account}'" in one for one in conditions):
        yield Finding(
            "policy-of-another-account", TOPIC, Severity.WARNING,
            f"{kind} {thing(name)} does not name the account {thing(account)} of the {component}.",
            _HOLDS[component],
            (*_mend(facts), f"kubectl get validatingadmissionpolicy {thing(name)} -o yaml"),
            (thing(name),), 1,
        )  # fmt: skip
    if text(policy, "spec", "failurePolicy") == "Ignore":
        yield Finding(
            "policy-ignored-on-failure", TOPIC, Severity.WARNING,
            f"{kind} {thing(name)} lets requests pass when it fails.",
            f"{_HOLDS[component]} That is so whenever the expression fails.", _mend(facts), (thing(name),), 1,
        )  # fmt: skip
    if objects(policy, "status", "typeChecking", "expressionWarnings"):
        yield Finding(
            "policy-expressions", TOPIC, Severity.WARNING,
            f"The API server doubts an expression of {kind} {thing(name)}.",
            "An expression that fails refuses what it should allow.",
            (f"kubectl get validatingadmissionpolicy {thing(name)} -o jsonpath='{{.status.typeChecking}}'",),
            (thing(name),), 1,
        )  # fmt: skip


def _binding(binding: Object | Missing, name: str, component: str, facts: Facts) -> Iterator[Finding]:
    kind = "ValidatingAdmissionPolicyBinding"
    if isinstance(binding, Missing):
        if binding.absent:
            yield Finding(
                "policy-not-bound", TOPIC, Severity.WARNING,
                f"The policy {thing(name)} has no {kind} of its name.",
                f"A policy without a binding does nothing. {_HOLDS[component]}", _mend(facts), (thing(name),), 1,
            )  # fmt: skip
        return
    if text(binding, "spec", "policyName") != name:
        yield Finding(
            "policy-not-bound", TOPIC, Severity.WARNING,
            f"{kind} {thing(name)} binds another policy.",
            f"A policy without a binding does nothing. {_HOLDS[component]}", _mend(facts), (thing(name),), 1,
        )  # fmt: skip
    if "Deny" not in texts(binding, "spec", "validationActions"):
        yield Finding(
            "policy-does-not-deny", TOPIC, Severity.WARNING,
            f"{kind} {thing(name)} refuses nothing: its validationActions lack Deny.", _HOLDS[component],
            (
                f"kubectl patch validatingadmissionpolicybinding {thing(name)} --type merge "
                """-p '{"spec":{"validationActions":["Deny"]}}'""",
            ),
            (thing(name),), 1,
        )  # fmt: skip
    if at(binding, "spec", "matchResources"):
        yield Finding(
            "policy-narrowed", TOPIC, Severity.WARNING,
            f"{kind} {thing(name)} holds for a part of the requests only: it has matchResources.",
            f"For the others, {_HOLDS[component][0].lower()}{_HOLDS[component][1:]}".replace("rBAC", "RBAC"),
            _mend(facts), (thing(name),), 1,
        )  # fmt: skip
