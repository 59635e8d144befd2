# SPDX-License-Identifier: Apache-2.0
"""What the two service accounts try in the least-privilege tests: requests as data, bodies by the agent's code.

The agent of these tests is node1's, where no other agent runs; on node2 a real one does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from extender.cluster.relaxed_pods import event as relaxed
from extender.model.pods import PodInfo
from extender.model.trafficfootprint import API_VERSION, PLURAL, new_object
from footprint.cluster.client import request
from footprint.declared import AnnotationProblem
from footprint.keys import (
    LEARNER_LEASE,
    NODE_ELEPHANT_SHARE,
    NODE_FOOTPRINT,
    NODE_SUMMARY,
    POD_CLASS,
    REBALANCER_LEASE,
    lease_name,
)
from footprint.models import LinkRates, NodeFootprint
from lab import programs
from lab.lab import Lab
from nodeagent.node.pods import LocalPod
from nodeagent.publishing.decide import content, merge_patch
from nodeagent.publishing.events import event
from nodeagent.publishing.heartbeat import lease_spec, new_lease
from nodeagent.publishing.node_events import UNKNOWN, Notice, node_event
from tests.cluster.support.identities import CORE, EVENTS, HERE, LEASES, RBAC, Try
from tests.cluster.support.workloads import pod

OWN: Final = "node1"
OTHER: Final = "node2"
NODE: Final = f"{CORE}/nodes/{OWN}"
LEASES_HERE: Final = LEASES.format(HERE)
OWN_LEASE: Final = f"{LEASES_HERE}/{lease_name(OWN)}"
EVENTS_DEFAULT: Final = EVENTS.format("default")
STAND_IN: Final = f"{CORE}/namespaces/{HERE}/pods/stand-in-{OWN}"
"""The pod whose token the agent of these tests has."""

_POD: Final = LocalPod(uid="0-1", ns="default", name="somebody", workload="Pod/somebody")
_NAMESPACE: Final = {"apiVersion": "v1", "kind": "Namespace", "name": "default", "uid": "1-2"}


def annotate(**annotations: str | None) -> dict[str, Any]:
    return {"metadata": {"annotations": annotations}}


def published(*, source: str = "ctnetlink") -> dict[str, Any]:
    """What an agent patches its Node with."""
    return merge_patch(content(NodeFootprint(src=source, cap=LinkRates(2e8, 2e8), el=LinkRates(1e8, 0.0))))


def own_lease(lab: Lab, *, node: str = OWN, **metadata: Any) -> dict[str, Any]:
    """The Lease that the agent of ``node`` creates, with changes."""
    uid = str(request(lab.api, "GET", f"{CORE}/nodes/{node}")["metadata"]["uid"])
    lease = new_lease(node, uid, HERE, lease_spec(node, 60.0, datetime.now(UTC)))
    return {**lease, "metadata": {**lease["metadata"], **metadata}}


def owner(lab: Lab, node: str, **changes: str) -> list[dict[str, Any]]:
    """A Lease's ownerReferences, naming ``node``."""
    return [{**own_lease(lab, node=node)["metadata"]["ownerReferences"][0], **changes}]


def own_event(*, node: str = OWN, message: str = "m", **changes: Any) -> dict[str, Any]:
    """The Event that the agent of ``node`` sends, with changes."""
    return {**event(_POD, AnnotationProblem(POD_CLASS, message), node, datetime.now(UTC)), **changes}


def own_node_event(*, node: str = OWN, reason: str = UNKNOWN, **changes: Any) -> dict[str, Any]:
    """The Event on its Node that the agent of ``node`` sends, with changes."""
    return {**node_event(Notice(reason, "m", reason), node, node, datetime.now(UTC)), **changes}


