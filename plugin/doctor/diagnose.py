# SPDX-License-Identifier: Apache-2.0
"""All checks over one look at a cluster.

Enters: facts. Leaves: a diagnosis, the worst first. Pure. Guarantees: a check that fails on something unforeseen
becomes a finding, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from plugin.doctor import rights
from plugin.doctor.checks import (
    agents,
    certificates,
    clocks,
    definition,
    extender,
    links,
    measuring,
    policies,
    routing,
    scheduler_config,
    schedulers,
    versions,
)
from plugin.doctor.facts import Facts, Listing
from plugin.doctor.finding import Diagnosis, Finding, Severity, ordered

Check = Callable[[Facts], Iterator[Finding]]
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    (agents.TOPIC, agents.check),
    (measuring.TOPIC, measuring.check),
    (links.TOPIC, links.check),
    (extender.TOPIC, extender.check),
    (schedulers.TOPIC, schedulers.check),
    (schedulers.TOPIC, scheduler_config.check),
    (certificates.TOPIC, certificates.check),
    (policies.TOPIC, policies.check),
    (routing.TOPIC, routing.check),
    (definition.TOPIC, definition.check),
    (versions.TOPIC, versions.check),
    (clocks.TOPIC, clocks.check),
    (rights.TOPIC, rights.check),
)


def diagnose(facts: Facts) -> Diagnosis:
    """Everything that the checks find."""
    found = [finding for topic, check in CHECKS for finding in _guarded(topic, check, facts)]
    found += _cut(facts)
    topics = tuple(dict.fromkeys(topic for topic, _ in CHECKS))
    return Diagnosis(tuple(ordered(found)), topics, facts.now.isoformat(timespec="seconds"))


def _guarded(topic: str, check: Check, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(facts))
    except Exception as error:  # objects of others may have shapes that nobody thought of
        found.append(_failed(topic, error))
    return found


def _failed(topic: str, error: Exception) -> Finding:
    return Finding(
        "check-failed", topic, Severity.WARNING,
        f"The doctor's own check of the topic {topic} failed ({type(error).__name__}).",
        "What it would have found is unknown.",
        ("kubectl footprint doctor -o json    # please report it with this",), said=str(error)[:200],
    )  # fmt: skip


def _cut(facts: Facts) -> Iterator[Finding]:
    for what, found in (("Nodes", facts.nodes), ("Leases", facts.leases), ("pods of the release", facts.pods)):
        if isinstance(found, Listing) and not found.whole:
            yield Finding(
                "not-all-looked-at", "rights", Severity.NOTE,
                f"Only the first {len(found.items)} {what} were looked at.", "The others may be ill too.",
            )  # fmt: skip
