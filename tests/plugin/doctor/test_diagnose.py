# SPDX-License-Identifier: Apache-2.0
"""Every fault by itself, in a cluster that is healthy otherwise: it is found, and nothing else is."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from footprint.classes import TrafficClass
from footprint.keys import NODE_FOOTPRINT
from footprint.models import LinkRates, PodFootprint, Uplink
from plugin.doctor import diagnose as module
from plugin.doctor.checks import certificates, extender, versions
from plugin.doctor.finding import Finding, Severity
from plugin.doctor.names import Anonymiser, Kind, told
from tests.plugin.doctor.authority import encoded, issue
from tests.plugin.doctor.cluster import (
    APPS,
    BINDING,
    CA,
    CLIENT,
    CONFIG,
    CRD,
    HOST,
    LEASES,
    NAME,
    NODES,
    NOW,
    OURS,
    PODS,
    POLICY,
    RECORDS,
    ROUTING,
    ROUTING_BINDING,
    SECRET,
    SERVED,
    SERVER,
    SYSTEM,
    M,
    binding,
    config_map,
    crd,
    footprint,
    found,
    healthy,
    lease,
    look,
    metrics_path,
    moment,
    node,
    one,
    page,
    pod,
    policy,
    routing,
    routing_binding,
    scheduler_config,
    secret,
    workload,
)

State = dict[str, Any]
CHECKOUT = Path(__file__).parents[3]


def broken(change: Callable[[State], object]) -> State:
    """A healthy cluster after ``change``."""
    state = healthy()
    change(state)
    return state


def put(path: str, value: object) -> Callable[[State], object]:
    return lambda state: state.__setitem__(path, value)


def entry(**fields: Any) -> Callable[[State], object]:
    """Fields of the extender's entry in kube-scheduler's configuration."""
    return put(CONFIG, config_map(scheduler_config(**fields)))


def nodes(*said: Any) -> Callable[[State], object]:
    """What the nodes n1, n2, ... say."""
    return put(NODES, [node(f"n{i}", one) for i, one in enumerate(said, 1)])


def both(text: str) -> Callable[[State], object]:
    """Both replicas' metrics."""
    return lambda state: state.update({metrics_path("a"): text, metrics_path("b"): text})


def of(field: str, value: object, made: Any) -> Any:
    """``made`` with one field at a dotted path replaced; None removes it."""
    changed = copy.deepcopy(made)
    *path, last = field.split(".")
    at = changed
    for key in path:
        at = at[key]
    at.pop(last) if value is None else at.__setitem__(last, value)
    return changed


def waiting(reason: str) -> Any:
    return pod("nodeagent", "x", "n3", containerStatuses=[{"state": {"waiting": {"reason": reason}}}])


HOST_PODS = ("host", (), LinkRates(50 * M, M))
OTHER_CA = issue("another-ca", NOW, ca=True)
NEXT_CA = issue("next-ca", NOW, ca=True)
ENDED_CA = issue("old-ca", NOW, ca=True, days=-3)
MIDDLE = issue("middle", NOW, by=CA, ca=True)
BELOW_MIDDLE = issue(HOST, NOW, by=MIDDLE, names=(HOST,))
ON_HOST = {
    "containers": [{"image": "x/kube-scheduler:v1.37.1", "command": ["kube-scheduler", "--config=/etc/k/c.yaml"],
                    "volumeMounts": [{"name": "k", "mountPath": "/etc/k"}]}],
    "volumes": [{"name": "k", "hostPath": {"path": "/etc/k"}}],
}  # fmt: skip


