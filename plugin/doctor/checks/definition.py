# SPDX-License-Identifier: Apache-2.0
"""Can the cluster keep TrafficFootprints, and are they of the version that the extender speaks?

Enters: the definition, what the API server serves, and the objects. Leaves: findings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from extender.model.trafficfootprint import KIND, PLURAL, VERSION, decode_record
from footprint.keys import GROUP
from plugin.doctor.facts import EXTENDER, Facts, Listing, Missing, items, of_component
from plugin.doctor.finding import Finding, Severity, about, of
from plugin.doctor.names import Kind, namespace, thing
from plugin.doctor.objects import Object, at, containers, flag, named, objects, spaced, text, variable

TOPIC: Final = "definition"
NAME: Final = f"{PLURAL}.{GROUP}"
"""Of the CustomResourceDefinition."""
_FIELDS: Final = frozenset({"workload", "class", "expectedBandwidth", "placement"})
"""Of ``spec``, as this version knows it."""
_INSTALL: Final = (
    "kubectl apply --server-side -f manifests/base/crd.yaml    # or helm upgrade --set crd.enabled=true"
)


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on the kind TrafficFootprint."""
    absent = gone(facts)
    if absent:
        learns = any(map(_learns, of_component(facts.deployments, EXTENDER)))
        yield Finding(
            "definition-absent", TOPIC, Severity.WARNING if learns else Severity.NOTE,
            f"The cluster has no kind {KIND} of {GROUP}/{VERSION}.",
            "What workloads do is forgotten when the extender restarts, and nobody can state it for a workload."
            + ("" if learns else " The extender is told not to learn."),
            (_INSTALL,),
        )  # fmt: skip
    elif not isinstance(facts.definition, Missing):
        yield from _definition(facts.definition)
    yield from _records(facts)


def gone(facts: Facts) -> bool:
    """Whether the API server does not serve the kind."""
    if isinstance(facts.served, Missing):
        return facts.served.absent
    return not any(one.get("name") == PLURAL for one in objects(facts.served, "resources"))


def _learns(deployment: Object) -> bool:
    for container in containers(at(deployment, "spec", "template", "spec")):
        said = variable(container, "TRAFFIC_FOOTPRINT_LEARN") or flag(container, "learn") or "true"
        return said.lower() not in ("false", "0", "no", "off") and flag(container, "no-learn") is None
    return True


def _definition(found: Object) -> Iterator[Finding]:
    for condition in objects(found, "status", "conditions"):
        kind, good = condition.get("type"), condition.get("status")
        if kind in ("Established", "NamesAccepted") and good != "True":
            yield Finding(
                "definition-not-accepted", TOPIC, Severity.ERROR,
                f"The definition {NAME} is not accepted ({str(kind)[:40]} is {str(good)[:20]}).",
                "Another definition has its names, or it is invalid: TrafficFootprints cannot be kept.",
                (f"kubectl describe crd {NAME}",),
                said=text(condition, "message"),
            )  # fmt: skip
    ours = [one for one in objects(found, "spec", "versions") if one.get("name") == VERSION]
    known = at(ours[0], "schema", "openAPIV3Schema", "properties", "spec", "properties") if ours else None
    lacks = sorted(_FIELDS - set(known)) if isinstance(known, dict) else []
    if lacks:
        yield Finding(
            "definition-old", TOPIC, Severity.WARNING,
            f"The definition {NAME} is of another version: spec has no {', '.join(lacks)}.",
            "The API server drops what people state in these fields.",
            (_INSTALL,),
        )  # fmt: skip
    if any(
        one.get("name") != VERSION and one.get("storage") is True for one in objects(found, "spec", "versions")
    ):
        yield Finding(
            "definition-storage", TOPIC, Severity.WARNING,
            f"The definition {NAME} keeps objects in another version than {VERSION}.",
            "A later release changed it. This version may lose fields that it does not know.",
            (_INSTALL,),
        )  # fmt: skip


def _records(facts: Facts) -> Iterator[Finding]:
    bad: dict[str, str] = {}
    for one in items(facts.records):
        try:
            problems = decode_record(one).problems
        except ValueError as error:
            problems = (str(error),)
        if problems:
            bad[f"{spaced(one)}/{named(one)}"] = problems[0]
    if bad:
        first = sorted(bad)[0]
        space, _, name = first.partition("/")
        yield Finding(
            "records-malformed", TOPIC, Severity.WARNING,
            f"A part of {of(len(bad), 'TrafficFootprint')} is not understood, and counts as absent.",
            "What was stated or learned there has no effect.",
            (f"kubectl -n {namespace(space)} get tf {thing(name)} -o yaml",),
            **about(Kind.WORKLOAD, bad),
            said=bad[first],
        )  # fmt: skip
    if isinstance(facts.records, Listing) and not facts.records.whole:
        yield Finding(
            "records-many", TOPIC, Severity.NOTE,
            f"Only the first {len(facts.records.items)} TrafficFootprints were looked at.",
            "The others may be wrong too.",
        )  # fmt: skip
