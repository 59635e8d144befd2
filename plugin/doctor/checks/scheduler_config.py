# SPDX-License-Identifier: Apache-2.0
"""Is what kube-schedulers are told about the extender sensible?

Enters: the configurations that could be read. Leaves: findings. What is sensible follows from kube-scheduler's
source, and from docs/explanation/measurements.md.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Final

from plugin.connection import parse_duration
from plugin.doctor.checks.schedulers import Scheduler, host, ours, running, tls
from plugin.doctor.facts import Facts, items
from plugin.doctor.finding import Finding, Severity
from plugin.doctor.names import address, namespace, thing
from plugin.doctor.objects import Object, at, objects, text
from plugin.doctor.remedies import upgrade

TOPIC: Final = "schedulers"
MANY_NODES: Final = 500
"""Nodes from which on the share that is scored is felt."""
ALWAYS_SCORED: Final = 100
"""kube-scheduler's own least number of nodes."""
DEFAULT_TIMEOUT: Final = 5.0
"""kube-scheduler's own, in seconds, where none is given."""
LONG: Final = 1.0
SHORT: Final = 0.1
"""The extender's own deadline (``--deadline``)."""
HEAVY: Final = 50
_TUNE: Final = "docs/how-to/tune.md    # kube-scheduler"
_VERBS: Final = {"filterVerb": "filter", "prioritizeVerb": "prioritize"}


def check(facts: Facts) -> Iterator[Finding]:
    """Findings on configurations of kube-schedulers."""
    for one in running(facts):
        entries = ours(one.config, facts)
        if entries:
            yield from _share(one, facts)
        for entry in entries:
            yield from _failing(one, entry, facts)
            yield from _form(one, entry, facts)
            yield from _weight(one, entry, facts)
            yield from _transport(one, entry, facts)


def _mend(one: Scheduler, value: str, facts: Facts) -> str:
    """How to set a value of the chart; or, where that is no value, how to have what the chart always says."""
    if one.own:
        return upgrade(facts, value) if "=" in value else upgrade(facts, note=f"the chart always says {value}")
    return (
        f"kubectl -n {namespace(one.space)} edit configmap {thing(one.source.partition('/')[2])}    "
        "# then restart kube-scheduler"
    )


def _finding(one: Scheduler, ident: str, severity: Severity, what: str, why: str, *mend: str) -> Finding:
    return Finding(ident, TOPIC, severity, what, why, mend, (thing(one.name),), 1)


def _share(one: Scheduler, facts: Facts) -> Iterator[Finding]:
    nodes = len(items(facts.nodes))
    said = at(one.config, "percentageOfNodesToScore")
    share = said if isinstance(said, int) and not isinstance(said, bool) else 0
    if share > 50 and nodes >= MANY_NODES:
        yield _finding(
            one, "percentage-of-nodes", Severity.WARNING,
            f"kube-scheduler {thing(one.name)} looks at {share} % of {nodes} nodes for each pod "
            "(percentageOfNodesToScore).",
            "Each of them is sent to the extender twice. With a tenth it placed 1.8 times as many pods a second.",
            _mend(one, "scheduler.percentageOfNodesToScore=10", facts), _TUNE,
        )  # fmt: skip
    elif not share and nodes > ALWAYS_SCORED:
        yield _finding(
            one, "percentage-of-nodes", Severity.NOTE,
            f"kube-scheduler {thing(one.name)} chooses itself how many of {nodes} nodes it looks at "
            "(percentageOfNodesToScore is 0).",
            "That is 42 % of 1,000 nodes, and 10 % of 5,000.",
            _mend(one, "scheduler.percentageOfNodesToScore=10", facts), _TUNE,
        )  # fmt: skip


def _failing(one: Scheduler, entry: Object, facts: Facts) -> Iterator[Finding]:
    if at(entry, "ignorable") is not True:
        yield _finding(
            one, "not-ignorable", Severity.ERROR,
            f"kube-scheduler {thing(one.name)} places no pod while the extender is away (ignorable is not true).",
            "An outage of the extender stops all placement, its own pods' too.",
            _mend(one, "ignorable: true", facts),
        )  # fmt: skip
    seconds = _timeout(entry)
    if seconds is None:
        return
    if seconds > LONG:
        yield _finding(
            one, "timeout-long", Severity.WARNING,
            f"kube-scheduler {thing(one.name)} waits {seconds:g} s for the extender (httpTimeout).",
            "While the extender is away, each pod waits that long, one after the other.",
            _mend(one, "scheduler.httpTimeout=500ms", facts),
        )  # fmt: skip
    elif seconds <= SHORT:
        yield _finding(
            one, "timeout-short", Severity.WARNING,
            f"kube-scheduler {thing(one.name)} waits only {1000 * seconds:g} ms for the extender (httpTimeout).",
            "The extender itself takes up to 100 ms before it fails open: its answers come too late.",
            _mend(one, "scheduler.httpTimeout=500ms", facts),
        )  # fmt: skip


_DURATION: Final = re.compile(r"[0-9.]+[a-zµ]+")