FAULTS: list[tuple[str, Severity, Callable[[State], object]]] = [
    # agents
    ("agents-absent", Severity.WARNING, put(f"{APPS}/daemonsets", [])),
    ("agents-nowhere", Severity.ERROR, put(f"{APPS}/daemonsets", [workload("nodeagent")])),
    ("agents-not-ready", Severity.WARNING, put(f"{APPS}/daemonsets", [
        workload("nodeagent", desiredNumberScheduled=3, numberReady=1, updatedNumberScheduled=3)])),
    ("agents-not-ready", Severity.ERROR, put(f"{APPS}/daemonsets", [
        workload("nodeagent", desiredNumberScheduled=3, numberReady=0, updatedNumberScheduled=3)])),
    ("agents-outdated", Severity.WARNING, put(f"{APPS}/daemonsets", [
        workload("nodeagent", desiredNumberScheduled=3, numberReady=3, updatedNumberScheduled=1)])),
    ("agents-outdated", Severity.WARNING, put(f"{APPS}/daemonsets", [workload(
        "nodeagent", desiredNumberScheduled=3, numberReady=3, updatedNumberScheduled=3, observedGeneration=0)])),
    ("pods-waiting", Severity.ERROR, lambda s: s[f"{OURS}/pods"].append(waiting("ImagePullBackOff"))),
    ("heartbeats-stale", Severity.WARNING, lambda s: s[LEASES].__setitem__(0, lease("n1", ago=200))),
    ("heartbeats-stale", Severity.WARNING, lambda s: s[LEASES].__setitem__(
        0, lease("n1", ago=200, stamped=False))),
    ("heartbeats-stale", Severity.ERROR, put(LEASES, [lease(f"n{i}", ago=9999) for i in (1, 2, 3)])),
    ("heartbeats-missing", Severity.WARNING, lambda s: s[LEASES].pop(0)),
    ("footprints-missing", Severity.WARNING, nodes(footprint(), "", footprint())),
    # measuring
    ("footprint-malformed", Severity.WARNING, nodes(footprint(), "{", footprint())),
    ("footprint-version", Severity.WARNING, nodes(footprint(), '{"v":2}', footprint())),
    ("low-coverage", Severity.WARNING, nodes(footprint(bad=("low-coverage",)), footprint(), footprint())),
    ("losses", Severity.WARNING, nodes(footprint(bad=("events-lost",)), footprint(), footprint())),
    ("pods-without-traffic", Severity.WARNING, lambda s: (
        nodes(footprint(pods=(), host=LinkRates(50 * M, M)), footprint(), footprint())(s),
        s[PODS].append({"metadata": {"name": "p", "namespace": "shop"}, "spec": {"nodeName": "n1"},
                        "status": {"phase": "Running"}}))),
    # links
    ("capacity-unknown", Severity.WARNING, nodes(footprint(cap=LinkRates(), by=""), footprint(), footprint())),
    ("capacity-unknown", Severity.WARNING, nodes(
        footprint(uplinks=(Uplink("eth0", LinkRates(1e9, 1e9), "stated"), Uplink("eth1"))), footprint(),
        footprint())),
    ("capacity-assumed", Severity.WARNING, nodes(footprint(by="assumed"), footprint(), footprint())),
    ("capacity-malformed", Severity.WARNING, nodes(
        footprint(bad=("link-capacity-not-understood",)), footprint(), footprint())),
    # extender
    ("extender-absent", Severity.ERROR, lambda s: (
        s[f"{APPS}/deployments"].pop(0), put(f"{OURS}/pods", [p for p in s[f"{OURS}/pods"]
                                             if "extender" not in p["metadata"]["name"]])(s))),
    ("extender-not-ready", Severity.WARNING, lambda s: s[f"{APPS}/deployments"].__setitem__(
        0, workload("extender", readyReplicas=1))),
    ("extender-not-ready", Severity.ERROR, lambda s: s[f"{APPS}/deployments"].__setitem__(
        0, workload("extender", readyReplicas=0))),
    ("metrics-malformed", Severity.WARNING, both("<html>sign in</html>")),
    ("metrics-malformed", Severity.WARNING, both("")),
    ("watches-lost", Severity.ERROR, both(page(connected=0))),
    ("watches-lost", Severity.WARNING, put(metrics_path("a"), page(connected=0))),
    ("nodes-unknown", Severity.WARNING, both(page(known=2, unknown=1))),
    ("nodes-unknown", Severity.ERROR, both(page(known=0, unknown=3))),
    ("fails-open", Severity.WARNING, both(page(requests=100, failed=3))),
    ("nobody-asks", Severity.ERROR, lambda s: (both(page(requests=0))(s), s[PODS].append(
        {"metadata": {"name": "p", "namespace": "shop", "creationTimestamp": moment(60)},
         "spec": {"nodeName": "n1", "schedulerName": NAME}, "status": {"phase": "Running"}}))),
    ("learning-forbidden", Severity.WARNING, both(page(learning="forbidden"))),
    # schedulers
    ("scheduler-not-ready", Severity.WARNING, lambda s: s[f"{APPS}/deployments"].__setitem__(
        1, workload("scheduler", readyReplicas=1))),
    ("scheduler-asks-nobody", Severity.ERROR, entry(
        urlPrefix="https://elsewhere.example:8890", tlsConfig={"serverName": "elsewhere.example"})),
    ("scheduler-asks-nobody", Severity.ERROR, put(CONFIG, config_map(of("extenders", None, scheduler_config())))),
    ("scheduler-config-malformed", Severity.ERROR, put(CONFIG, config_map("no configuration"))),
    ("scheduler-config-malformed", Severity.ERROR, put(CONFIG, {
        "metadata": {}, "data": {"config.yaml": "{[: x"}})),
    ("scheduler-config-malformed", Severity.ERROR, put(CONFIG, {"metadata": {}, "data": {"another": "{}"}})),
    ("percentage-of-nodes", Severity.WARNING, lambda s: (
        put(CONFIG, config_map({**scheduler_config(), "percentageOfNodesToScore": 100}))(s),
        s[NODES].extend(node(f"m{i}", "") for i in range(600)))),
    ("not-ignorable", Severity.ERROR, entry(ignorable=False)),
    ("timeout-long", Severity.WARNING, entry(httpTimeout="5s")),
    ("timeout-long", Severity.WARNING, entry(httpTimeout=None)),
    ("timeout-short", Severity.WARNING, entry(httpTimeout="50ms")),
    ("not-node-cache-capable", Severity.ERROR, entry(nodeCacheCapable=False)),
    ("verbs-wrong", Severity.ERROR, entry(filterVerb="predicates")),
    ("verbs-wrong", Severity.ERROR, entry(filterVerb="", prioritizeVerb="")),
    ("verbs-some", Severity.WARNING, entry(prioritizeVerb="")),
    ("managed-resources", Severity.WARNING, entry(managedResources=[{"name": "example.com/gpu"}])),
    ("weight", Severity.WARNING, entry(weight=1)),
    ("weight", Severity.WARNING, entry(weight=100)),
    ("weight", Severity.ERROR, entry(weight=0)),
    ("plain-http", Severity.WARNING, entry(urlPrefix=f"http://{HOST}:8890", enableHTTPS=False)),
    ("without-ca", Severity.ERROR, entry(tlsConfig={"serverName": HOST})),
    ("without-ca", Severity.ERROR, entry(tlsConfig={
        **scheduler_config()["extenders"][0]["tlsConfig"], "insecure": True})),
    # certificates
    ("secret-absent", Severity.ERROR, put(f"{SECRET}extender-tls", 404)),
    ("certificate-ends", Severity.WARNING, put(f"{SECRET}extender-tls", secret(
        "extender", issue(HOST, NOW, by=CA, names=(HOST,), days=10).pem, CA.pem))),
    ("certificate-ends", Severity.ERROR, put(f"{SECRET}scheduler-tls", secret(
        "scheduler", issue("s", NOW, by=CA, days=-1).pem, CA.pem))),
    ("certificate-not-yet", Severity.ERROR, put(f"{SECRET}scheduler-tls", secret(
        "scheduler", issue("s", NOW, by=CA, begins=NOW + timedelta(hours=2)).pem, CA.pem))),
    ("certificate-malformed", Severity.ERROR, put(f"{SECRET}scheduler-tls", secret("scheduler", "?", CA.pem))),
    ("ca-mismatch", Severity.ERROR, put(f"{SECRET}scheduler-tls", secret(
        "scheduler", CLIENT.pem, OTHER_CA.pem))),
    ("ca-mismatch", Severity.ERROR, entry(tlsConfig={
        **scheduler_config()["extenders"][0]["tlsConfig"], "caFile": "", "caData": encoded(OTHER_CA.pem)})),
    ("client-ca-mismatch", Severity.ERROR, put(f"{SECRET}extender-tls", secret(
        "extender", SERVER.pem, OTHER_CA.pem))),
    ("name-mismatch", Severity.ERROR, put(f"{SECRET}extender-tls", secret(
        "extender", issue(HOST, NOW, by=CA, names=("another.example",)).pem, CA.pem))),
    ("certificate-in-use-ends", Severity.WARNING, both(page(ends=(NOW + timedelta(days=9)).timestamp()))),
    ("certificate-in-use-ends", Severity.ERROR, both(page(ends=(NOW - timedelta(days=9)).timestamp()))),
    # policies
    ("policy-absent", Severity.WARNING, put(f"{POLICY}nodeagent", 404)),
    ("policy-absent", Severity.WARNING, put(f"{POLICY}extender", 404)),
    ("policy-not-bound", Severity.WARNING, put(f"{BINDING}nodeagent", 404)),
    ("policy-not-bound", Severity.WARNING, put(f"{BINDING}nodeagent", of(
        "spec.policyName", "x", binding("nodeagent")))),
    ("policy-does-not-deny", Severity.WARNING, put(f"{BINDING}nodeagent", of(
        "spec.validationActions", ["Audit"], binding("nodeagent")))),
    ("policy-narrowed", Severity.WARNING, put(f"{BINDING}extender", of(
        "spec.matchResources", {"namespaceSelector": {}}, binding("extender")))),
    ("policy-of-another-account", Severity.WARNING, put(f"{POLICY}nodeagent", of(
        "spec.matchConditions", [{"expression": "endsWith(':somebody')"}], policy("nodeagent")))),
    ("policy-ignored-on-failure", Severity.WARNING, put(f"{POLICY}nodeagent", of(
        "spec.failurePolicy", "Ignore", policy("nodeagent")))),
    ("policy-expressions", Severity.WARNING, put(f"{POLICY}nodeagent", of(
        "status", {"typeChecking": {"expressionWarnings": [{"warning": "w"}]}}, policy("nodeagent")))),
    ("policy-not-bound", Severity.WARNING, put(ROUTING_BINDING, [])),
    ("policy-not-bound", Severity.WARNING, put(ROUTING_BINDING, 404)),
    ("policy-absent", Severity.WARNING, put(ROUTING, [])),
    ("policy-narrowed", Severity.WARNING, put(ROUTING_BINDING, [of(
        "spec.matchResources", {"namespaceSelector": {}}, routing_binding())])),
    ("routing-elsewhere", Severity.ERROR, put(ROUTING, [routing("another")])),
    ("routing-absent", Severity.WARNING, lambda s: s.update({ROUTING: [], ROUTING_BINDING: []})),
    ("routing-absent", Severity.WARNING, lambda s: s.update({ROUTING: 404, ROUTING_BINDING: 404})),
    # definition
    ("definition-absent", Severity.WARNING, lambda s: s.update({SERVED: 404, CRD: 404, RECORDS: 404})),
    ("definition-absent", Severity.WARNING, put(SERVED, {"resources": []})),
    ("definition-not-accepted", Severity.ERROR, put(CRD, of(
        "status.conditions", [{"type": "NamesAccepted", "status": "False", "message": "taken"}], crd()))),
    ("definition-old", Severity.WARNING, put(CRD, of("spec.versions", [
        {"name": "v1alpha1", "schema": {"openAPIV3Schema": {"properties": {"spec": {"properties": {
            "workload": {}}}}}}}], crd()))),
    ("definition-storage", Severity.WARNING, put(CRD, of("spec.versions", [
        {"name": "v1alpha1", "served": True}, {"name": "v1", "storage": True}], crd()))),
    ("records-malformed", Severity.WARNING, put(RECORDS, [
        {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"workload": "?"}}])),
    ("records-malformed", Severity.WARNING, put(RECORDS, [{"metadata": {}}])),
    # versions
    ("versions-differ", Severity.WARNING, lambda s: s[f"{APPS}/daemonsets"][0]["metadata"]["labels"].update(
        {"app.kubernetes.io/version": "0.0.9"})),
    ("extender-of-another-version", Severity.WARNING, put(metrics_path("a"), page(version="0.0.7"))),
    ("scheduler-newer", Severity.ERROR, put("/version", {"gitVersion": "v1.36.0"})),
    ("scheduler-older", Severity.WARNING, put("/version", {"gitVersion": "v1.39.0-gke.7"})),
    # clocks
    ("clock-of-node", Severity.WARNING, lambda s: s[LEASES].__setitem__(0, lease("n1", skew=90))),
    ("clock-of-node", Severity.WARNING, lambda s: s[LEASES].__setitem__(0, lease("n1", skew=-400))),
    # rights
    ("not-looked-at", Severity.WARNING, put(f"{SECRET}extender-tls", 403)),
    ("not-looked-at", Severity.WARNING, put(CONFIG, 403)),
    ("not-looked-at", Severity.WARNING, lambda s: s.update({metrics_path("a"): 403, metrics_path("b"): 403})),
    ("not-looked-at", Severity.WARNING, put(NODES, 403)),
    ("not-looked-at", Severity.WARNING, put(LEASES, 403)),
    ("not-looked-at", Severity.WARNING, put(f"{APPS}/daemonsets", 403)),
    ("not-looked-at", Severity.WARNING, put(f"{POLICY}nodeagent", 403)),
    ("not-looked-at", Severity.WARNING, put(f"{BINDING}nodeagent", 403)),
    ("not-looked-at", Severity.WARNING, put(CRD, 403)),
    ("not-looked-at", Severity.WARNING, put(RECORDS, 403)),
    ("not-looked-at", Severity.WARNING, put(f"{SYSTEM}/pods", 403)),
    ("not-looked-at", Severity.WARNING, put("/version", 403)),
    ("not-looked-at", Severity.WARNING, put(metrics_path("a"), 503)),
    ("not-looked-at", Severity.WARNING, put(f"{OURS}/services", 0)),
]  # fmt: skip