def own_footprint(*, spec: Mapping[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """The TrafficFootprint that the extender creates, with changes."""
    made = new_object(("default", "Deployment/intruder"))
    return {**made, "metadata": {**made["metadata"], **metadata}, "spec": {**made["spec"], **(spec or {})}}


# Refused by the policy although RBAC allows them; ``because`` is part of the message.

_LABELS: Final = {"metadata": {"labels": {"a.b/c": "x"}}}
_TAINT: Final = {"spec": {"taints": [{"key": "a.b/c", "effect": "NoExecute"}]}}

NODE_CHANGES: Final = [
    Try("another Node", "PATCH", f"{CORE}/nodes/{OTHER}", published(),
        f"the agent of node {OWN} may not write Node {OTHER}"),
    Try("another annotation", "PATCH", NODE, annotate(**{"a.b/c": "x"}),
        f"may not change annotation a.b/c of Node {OWN}, only {NODE_FOOTPRINT}"),
    Try("another key of our prefix", "PATCH", NODE, annotate(**{POD_CLASS: "mouse"}), f"annotation {POD_CLASS}"),
    Try("one of ours and two others", "PATCH", NODE, annotate(**{NODE_SUMMARY: "s", "a.b/c": "x", "a.b/d": "x"}),
        r"annotation (a\.b/c, a\.b/d|a\.b/d, a\.b/c) of Node"),  # a map has no order
    Try("another annotation changed", "PATCH", NODE, annotate(kept="no"), "may not change annotation kept of"),
    Try("another annotation removed", "PATCH", NODE, annotate(kept=None), "may not change annotation kept of"),
    Try("all annotations removed", "PATCH", NODE, {"metadata": {"annotations": None}}, "annotation .*kept"),
    Try("label", "PATCH", NODE, _LABELS, f"may not change labels of Node {OWN}"),
    Try("label removed", "PATCH", NODE, {"metadata": {"labels": {"kubernetes.io/os": None}}}, "change labels of"),
    Try("finalizer", "PATCH", NODE, {"metadata": {"finalizers": ["a.b/c"]}}, "may not change finalizers of"),
    Try("ownerReference", "PATCH", NODE, {"metadata": {"ownerReferences": [_NAMESPACE]}},
        "may not change ownerReferences of"),
    Try("taint", "PATCH", NODE, _TAINT, r"may not change spec\.taints, spec of"),
    Try("cordon", "PATCH", NODE, {"spec": {"unschedulable": True}}, r"not change spec\.unschedulable, spec of"),
    Try("provider", "PATCH", NODE, {"spec": {"providerID": "a://b"}}, "may not change spec of"),
    Try("a share above 100", "PATCH", NODE, annotate(**{NODE_ELEPHANT_SHARE: "101"}), "number from 0 to 100"),
    Try("a share in words", "PATCH", NODE, annotate(**{NODE_ELEPHANT_SHARE: "1e2"}), "number from 0 to 100"),
    Try("an oversized footprint", "PATCH", NODE, annotate(**{NODE_FOOTPRINT: "x" * 65537}), "at most 65536"),
    Try("a footprint beyond ASCII", "PATCH", NODE, annotate(**{NODE_FOOTPRINT: "\u00e9" * 60_000}), "ASCII"),
    Try("a summary that moves the cursor", "PATCH", NODE, annotate(**{NODE_SUMMARY: "\x1b[2J"}), "printable"),
    Try("an oversized summary", "PATCH", NODE, annotate(**{NODE_SUMMARY: "x" * 1025}), "the summary 1024"),
]  # fmt: skip

EVENT_CHANGES: Final[list[dict[str, Any]]] = [
    {"reportingController": "kubelet"},
    {"reportingInstance": OTHER},
    {"reason": "Evicted"},
    {"regarding": {"apiVersion": "v1", "kind": "Node", "name": OWN}},
    {"regarding": {"apiVersion": "v1", "kind": "Node", "name": OTHER}, "reason": "LowCoverage"},
    {"regarding": {"apiVersion": "v1", "kind": "Node", "name": OWN}, "reason": "NodeNotReady"},
    {"regarding": {"apiVersion": "v1", "kind": "Namespace", "name": OWN}, "reason": "LowCoverage"},
    {"reason": "LowCoverage"},
    {"metadata": {"name": "e.1", "namespace": "default", "finalizers": ["a.b/c"]}},
    {"metadata": {"name": "e.2", "namespace": "default", "ownerReferences": [_NAMESPACE]}},
    {"metadata": {"name": "e.3", "namespace": "default", "labels": {"a": "b"}}},
    {"metadata": {"name": "e.4", "namespace": "default", "annotations": {"a": "b"}}},
]


def leases_created(lab: Lab) -> list[Try]:
    """Every Lease but its own, and its own with more than it needs."""
    more, owned, here = "labels, annotations or finalizers", "only owner is the agent's own Node", LEASES_HERE
    return [
        Try("another agent's", "POST", here, own_lease(lab, node=OTHER),
            f"may not write Lease {HERE}/{lease_name(OTHER)}, only {HERE}/{lease_name(OWN)}"),
        Try("kube-scheduler's", "POST", here, own_lease(lab, name="kube-scheduler"),
            f"may not write Lease {HERE}/kube-scheduler"),
        Try("a label", "POST", here, own_lease(lab, labels={"a": "b"}), more),
        Try("an annotation", "POST", here, own_lease(lab, annotations={"a": "b"}), more),
        Try("a finalizer", "POST", here, own_lease(lab, finalizers=["a.b/c"]), more),
        Try("another owner", "POST", here, own_lease(lab, ownerReferences=[_NAMESPACE]), owned),
        Try("another Node as owner", "POST", here, own_lease(lab, ownerReferences=owner(lab, OTHER)), owned),
        Try("a Node that is gone as owner", "POST", here,
            own_lease(lab, ownerReferences=owner(lab, OWN, uid="1-2")), owned),
    ]  # fmt: skip


LEASE_CHANGES: Final = [
    Try("another agent's", "PATCH", f"{LEASES_HERE}/{lease_name(OTHER)}", {"spec": {"holderIdentity": OWN}},
        f"may not write Lease {HERE}/{lease_name(OTHER)}, only {HERE}/{lease_name(OWN)}"),
    Try("holder", "PATCH", OWN_LEASE, {"spec": {"holderIdentity": OTHER}}, "holderIdentity must be the node"),
    Try("label", "PATCH", OWN_LEASE, _LABELS, "labels, annotations or finalizers"),
    Try("annotation", "PATCH", OWN_LEASE, annotate(a="b"), "labels, annotations or finalizers"),
    Try("finalizer", "PATCH", OWN_LEASE, {"metadata": {"finalizers": ["a.b/c"]}}, "annotations or finalizers"),
    Try("no owner", "PATCH", OWN_LEASE, {"metadata": {"ownerReferences": None}}, "only owner is the agent's own"),
]  # fmt: skip

# Refused by RBAC; the writes by the policy as well, once RBAC is opened wide. ``because`` is the resource.

_SECRETS: Final = f"{CORE}/namespaces/{HERE}/secrets"
_PODS: Final = f"{CORE}/namespaces/default/pods"
_A_POD: Final = pod("intruder", ["sleep", "1"])
_BINDING: Final = {"metadata": {"name": f"stand-in-{OWN}"}, "target": {"kind": "Node", "name": OTHER}}
_EVICTION: Final = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": f"stand-in-{OWN}"}}
_INTRUDER: Final = {"metadata": {"name": "intruder"}}
_OLD_EVENT: Final = {
    "metadata": {"name": "e", "namespace": "default"},
    "involvedObject": {"kind": "Pod", "name": "somebody", "namespace": "default"},
}
_HOLDER: Final = {"spec": {"holderIdentity": OWN}}

SECRETS: Final = Try("secrets", "GET", _SECRETS, because='cannot list resource "secrets"')
READS: Final = [
    SECRETS,
    Try("every namespace's secrets", "GET", f"{CORE}/secrets", because='cannot list resource "secrets"'),
    Try("all Nodes", "GET", f"{CORE}/nodes", because='cannot list resource "nodes"'),
    Try("one pod", "GET", STAND_IN, because='cannot get resource "pods"'),
    Try("a pod's log", "GET", f"{STAND_IN}/log", because='cannot get resource "pods/log"'),
    Try("configmaps", "GET", f"{CORE}/configmaps", because='cannot list resource "configmaps"'),
    Try("its Lease", "GET", OWN_LEASE, because='cannot get resource "leases"'),
    Try("all Leases", "GET", LEASES_HERE, because='cannot list resource "leases"'),
    Try("Events", "GET", EVENTS_DEFAULT, because='cannot list resource "events"'),
]
WRITES: Final = [
    Try("its Node's status", "PATCH", f"{NODE}/status", {"status": {"conditions": []}}, "nodes/status"),
    Try("its Node deleted", "DELETE", NODE, None, "nodes"),
    Try("a Node created", "POST", f"{CORE}/nodes", _INTRUDER, "nodes"),
    Try("the kubelet through a Node", "GET", f"{CORE}/nodes/{OTHER}/proxy/pods", None, "nodes/proxy"),
    Try("another namespace's Lease", "POST", LEASES.format("kube-node-lease"), {**_INTRUDER, **_HOLDER}, "leases"),
    Try("the kubelet's Lease", "PATCH", f"{LEASES.format('kube-node-lease')}/{OWN}", _HOLDER, "leases"),
    Try("a Lease deleted", "DELETE", f"{LEASES_HERE}/{lease_name(OTHER)}", None, "leases"),
    Try("Events deleted", "DELETE", EVENTS_DEFAULT, None, "events"),
    Try("an Event of the old kind", "POST", f"{CORE}/namespaces/default/events", _OLD_EVENT, "events"),
    Try("a pod created", "POST", _PODS, _A_POD, "pods"),
    Try("a pod bound", "POST", f"{STAND_IN}/binding", _BINDING, "pods/binding"),
    Try("a pod evicted", "POST", f"{STAND_IN}/eviction", _EVICTION, "pods/eviction"),
    Try("a command in a pod", "POST", f"{STAND_IN}/exec", None, "pods/exec", {"command": "id", "stdout": "1"}),
    Try("a pod labelled", "PATCH", STAND_IN, _LABELS, "pods"),
    Try("a secret", "POST", _SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}, "secrets"),
    Try("a token", "POST", f"{CORE}/namespaces/{HERE}/serviceaccounts/{programs.EXTENDER_ACCOUNT}/token",
        {"spec": {}}, "serviceaccounts/token"),
    Try("a role", "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "r"}, "rules": []}, "clusterroles"),
]  # fmt: skip

FOOTPRINTS: Final = f"/apis/{API_VERSION}/namespaces/default/{PLURAL}"
_OWN_FOOTPRINT: Final = f"{FOOTPRINTS}/{own_footprint()['metadata']['name']}"

EXTENDER_FOOTPRINTS: Final = [
    Try("a stated class", "POST", FOOTPRINTS, own_footprint(spec={"class": "mouse"}),
        r"states nothing in a TrafficFootprint, .* \(class\): CREATE TrafficFootprint default/"),
    Try("a stated placement", "POST", FOOTPRINTS, own_footprint(spec={"placement": "strict"}),
        r"states nothing in a TrafficFootprint, .* \(placement\)"),
    Try("one that is not labelled", "POST", FOOTPRINTS, own_footprint(labels={}), "labelled as its own"),
    Try("a finalizer", "POST", FOOTPRINTS, own_footprint(finalizers=["a.b/c"]), "no finalizers"),
    Try("an owner", "POST", FOOTPRINTS, own_footprint(ownerReferences=[_NAMESPACE]), "no ownerReferences"),
    Try("a spec", "PATCH", _OWN_FOOTPRINT, {"spec": {"class": "mouse"}}, "cannot patch resource"),
]  # fmt: skip
"""Of TrafficFootprints: refused by the extender's policy although RBAC allows it; the last one by RBAC."""

EXTENDER_LEASES: Final = [
    Try("kube-scheduler's Lease", "POST", LEASES_HERE, {"metadata": {"name": "kube-scheduler"}},
        f"creates no Lease but {HERE}/{LEARNER_LEASE} and {REBALANCER_LEASE}: {HERE}/kube-scheduler"),
    Try("an agent's Lease", "POST", LEASES_HERE, {"metadata": {"name": lease_name("node9")}},
        f"creates no Lease but {HERE}/{LEARNER_LEASE}"),
    Try("a Lease by a generated name", "POST", LEASES_HERE, {"metadata": {"generateName": LEARNER_LEASE}},
        f"creates no Lease but {HERE}/{LEARNER_LEASE}"),
    Try("its Lease with a label", "POST", LEASES_HERE, {"metadata": {"name": LEARNER_LEASE, "labels": {"a": "b"}}},
        "no labels and no annotations"),
    Try("its Lease with a finalizer", "POST", LEASES_HERE,
        {"metadata": {"name": LEARNER_LEASE, "finalizers": ["a.b/c"]}}, "no finalizers"),
    Try("its Lease elsewhere", "POST", LEASES.format("kube-system"), {"metadata": {"name": LEARNER_LEASE}},
        'cannot create resource "leases"'),
]  # fmt: skip
"""Of Leases: refused by the extender's policy although RBAC allows it; the last one by RBAC."""

_RELAXED: Final = relaxed(PodInfo("0-1", "default", "somebody", "Pod/somebody"), 120.0, "r", datetime.now(UTC))
_NO_SUCH_EVENT: Final = "the extender's Events are new, have reportingController traffic-footprint-extender"

EXTENDER_EVENTS: Final = [
    Try("an agent's Event", "POST", EVENTS_DEFAULT, own_event(), _NO_SUCH_EVENT),
    Try("another reason", "POST", EVENTS_DEFAULT, {**_RELAXED, "reason": "Scheduled"}, _NO_SUCH_EVENT),
    Try("on something else", "POST", EVENTS_DEFAULT, {**_RELAXED, "regarding": _NAMESPACE}, _NO_SUCH_EVENT),
    Try("an Event with a label", "POST", EVENTS_DEFAULT,
        {**_RELAXED, "metadata": {**_RELAXED["metadata"], "labels": {"a": "b"}}}, _NO_SUCH_EVENT),
    Try("an Event with a finalizer", "POST", EVENTS_DEFAULT,
        {**_RELAXED, "metadata": {**_RELAXED["metadata"], "finalizers": ["a.b/c"]}}, "no finalizers"),
    Try("an Event changed", "PATCH", f"{EVENTS_DEFAULT}/any", {"note": "x"}, 'cannot patch resource "events"'),
]  # fmt: skip
"""Of Events: refused by the extender's policy although RBAC allows it; the last one by RBAC."""

EXTENDER_REFUSED: Final = [
    *EXTENDER_FOOTPRINTS,
    *EXTENDER_LEASES,
    *EXTENDER_EVENTS,
    SECRETS,
    Try("a Node's annotations", "PATCH", NODE, published(), 'cannot patch resource "nodes"'),
    Try("one Node", "GET", NODE, None, 'cannot get resource "nodes"'),
    Try("one pod", "GET", STAND_IN, None, 'cannot get resource "pods"'),
    Try("a pod created", "POST", _PODS, _A_POD, 'cannot create resource "pods"'),
    Try("a pod bound", "POST", f"{STAND_IN}/binding", _BINDING, 'cannot create resource "pods/binding"'),
    Try("a pod evicted", "POST", f"{STAND_IN}/eviction", _EVICTION, 'cannot create resource "pods/eviction"'),
    Try("a pod deleted", "DELETE", STAND_IN, None, 'cannot delete resource "pods"'),
    Try("Leases elsewhere", "GET", LEASES.format("kube-node-lease"), None, 'cannot list resource "leases"'),
    Try("a Lease deleted", "DELETE", OWN_LEASE, None, 'cannot delete resource "leases"'),
    Try("a Lease renewed", "PATCH", OWN_LEASE, _HOLDER, 'cannot patch resource "leases"'),
    Try("a token", "POST", f"{CORE}/namespaces/{HERE}/serviceaccounts/{programs.AGENT_ACCOUNT}/token",
        {"spec": {}}, 'cannot create resource "serviceaccounts/token"'),
]  # fmt: skip
