# SPDX-License-Identifier: Apache-2.0
"""Does the extender run, does it follow the cluster, and is it asked?

Enters: its Deployment, each replica's metrics, and pods of kube-schedulers that name it. Leaves: findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from importlib.util import find_spec
from typing import Final

from extender.model.trafficfootprint import PLURAL
from plugin.doctor.checks import definition
from plugin.doctor.checks.schedulers import asking
from plugin.doctor.facts import EXTENDER, SCHEDULER, Facts, Listing, Missing, items, of_component
from plugin.doctor.finding import Finding, Severity, about, of, package_missing
from plugin.doctor.names import Kind, namespace, thing
from plugin.doctor.objects import Object, at, containers, flag, moment, named, number, spaced, text, variable
from plugin.doctor.remedies import upgrade
from plugin.doctor.samples import Samples, samples

TOPIC: Final = "extender"
_OPEN: Final = frozenset({"failed", "late", "shed"})
"""Results of requests in which the extender decided nothing."""
_OPEN_SHARE: Final = 0.01
_UNREADABLE: Final = ("absent", "forbidden")
_SILENT: Final = 300.0
"""Seconds without a word of the API server."""
_P: Final = "traffic_footprint_extender_"
_NODES: Final = _P + "nodes"
_CONNECTED: Final = _P + "watch_connected"
_AGE: Final = _P + "watch_age_seconds"
_REQUESTS: Final = _P + "requests_total"
_LEARNING: Final = _P + "learning_state"
_LEFT_OUT: Final = _P + "learning_left_out"
METRICS: Final = (_NODES, _CONNECTED, _AGE, _REQUESTS, _LEARNING, _LEFT_OUT)
"""All that are read here."""


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on the extender."""
    if isinstance(facts.deployments, Listing):
        yield from _deployment(facts)
    if facts.metrics and find_spec("prometheus_client") is None:
        yield package_missing(TOPIC, "prometheus-client", "Whether anybody asks the extender is unknown.")
        return
    pages = {name: samples(page.text) for name, page in facts.metrics.items() if not isinstance(page, Missing)}
    broken = sorted(name for name, page in pages.items() if page is None or not page.of(_NODES))
    if broken:
        yield Finding(
            "metrics-malformed", TOPIC, Severity.WARNING,
            f"What {of(len(broken), 'replica')} of the extender served at /metrics is not its metrics.",
            "Its requests and watches were not looked at. Something else answers on its port.",
            (_metrics(facts, broken[0]),), **about(Kind.OBJECT, broken),
        )  # fmt: skip
    read = {name: page for name, page in pages.items() if page is not None and name not in broken}
    if read:
        yield from _watches(facts, read)
        yield from _nodes(facts, read)
        yield from _requests(facts, read)
        yield from _learning(facts, read)


def _metrics(facts: Facts, replica: str) -> str:
    space = namespace(facts.release)
    return f"kubectl get --raw /api/v1/namespaces/{space}/pods/{thing(replica)}:8891/proxy/metrics"


def _deployment(facts: Facts) -> Iterator[Finding]:
    space = namespace(facts.release)
    found = of_component(facts.deployments, EXTENDER)
    if not found:
        wanted = bool(of_component(facts.deployments, SCHEDULER))
        yield Finding(
            "extender-absent", TOPIC, Severity.ERROR if wanted else Severity.NOTE,
            f"Namespace {space} has no Deployment of the extender.",
            "The release's kube-scheduler asks nobody: its pods are placed as without Traffic Footprint."
            if wanted else "Agents annotate Nodes, and nothing places pods by that.",
            (upgrade(facts, "extender.enabled=true"),),
        )  # fmt: skip
    for one in found:
        wanted_replicas = _wanted(one)
        ready = number(one, "status", "readyReplicas")
        if ready < wanted_replicas:
            yield Finding(
                "extender-not-ready", TOPIC, Severity.WARNING if ready else Severity.ERROR,
                f"{of(wanted_replicas - ready, 'replica')} of {wanted_replicas} of the extender "
                f"{'is' if wanted_replicas - ready == 1 else 'are'} not ready.",
                "The others answer." if ready else "Nobody answers kube-scheduler: pods are placed as without it.",
                (
                    f"kubectl -n {space} describe deployment {thing(named(one))}",
                    f"kubectl -n {space} logs deployment/{thing(named(one))} --tail 20",
                ),
            )  # fmt: skip
        if shadowed(one):
            yield Finding(
                "shadow-mode", TOPIC, Severity.NOTE,
                "The extender is in shadow mode: it counts, and changes nothing.",
                "Pods are placed as without it.",
                ("kubectl footprint shadow    # what acting would gain",),
            )  # fmt: skip