NOTES: list[tuple[str, Callable[[State], object]]] = [
    ("nodes-without-agent", lambda s: s[NODES].append(node("windows", ""))),
    ("capacity-unsure", nodes(footprint(by="estimated", sure=0.2), footprint(), footprint())),
    ("links-full", nodes(footprint(full=("tx",)), footprint(), footprint())),
    ("pods-left-out", nodes(footprint(cut=4), footprint(), footprint())),
    ("shadow-mode", lambda s: s[f"{APPS}/deployments"][0]["spec"]["template"]["spec"]["containers"][0]["env"][1]
     .update(value="true")),
    ("nobody-asks", both(page(requests=0))),
    ("verbs-some", entry(filterVerb="")),
    ("scheduler-config-on-host", put(f"{SYSTEM}/pods", [
        {"metadata": {"name": "kube-scheduler-m1", "namespace": "kube-system", "labels": {
            "component": "kube-scheduler"}}, "spec": ON_HOST}])),
    ("scheduler-asks-nobody", put(f"{SYSTEM}/pods", [
        {"metadata": {"name": "kube-scheduler-m1", "namespace": "kube-system", "labels": {
            "component": "kube-scheduler"}}, "spec": {"containers": [{"command": ["kube-scheduler"]}]}}])),
    ("percentage-of-nodes", lambda s: (
        put(CONFIG, config_map(of("percentageOfNodesToScore", None, scheduler_config())))(s),
        s[NODES].extend(node(f"m{i}", "") for i in range(200)))),
    ("images-differ", lambda s: s[f"{OURS}/pods"][0]["spec"]["containers"][0].update(image="x/nodeagent:9")),
    ("plugin-version", lambda s: [o["metadata"]["labels"].update({"app.kubernetes.io/version": "3.0.0"})
                                  for o in (*s[f"{APPS}/daemonsets"], *s[f"{APPS}/deployments"])]),
    ("definition-absent", lambda s: (
        s.update({SERVED: 404, CRD: 404, RECORDS: 404}),
        s[f"{APPS}/deployments"][0]["spec"]["template"]["spec"]["containers"][0]["env"][0].update(value="false"))),
    ("clock-of-this-machine", put("clock", NOW + timedelta(seconds=60))),
]  # fmt: skip