def _timeout(entry: Object) -> float | None:
    """Seconds; None where it is malformed, with which kube-scheduler does not start."""
    said = at(entry, "httpTimeout")
    if said in (None, "", "0", "0s", 0):
        return DEFAULT_TIMEOUT
    if isinstance(said, int):
        return said / 1e9  # as Go reads a number
    try:
        seconds = parse_duration(said) if isinstance(said, str) and _DURATION.match(said) else None
    except ValueError:
        return None
    return seconds if isinstance(seconds, float) else None


def _form(one: Scheduler, entry: Object, facts: Facts) -> Iterator[Finding]:
    if at(entry, "nodeCacheCapable") is not True:
        yield _finding(
            one, "not-node-cache-capable", Severity.ERROR,
            f"kube-scheduler {thing(one.name)} sends whole Nodes (nodeCacheCapable is not true).",
            "kube-scheduler 1.33 and newer then gives its other plugins empty Nodes, and their scores are wrong.",
            _mend(one, "nodeCacheCapable: true", facts),
        )  # fmt: skip
    said = {verb: text(entry, verb) for verb in _VERBS}
    wrong = sorted(f"{verb}: {value[:40]}" for verb, value in said.items() if value and value != _VERBS[verb])
    if wrong or not any(said.values()):
        yield _finding(
            one, "verbs-wrong", Severity.ERROR,
            f"kube-scheduler {thing(one.name)} asks for what the extender does not answer "
            f"({', '.join(wrong) or 'no verb at all'}).",
            "Every request gets 404, and pods are placed as without it.",
            "docs/reference/extender-protocol.md    # filterVerb: filter, prioritizeVerb: prioritize",
        )  # fmt: skip
    elif not said["filterVerb"]:
        yield _finding(
            one, "verbs-some", Severity.NOTE,
            f"kube-scheduler {thing(one.name)} asks for scores only.",
            "No node is ever rejected: a pod's strict or prefer counts for nothing.",
            "docs/reference/extender-protocol.md    # filterVerb: filter",
        )  # fmt: skip
    elif not said["prioritizeVerb"]:
        yield _finding(
            one, "verbs-some", Severity.WARNING,
            f"kube-scheduler {thing(one.name)} asks for rejections only.",
            "Among the nodes that are left, traffic does not count.",
            "docs/reference/extender-protocol.md    # prioritizeVerb: prioritize",
        )  # fmt: skip
    if objects(entry, "managedResources"):
        yield _finding(
            one, "managed-resources", Severity.WARNING,
            f"kube-scheduler {thing(one.name)} asks only for pods that request certain resources "
            "(managedResources).",
            "All other pods are placed as without the extender.",
            _mend(one, "to ask for every pod", facts),
        )  # fmt: skip


def _weight(one: Scheduler, entry: Object, facts: Facts) -> Iterator[Finding]:
    said = at(entry, "weight")
    weight = said if isinstance(said, int) and not isinstance(said, bool) else 0
    if not text(entry, "prioritizeVerb"):
        return
    if weight < 2 or weight > HEAVY:
        light = weight < 2
        yield _finding(
            one, "weight", Severity.ERROR if weight < 1 else Severity.WARNING,
            f"The network's weight in kube-scheduler {thing(one.name)} is {weight}.",
            "kube-scheduler does not start with it." if weight < 1
            else "kube-scheduler's other plugins count with weights of 1 to 3, and outweigh it." if light
            else "Hardly any other plugin counts beside it: not the room for CPU and memory, nor affinity.",
            _mend(one, "scheduler.weight=5", facts), _TUNE,
        )  # fmt: skip


def _transport(one: Scheduler, entry: Object, facts: Facts) -> Iterator[Finding]:
    url = text(entry, "urlPrefix")
    secure = url.startswith("https://") or at(entry, "enableHTTPS") is True
    if not secure and not _loopback(host(url)):
        yield _finding(
            one, "plain-http", Severity.WARNING,
            f"kube-scheduler {thing(one.name)} asks {address(host(url))} without TLS.",
            "Whoever is between them reads what pods there are, and decides where they go.",
            _mend(one, "https", facts),
        )  # fmt: skip
    # Without enableHTTPS, kube-scheduler trusts its host's CAs instead.
    if at(entry, "enableHTTPS") is True and not (text(tls(entry), "caFile") or text(tls(entry), "caData")):
        yield _finding(
            one, "without-ca", Severity.ERROR,
            f"kube-scheduler {thing(one.name)} checks no certificate of the extender (tlsConfig has no CA).",
            "With enableHTTPS and no CA, it accepts any.",
            _mend(one, "which CA to trust", facts),
        )  # fmt: skip
    elif secure and at(tls(entry), "insecure") is True:
        yield _finding(
            one, "without-ca", Severity.ERROR,
            f"kube-scheduler {thing(one.name)} checks no certificate of the extender (tlsConfig.insecure).",
            "It accepts any.",
            _mend(one, "which CA to trust", facts),
        )  # fmt: skip


def _loopback(name: str) -> bool:
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