def _wanted(deployment: Object) -> int:
    said = at(deployment, "spec", "replicas")
    return said if isinstance(said, int) and not isinstance(said, bool) else 1


def shadowed(deployment: Object) -> bool:
    """Whether it was told to change nothing."""
    for container in containers(at(deployment, "spec", "template", "spec")):
        said = variable(container, "TRAFFIC_FOOTPRINT_SHADOW") or ""
        return said.lower() in ("true", "1", "yes", "on") or flag(container, "shadow") is not None
    return False


def _watches(facts: Facts, read: Mapping[str, Samples]) -> Iterator[Finding]:
    lost: dict[str, set[str]] = {}
    for name, page in read.items():
        connected = {labels.get("resource", ""): value for labels, value in page.of(_CONNECTED)}
        old = {labels.get("resource", ""): value for labels, value in page.of(_AGE)}
        if definition.gone(facts) or _learning_state(page) in _UNREADABLE:  # other findings tell
            connected.pop(PLURAL, None)
        for resource, value in connected.items():
            if not value or old.get(resource, 0) > _SILENT:
                lost.setdefault(name, set()).add(resource)
    if lost:
        first = sorted(lost)[0]
        yield Finding(
            "watches-lost", TOPIC, Severity.WARNING if len(lost) < len(read) else Severity.ERROR,
            f"{of(len(lost), 'replica')} of the extender {'does' if len(lost) == 1 else 'do'} not hear of "
            f"{', '.join(sorted(lost[first]))[:80]} any more.",
            "Its answers rest on what it saw last.",
            (f"kubectl -n {namespace(facts.release)} logs {thing(first)} --tail 20",),
            **about(Kind.OBJECT, lost),
        )  # fmt: skip


def _learning_state(page: Samples) -> str:
    """What TrafficFootprints are to a replica."""
    return next((labels.get("state", "") for labels, value in page.of(_LEARNING) if value), "")


def _nodes(facts: Facts, read: Mapping[str, Samples]) -> Iterator[Finding]:
    """What the extender itself holds for known; the best replica counts, others may have just begun."""
    counts = [{labels.get("state", ""): value for labels, value in page.of(_NODES)} for page in read.values()]
    best = max(counts, key=lambda states: states.get("known", 0.0))
    total, known = sum(best.values()), best.get("known", 0.0)
    if total and known < total:
        others = ", ".join(f"{value:.0f} {state}" for state, value in sorted(best.items())
                           if value and state != "known")  # fmt: skip
        yield Finding(
            "nodes-unknown", TOPIC, Severity.ERROR if not known else Severity.WARNING,
            f"The extender knows the traffic of {known:.0f} of {total:.0f} nodes ({others}).",
            "The others score neutral, and nothing is kept off them.",
            (
                f"kubectl -n {namespace(facts.release)} get pods -o wide "
                "-l app.kubernetes.io/component=nodeagent    # do all run?",
                "kubectl footprint nodes",
            ),
            count=int(total - known),
        )  # fmt: skip