def test_a_healthy_cluster_has_nothing_to_mend() -> None:
    made = look(healthy())
    assert [(one.id, one.what) for one in made.findings if one.severity.weight] == []
    assert made.exit_status == 0


@pytest.mark.parametrize(("ident", "severity", "change"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_fault_is_found_and_nothing_else_is(
    ident: str, severity: Severity, change: Callable[[State], object]
) -> None:
    state = broken(change)
    assert found(state) <= {ident, *FOLLOWS.get(ident, ())}
    made = look(state)
    mine = [each for each in made.findings if each.id == ident]
    assert {each.severity for each in mine} == {severity}
    assert made.exit_status == {Severity.WARNING: 1, Severity.ERROR: 3}[max(
        (each.severity for each in made.findings), key=lambda s: s.weight)]  # fmt: skip
    assert all(each.what and each.why and each.mend for each in mine), "what, so what, and what mends it"


FOLLOWS = {
    "agents-not-ready": (), "definition-absent": (), "not-looked-at": ("agents-absent",),
    # No pod of the extender: nobody is left to be asked.
    "extender-absent": ("scheduler-asks-nobody", "name-mismatch"),
    "scheduler-asks-nobody": ("nobody-asks",), "scheduler-config-malformed": ("nobody-asks",),
}  # fmt: skip
"""What a fault may bring along."""


@pytest.mark.parametrize(("ident", "change"), NOTES, ids=[note[0] for note in NOTES])
def test_what_is_good_to_know_changes_no_exit_status(ident: str, change: Callable[[State], object]) -> None:
    made = look(broken(change))
    assert ident in {each.id for each in made.findings if each.severity is Severity.NOTE}
    assert made.exit_status == 0, [each for each in made.findings if each.severity.weight]


def test_sources_are_counted() -> None:
    state = broken(nodes(footprint(), footprint(src="ctnetlink"), footprint(src="ctnetlink")))
    assert one(state, "sources").what == "Measured: 2 nodes by ctnetlink, 1 node by ebpf-fentry."


@pytest.mark.parametrize(
    ("server", "client"),
    [
        (secret("extender", BELOW_MIDDLE.pem + MIDDLE.pem, CA.pem), secret("scheduler", CLIENT.pem, CA.pem)),
        (secret("extender", SERVER.pem, CA.pem), secret("scheduler", CLIENT.pem, CA.pem + NEXT_CA.pem)),
        (secret("extender", SERVER.pem, CA.pem), secret("scheduler", CLIENT.pem, ENDED_CA.pem + CA.pem)),
    ],
    ids=["an intermediate", "the next CA", "the CA before"],
)
def test_certificates_that_work_are_no_findings(server: object, client: object) -> None:
    state = broken(put(f"{SECRET}extender-tls", server))
    state[f"{SECRET}scheduler-tls"] = client
    assert found(state) == set()


def test_a_chain_without_its_intermediate_does_not_lead_to_the_ca() -> None:
    state = broken(put(f"{SECRET}extender-tls", secret("extender", BELOW_MIDDLE.pem, CA.pem)))
    assert found(state) == {"ca-mismatch"}


def test_a_lease_renewed_by_a_clock_that_is_behind_is_alive() -> None:
    """An age by the node's own clock would say ten minutes."""
    state = broken(lambda s: s[LEASES].__setitem__(0, lease("n1", ago=5, skew=-600)))
    assert found(state) == {"clock-of-node"}


def test_the_pods_of_a_quiet_node_are_not_asked_for() -> None:
    state = broken(nodes(footprint(pods=(), host=LinkRates(1e5, 0)), footprint(), footprint()))
    assert "pods-without-traffic" not in found(state)


def test_a_node_with_host_network_pods_alone_is_right_to_have_no_pods_traffic() -> None:
    state = broken(nodes(footprint(pods=(), host=LinkRates(9e7, 0)), footprint(), footprint()))
    state[PODS] = [{"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "hostNetwork": True},
                    "status": {"phase": "Running"}}]  # fmt: skip
    assert found(state) == set()


def test_the_worst_comes_first_and_decides_the_exit_status() -> None:
    state = broken(lambda s: (entry(ignorable=False)(s), s[LEASES].pop(0)))
    made = look(state)
    assert [each.severity for each in made.findings] == sorted(
        (each.severity for each in made.findings), key=lambda severity: -severity.weight
    )
    assert made.exit_status == 3


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_facts: object) -> list[Finding]:
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(module, "CHECKS", (("links", fails), *module.CHECKS))
    made = look(broken(entry(ignorable=False)))
    assert {each.id for each in made.findings if each.severity.weight} == {"check-failed", "not-ignorable"}


def test_the_json_has_one_shape() -> None:
    state = broken(entry(httpTimeout="5s"))
    shown = json.loads(orjson.dumps(look(state).as_json()))
    assert list(shown) == ["apiVersion", "kind", "at", "worst", "counts", "looked_at", "findings"]
    assert (shown["apiVersion"], shown["kind"]) == ("plugin.traffic-footprint.io/v1", "Diagnosis")
    assert shown["at"] == NOW.isoformat(timespec="seconds")
    assert shown["worst"] == "warning"
    assert shown["counts"] == {"note": 1, "warning": 1, "error": 0}
    assert shown["looked_at"] == [
        "agents", "measuring", "links", "extender", "schedulers", "certificates", "policies", "definition",
        "versions", "clocks", "rights",
    ]  # fmt: skip
    assert shown["findings"][0] == {
        "id": "timeout-long",
        "topic": "schedulers",
        "severity": "warning",
        "what": "kube-scheduler traffic-footprint-scheduler waits 5 s for the extender (httpTimeout).",
        "why": "While the extender is away, each pod waits that long, one after the other.",
        "mend": [
            "helm upgrade traffic-footprint helm/traffic-footprint -n traffic-footprint --reuse-values "
            "--set scheduler.httpTimeout=500ms"
        ],
        "about": ["traffic-footprint-scheduler"],
        "count": 1,
        "said": "",
    }


def test_a_finding_names_a_dozen_and_counts_all() -> None:
    state = healthy()
    state[NODES] = [node(f"n{i:02}") for i in range(40)]
    state[LEASES] = [lease(f"n{i:02}", ago=999 if i else 1) for i in range(40)]
    made = one(state, "heartbeats-stale")
    assert (len(made.about), made.count) == (12, 39)


@pytest.mark.parametrize(("ident", "severity", "change"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_with_aliases_no_name_of_the_cluster_is_told(
    ident: str, severity: Severity, change: Callable[[State], object]
) -> None:
    """The cluster's own names are unusual words here, so that a sentence cannot hold them by chance."""
    named = orjson.dumps(broken(change)).decode().replace("kube-system", "\0")
    for word, strange in (
        ("n1", "qzv1"),
        ("n2", "qzv2"),
        ("n3", "qzv3"),
        ("shop", "qzvshop"),
        ("lake", "qzvlake"),
    ):
        named = named.replace(f'"{word}"', f'"{strange}"').replace(f'\\"{word}\\"', f'\\"{strange}\\"')
        named = named.replace(f"node-{word}", f"node-{strange}")
    state = json.loads(named.replace("\0", "kube-system"))
    if "clock" in state:
        del state["clock"]
    shown = orjson.dumps(look(state).as_json(Anonymiser())).decode()
    assert "qzv" not in shown
    assert "jane" not in shown
    assert '"ident"' not in shown
    assert ident in shown
    assert severity.value in shown


def test_aliases_are_the_same_everywhere() -> None:
    aliases = Anonymiser()
    first, other = aliases(Kind.NODE, "a"), aliases(Kind.NODE, "b")
    assert (first, other) == ("node-1", "node-2")
    assert aliases(Kind.NODE, "a") == first
    assert aliases(Kind.POD, "a") == "pod-1"
    assert aliases(Kind.POD, "") == ""


def test_an_ended_pods_traffic_is_a_pods_traffic() -> None:
    ended = (PodFootprint("u9", "shop", "gone", "Job/x", TrafficClass.ELEPHANT, tx=5 * M),)
    state = broken(nodes(footprint(pods=(), ended=ended, host=LinkRates(9e7, 0)), footprint(), footprint()))
    assert found(state) == set()
    assert NODE_FOOTPRINT in state[NODES][0]["metadata"]["annotations"]


def test_the_metrics_that_are_read_are_those_that_the_extender_serves() -> None:
    served = (CHECKOUT / "docs" / "reference" / "metrics.md").read_text()
    for name in (*extender.METRICS, certificates.METRIC, versions.BUILD_INFO):
        assert f"| `{name}` |" in served, name


def test_commands_are_spelled_for_the_release_that_was_looked_at() -> None:
    state = broken(entry(httpTimeout="5s"))
    for each in (*state[f"{APPS}/daemonsets"], *state[f"{APPS}/deployments"]):
        each["metadata"]["labels"]["app.kubernetes.io/instance"] = "net"
    command = "helm upgrade net helm/traffic-footprint -n traffic-footprint --reuse-values --set "
    assert told(one(state, "timeout-long").mend[0]) == f"{command}scheduler.httpTimeout=500ms"
    for each in (*state[f"{APPS}/daemonsets"], *state[f"{APPS}/deployments"]):
        del each["metadata"]["labels"]["app.kubernetes.io/managed-by"]
    assert told(one(state, "timeout-long").mend[0]).endswith(
        "# it was not installed by Helm: change your manifests alike"
    )