def _requests(facts: Facts, read: Mapping[str, Samples]) -> Iterator[Finding]:
    counted = [(labels, value) for page in read.values() for labels, value in page.of(_REQUESTS)]
    asked = sum(value for labels, value in counted if labels.get("verb") in ("filter", "prioritize"))
    failed = {labels.get("result", ""): 0.0 for labels, _ in counted if labels.get("result") in _OPEN}
    for labels, value in counted:
        if labels.get("result") in failed:
            failed[labels.get("result", "")] += value
    if asked and sum(failed.values()) > _OPEN_SHARE * asked:
        spelled = ", ".join(f"{value:.0f} {result}" for result, value in sorted(failed.items()) if value)
        yield Finding(
            "fails-open", TOPIC, Severity.WARNING,
            f"The extender decided nothing in {sum(failed.values()):.0f} of {asked:.0f} requests ({spelled}).",
            "These pods were placed as without it. late: longer than --deadline. shed: more than --max-in-flight.",
            ("docs/how-to/tune.md    # a cluster that creates many pods a second",),
        )  # fmt: skip
    if not asked:
        yield _silence(facts, every=len(read) == len(facts.metrics))


def _silence(facts: Facts, *, every: bool) -> Finding:
    """Nobody has asked. How bad that is depends on whether there was anything to ask."""
    replicas = [p for p in of_component(facts.pods, EXTENDER) if named(p) in facts.metrics]
    begun = max((at for p in replicas if (at := moment(text(p, "status", "startTime")))), default=None)
    placed = [p for listing in facts.asked_for.values() for p in items(listing) if _placed_after(p, begun)]
    names = asking(facts)
    if placed and every:
        return Finding(
            "nobody-asks", TOPIC, Severity.ERROR,
            f"{of(len(placed), 'pod')} {'was' if len(placed) == 1 else 'were'} placed, and kube-scheduler has not "
            "asked the extender once.",
            "Its requests fail, or go elsewhere: pods are placed as without Traffic Footprint.",
            (
                f"kubectl -n {namespace(facts.release)} logs -l app.kubernetes.io/component=scheduler --tail -1 "
                "| grep -i extender",
                "kubectl footprint doctor -o json    # findings of the topics schedulers and certificates",
            ),
            **about(Kind.POD, {f"{spaced(p)}/{named(p)}" for p in placed}),
        )  # fmt: skip
    return Finding(
        "nobody-asks", TOPIC, Severity.NOTE if names else Severity.WARNING,
        "No kube-scheduler has asked the extender since it started.",
        f"There was no pod to place for {', '.join(thing(name) for name in sorted(names))} since then."
        if names else "No kube-scheduler is known to name it, so no pod is placed by its traffic.",
        () if names
        else (upgrade(facts, "scheduler.enabled=true"), "docs/how-to/use-an-existing-kube-scheduler.md"),
    )  # fmt: skip


def _placed_after(one: Object, begun: datetime | None) -> bool:
    created = moment(text(one, "metadata", "creationTimestamp"))
    return bool(text(one, "spec", "nodeName")) and bool(begun and created and created > begun)


def _learning(facts: Facts, read: Mapping[str, Samples]) -> Iterator[Finding]:
    forbidden = sorted(name for name, page in read.items()
                       if _learning_state(page) == "forbidden")  # fmt: skip
    if forbidden:
        yield Finding(
            "learning-forbidden", TOPIC, Severity.WARNING,
            "The extender may not read TrafficFootprints.",
            "It learns nothing, and obeys nothing that people stated in them.",
            (upgrade(facts, note="brings the extender's role"),),
            **about(Kind.OBJECT, forbidden),
        )  # fmt: skip
    left = max((value for page in read.values() for _, value in page.of(_LEFT_OUT)), default=0)
    if left:
        yield Finding(
            "learning-full", TOPIC, Severity.NOTE,
            f"{left:.0f} workloads have no TrafficFootprint, because there are too many.",
            "They are known while they run, and forgotten afterwards.",
            (upgrade(facts, "extender.settings.learnCapacity=10000"),),
        )  # fmt: skip
