# SPDX-License-Identifier: Apache-2.0
"""The chart on a real API server, by the real Helm: installed, used, upgraded, rolled back, removed.

The tests are one story and run in the order they are written in. No container engine is here: the pods that the
chart's controllers make are admitted and bound, and those that matter run as ``tests.cluster.support.containers``
does it.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from extender.cleanup import ANNOTATIONS
from extender.settings import PROGRAM
from footprint.keys import NODE_FOOTPRINT, PREFIX, lease_name
from lab import manifests
from lab.config import LabConfig
from lab.controlplane import build, pins
from lab.controlplane.plane import answers
from lab.errors import LabError
from lab.manifests import render
from lab.network.addresses import node_v4
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.identities import permissions, refused, used
from tests.cluster.support.releases import (
    HELMS_OWN,
    INSTANCE,
    NAME,
    OF_A_RELEASE,
    VALUES,
    Release,
    asked,
    certify,
    container_of,
    content,
    expire,
    finish,
    key,
    leases,
    merged,
    ours_on,
    run_the_hook,
    status_of,
)
from tests.cluster.support.replicas import FAILED_CALLS
from tests.cluster.support.workloads import eventually, get, metrics, pod
from tests.helm.rendering import EVERY_API, SCENARIOS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]

CLUSTER_WIDE: Final = (
    "clusterroles", "clusterrolebindings", "validatingadmissionpolicies", "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies", "mutatingadmissionpolicybindings",
)  # fmt: skip


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """A bare cluster of two nodes with the chart installed, and nothing of the lab's own installation."""
    config = LabConfig(nodes=2, agents=False, extender=False, audit=True, keep_dir=logs_of("test_install"))
    for lab in running(config):
        lab.kubectl("delete", "-k", str(manifests.BASE), "--wait", "--timeout=120s")
        made = Release(lab, tmp_path_factory.mktemp("install"), {})
        done = made.helm("install", NAME, str(manifests.CHART), "--create-namespace", values=VALUES)
        assert done.returncode == 0, done.stderr
        assert f"rollout status daemonset/{NAME}-nodeagent" in done.stdout, "the notes name the next command"
        try:
            yield made
        finally:
            for name in list(made.containers):
                made.stop(name)


def test_every_object_is_accepted_and_every_pod_admitted_and_bound(release: Release) -> None:
    shown = release.helm("get", "manifest", NAME).stdout
    objects = [value for value in yaml.safe_load_all(shown) if value]
    assert len(objects) > 25
    for each in objects:
        space = ["-n", each["metadata"]["namespace"]] if "namespace" in each["metadata"] else []
        group = each["apiVersion"].rpartition("/")[0]
        kind = f"{each['kind']}.{group}" if group else each["kind"]
        assert get(release.lab, kind, each["metadata"]["name"], *space)["metadata"]["uid"]
    for component in ("nodeagent", "extender", "scheduler"):
        eventually(f"two bound pods of {component}", lambda c=component: len(release.pods(c)) == 2)  # type: ignore[misc]
    assert {p["spec"]["nodeName"] for p in release.pods("nodeagent")} == {"node1", "node2"}


def test_the_agents_measure_and_write_with_their_pods_rights(release: Release) -> None:
    def addressed() -> bool:
        return all(p.get("status", {}).get("hostIP") for p in release.pods("nodeagent"))

    eventually("pods know their nodes' addresses", addressed)
    for each in release.pods("nodeagent"):
        release.run(each, each["spec"]["nodeName"])
    for node in ("node1", "node2"):
        eventually(f"{node} is annotated", lambda n=node: ours_on(release.lab, n), 60)  # type: ignore[misc]
        eventually(f"{node} has a Lease", lambda n=node: lease_name(n) in leases(release.lab))  # type: ignore[misc]
        assert set(ours_on(release.lab, node)) == set(ANNOTATIONS)
    agent = container_of(release, "nodeagent")
    assert "CapEff:\t0000000000201000" in Path(f"/proc/{agent.pid}/status").read_text(), "its two capabilities"
    root = next(line for line in Path(f"/proc/{agent.pid}/mounts").read_text().splitlines() if " / " in line)
    assert root.split()[3].startswith("ro,"), "the stand-in's root is read-only, as the chart asks"
    assert metrics(f"http://{node_v4(1)}:9101/metrics")["traffic_footprint_agent_node_writes_total"] >= 1


def test_the_charts_scheduler_asks_the_charts_extender_over_mutual_tls_and_places_a_pod(release: Release) -> None:
    lab = release.lab
    extender = release.run(release.pods("extender")[0], "node1")
    extender.wait_ready(answers(f"http://{node_v4(1)}:8891/readyz", None), 60)
    scheduler = release.run(release.pods("scheduler")[0], "node2")
    eventually("its election is won", lambda: f"{NAME}-scheduler" in leases(lab), 60)
    wanted = pod("placed", ["sleep", "600"])
    wanted["spec"]["schedulerName"] = NAME
    lab.kubectl("apply", "-f", "-", input=json.dumps(wanted))
    node = eventually("the pod is placed", lambda: get(lab, "pod", "placed")["spec"].get("nodeName"), 60)
    assert node in ("node1", "node2")
    assert asked("filter") >= 1
    assert asked("prioritize") >= 1
    selector = "--field-selector=involvedObject.name=placed,reason=Scheduled"
    [event] = eventually("kube-scheduler says so", lambda: get(lab, "events", selector)["items"])  # after the bind
    assert (event.get("reportingComponent") or event["source"]["component"]) == NAME
    assert scheduler.running
    assert "forbidden" not in lab.logs(scheduler.name).read_text(), "kube-scheduler lacks a right"


def test_when_the_leading_scheduler_ends_another_places_the_next_pod(release: Release) -> None:
    lab = release.lab
    first = next(name for name in release.containers if "-scheduler-" in name)
    other = next(p for p in release.pods("scheduler") if p["metadata"]["name"] != first)
    second = release.run(other, "node1")
    second.wait_ready(answers(f"https://{node_v4(1)}:10259/healthz", None), 60)
    assert release.stop(first) == 0
    wanted = pod("placed-by-the-second", ["sleep", "600"])
    wanted["spec"]["schedulerName"] = NAME
    lab.kubectl("apply", "-f", "-", input=json.dumps(wanted))
    eventually("placed", lambda: get(lab, "pod", "placed-by-the-second")["spec"].get("nodeName"), 90)


def test_every_verb_of_the_schedulers_own_role_is_used_by_it(release: Release) -> None:
    """What else it may do is the cluster's own role for kube-schedulers."""
    account = f"{NAME}-scheduler"
    own = permissions(release.get("role", "-scheduler")["rules"])
    assert own == {(verb, "coordination.k8s.io", "leases") for verb in ("create", "get", "update")}
    eventually("all are used", lambda: own <= used(release.lab, account, "kube-scheduler/"), 60)
    asked_of_leases = {p for p in used(release.lab, account, "kube-scheduler/") if p[2] == "leases"}
    assert asked_of_leases == own
    assert refused(release.lab, account, "") == []


def test_only_the_releases_own_scheduler_is_answered(release: Release) -> None:
    """Who brings a certificate of another CA, as everybody can make one, is not; nor who brings none."""
    mine = release.secret("-scheduler-tls")
    known, nobody, stranger = (ssl.create_default_context(cadata=mine["ca.crt"]) for _ in range(3))
    certify(known, mine, release.home / "mine.pem")
    made = release.helm("template", NAME, str(manifests.CHART), "--show-only", "templates/certificates.yaml")
    others = {s["metadata"]["name"]: s["data"] for s in yaml.safe_load_all(made.stdout) if s}
    theirs = {k: base64.b64decode(v).decode() for k, v in others[f"{NAME}-scheduler-tls"].items()}
    certify(stranger, theirs, release.home / "theirs.pem")
    assert status_of(known) == 200
    before = asked("filter")
    for context in (nobody, stranger):
        assert status_of(context) == 0
    assert asked("filter") == before


def test_the_snippet_adds_the_extender_to_a_scheduler_that_exists(release: Release) -> None:
    """The lab's own kube-scheduler, which knows no cluster DNS, is given what the chart would print for it."""
    lab, files = release.lab, release.home / "hosts"
    values = merged(VALUES, {"scheduler": {"enabled": False}})
    shown = release.helm(
        "template", NAME, str(manifests.CHART), "--show-only", "templates/existing-scheduler.yaml", values=values
    )
    snippet = yaml.safe_load(yaml.safe_load(shown.stdout)["data"]["extenders.yaml"])
    [extender] = snippet["extenders"]
    files.mkdir()
    for name in ("tls.crt", "tls.key", "ca.crt"):  # as docs/how-to/use-an-existing-kube-scheduler.md says
        template = f'go-template={{{{index .data "{name}" | base64decode}}}}'
        text = lab.kubectl("-n", NAME, "get", "secret", f"{NAME}-scheduler-tls", "-o", template)
        (files / name).write_text(text)
    tls = {k: v.replace("/etc/kubernetes/traffic-footprint", str(files)) for k, v in extender["tlsConfig"].items()}
    before = asked("filter")
    lab.start_scheduler(
        extender=True, changes={**extender, "tlsConfig": tls, "urlPrefix": f"https://{node_v4(1)}:8890"}
    )
    lab.kubectl("apply", "-f", "-", input=json.dumps(pod("by-default", ["sleep", "600"])))
    eventually("the pod is placed", lambda: get(lab, "pod", "by-default")["spec"].get("nodeName"), 60)
    assert asked("filter") > before
    lab.start_scheduler(extender=False)


def test_an_upgrade_changes_what_it_says_and_keeps_the_certificates(release: Release) -> None:
    before = {s: release.secret(s) for s in ("-ca", "-extender-tls", "-scheduler-tls")}
    scheduler = release.template_of("deployment", "-scheduler")
    agents = release.template_of("daemonset", "-nodeagent")
    release.upgrade({"extender": {"settings": {"placement": "score"}}})
    [container] = release.template_of("deployment", "-extender")["spec"]["containers"]
    assert "--placement=score" in container["args"]
    assert {s: release.secret(s) for s in before} == before
    assert release.template_of("deployment", "-scheduler") == scheduler, "kube-scheduler is not restarted for it"
    assert release.template_of("daemonset", "-nodeagent") == agents


def test_a_rollback_brings_the_values_back_and_keeps_the_certificates(release: Release) -> None:
    before = release.secret("-extender-tls")
    done = release.helm("rollback", NAME, "1")
    assert done.returncode == 0, done.stderr
    [container] = release.template_of("deployment", "-extender")["spec"]["containers"]
    assert "--placement=prefer" in container["args"]
    assert release.secret("-extender-tls") == before


def test_an_upgrade_renews_a_certificate_that_ends_soon_and_nothing_else(release: Release) -> None:
    authority, server, client = (release.secret(s) for s in ("-ca", "-extender-tls", "-scheduler-tls"))
    scheduler = release.template_of("deployment", "-scheduler")
    expire(release, "-extender-tls", 181)
    release.upgrade()
    assert release.secret("-extender-tls") == server, "longer than renewBeforeDays"
    expire(release, "-extender-tls", 179)
    release.upgrade()
    renewed = release.secret("-extender-tls")
    assert renewed["tls.crt"] != server["tls.crt"]
    assert renewed["ca.crt"] == server["ca.crt"]
    assert (release.secret("-ca"), release.secret("-scheduler-tls")) == (authority, client)
    assert release.template_of("deployment", "-scheduler") == scheduler
    release.upgrade()
    assert release.secret("-extender-tls") == renewed


def test_another_name_makes_another_certificate(release: Release) -> None:
    before, client = release.secret("-extender-tls"), release.secret("-scheduler-tls")
    release.upgrade({"certificates": {"extraNames": ["extender.example.internal"]}})
    assert release.secret("-extender-tls")["tls.crt"] != before["tls.crt"]
    assert release.secret("-ca")["tls.crt"] in client["ca.crt"]


def test_a_ca_is_replaced_in_two_upgrades_of_which_the_first_only_adds_trust(release: Release) -> None:
    def annotations() -> dict[str, str]:
        found: dict[str, str] = release.template_of("deployment", "-scheduler")["metadata"]["annotations"]
        return found

    old, leaf, before = release.secret("-ca"), release.secret("-extender-tls")["tls.crt"], annotations()
    expire(release, "-ca", 300)
    release.upgrade()
    first = release.secret("-ca")
    assert first["tls.crt"] == old["tls.crt"]
    for side in ("-extender-tls", "-scheduler-tls"):
        assert release.secret(side)["ca.crt"] == old["tls.crt"] + first["next.crt"], side
    between = annotations()
    assert between[f"{PREFIX}trust"] != before[f"{PREFIX}trust"]
    assert between[f"{PREFIX}configuration"] == before[f"{PREFIX}configuration"]
    release.upgrade()
    assert release.secret("-ca") == first, "not within the hour"
    since = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    release.lab.kubectl(
        "-n", NAME, "annotate", "--overwrite", "secret", f"{NAME}-ca", f"{PREFIX}next-since={since}"
    )
    release.upgrade()
    second = release.secret("-ca")
    assert (second["tls.crt"], second["previous.crt"]) == (first["next.crt"], old["tls.crt"])
    assert "next.key" not in second
    assert release.secret("-extender-tls")["tls.crt"] != leaf
    for side in ("-extender-tls", "-scheduler-tls"):
        assert release.secret(side)["ca.crt"] == second["tls.crt"] + old["tls.crt"], side
    assert annotations() == between, "kube-scheduler trusts it already"


def test_pods_of_a_labelled_namespace_ask_for_the_charts_scheduler(release: Release) -> None:
    lab = release.lab
    release.upgrade({"routing": {"namespaceLabel": {"enabled": True}}})
    lab.create_namespace("routed")
    lab.kubectl("label", "namespace", "routed", f"{PREFIX}scheduling=enabled")

    def asks_for(name: str, namespace: str, **spec: Any) -> str:
        """The scheduler that a pod asks for after admission; nothing is stored."""
        wanted = pod(name, ["sleep", "1"])
        owners = spec.pop("owners", None)
        wanted["spec"] |= spec
        if owners:
            wanted["metadata"]["ownerReferences"] = owners
        answer = lab.kubectl(
            "create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-", input=json.dumps(wanted)
        )
        found: str = json.loads(answer)["spec"]["schedulerName"]
        return found

    eventually("the policy acts", lambda: asks_for("a", "routed") == NAME)
    assert asks_for("a", "default") == "default-scheduler"
    assert asks_for("a", "routed", schedulerName="mine") == "mine"
    daemon = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "1", "controller": True}
    assert asks_for("a", "routed", owners=[daemon]) == "default-scheduler"
    assert asks_for("a", "routed", nodeName="node1") == "default-scheduler"


def test_the_pods_pass_the_pod_security_levels_that_are_stated(release: Release) -> None:
    lab = release.lab
    for level in ("restricted", "privileged"):
        lab.create_namespace(level)
        lab.kubectl("label", "namespace", level, f"pod-security.kubernetes.io/enforce={level}")

    def admitted(kind: str, suffix: str, level: str) -> str:
        template = release.template_of(kind, suffix)
        template["spec"].pop("serviceAccountName")
        template["spec"].pop("serviceAccount", None)
        wanted = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": template["spec"]}
        try:
            lab.kubectl("create", "-n", level, "--dry-run=server", "-f", "-", input=json.dumps(wanted))
        except LabError as error:
            return str(error)
        return ""

    assert admitted("deployment", "-extender", "restricted") == ""
    assert admitted("deployment", "-scheduler", "restricted") == ""
    assert admitted("daemonset", "-nodeagent", "privileged") == ""
    assert "violates PodSecurity" in admitted("daemonset", "-nodeagent", "restricted")


def test_uninstalling_leaves_nothing_behind(release: Release) -> None:
    lab = release.lab
    assert all(NODE_FOOTPRINT in ours_on(lab, node) for node in ("node1", "node2"))
    hooks = by_key(release.helm("get", "hooks", NAME).stdout)
    account = f"{NAME}-cleanup"
    granted = {p for kind in ("ClusterRole", "Role") for p in permissions(hooks[(kind, account)]["rules"])}
    over, seen = threading.Event(), list[int]()
    runtime = threading.Thread(target=run_the_hook, args=(release, over, seen))
    runtime.start()
    try:
        done = release.helm("uninstall", NAME, "--timeout", "5m")
    finally:
        over.set()
        runtime.join(300)
    assert done.returncode == 0, done.stderr
    assert seen == [0], "the hook's program ran once and ended well"
    assert used(lab, account, PROGRAM) == granted, "every verb of the hook's roles is used by it"
    assert refused(lab, account, "") == []
    assert [ours_on(lab, node) for node in ("node1", "node2")] == [{}, {}]
    assert leases(lab) == []

    def left() -> set[tuple[str, str]]:
        kinds = "all,secrets,configmaps,serviceaccounts,roles,rolebindings,pdb"
        return {key(each) for each in get(lab, kinds, "-n", NAME)["items"]}

    # The hook's Job is deleted with its pod left to the garbage collector.
    namespaces_own = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}
    with suppress(AssertionError):  # what is left says more
        eventually("nothing is left", lambda: left() == namespaces_own, 60)
    assert left() == namespaces_own
    for kind in CLUSTER_WIDE:
        assert get(lab, kind, "-l", INSTANCE)["items"] == [], kind
    assert get(lab, "rolebindings", "-n", "kube-system", "-l", INSTANCE)["items"] == []
    assert get(lab, "crd", "trafficfootprints.traffic-footprint.io")["metadata"]["name"], (
        "kept, with what was learned"
    )


OVERLAYS: Final = {
    "own-scheduler": {},
    "existing-scheduler": {"scheduler": {"enabled": False}},
    "no-extender": {"scheduler": {"enabled": False}, "extender": {"enabled": False}},
}


def by_key(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The objects of a text of YAML documents."""
    return {key(each): each for each in yaml.safe_load_all(text) if each}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_the_chart_and_is_accepted(release: Release, overlay: str) -> None:
    """Object for object, labels and all; except for Secrets, hooks, and what only Helm needs."""
    folder = str(manifests.CHECKOUT / "manifests" / "overlays" / overlay)
    built = by_key(release.lab.kubectl("kustomize", folder))
    base = by_key(release.lab.kubectl("kustomize", str(manifests.BASE)))
    assert built.pop(("Namespace", NAME))
    secrets = {"serverSecret": f"{NAME}-extender-tls", "clientSecret": f"{NAME}-scheduler-tls"}
    given = {"certificates": {"mode": "existing", "existing": secrets}, **OVERLAYS[overlay]}
    done = release.helm(
        "template", NAME, str(manifests.CHART), "--kube-version", "v1.37.2", "--no-hooks", values=given
    )
    assert done.returncode == 0, done.stderr
    charts = by_key(done.stdout)
    assert set(built) == set(charts)
    for name, each in charts.items():
        only_there = HELMS_OWN | (OF_A_RELEASE if name in base else set())
        assert content(built[name]) == content(each, only_there), name
    with suppress(LabError):  # a dry run does not make the namespace that the rest is in
        release.lab.kubectl("create", "namespace", NAME)
    dry = ["apply", "-k", folder, "--server-side", "--force-conflicts", "--dry-run=server"]
    said = release.lab.kubectl(*dry)
    assert said.count("serverside-applied") == len(built) + 1


def test_an_overlay_installs_and_its_cleanup_runs_where_helm_is_not(release: Release) -> None:
    lab = release.lab
    lab.kubectl(
        "apply",
        "-k",
        str(manifests.CHECKOUT / "manifests/overlays/no-extender"),
        "--server-side",
        "--force-conflicts",
    )
    eventually("two agents are bound", lambda: len(release.pods("nodeagent")) == 2)
    lab.kubectl("annotate", "node", "node1", f"{NODE_FOOTPRINT}=left", "somebody-elses=kept")
    lab.kubectl("delete", "daemonset", f"{NAME}-nodeagent", "-n", NAME, "--wait")
    folder = str(manifests.CHECKOUT / "manifests/cleanup")
    lab.kubectl("apply", "-k", folder)
    [made] = eventually("the job's pod is bound", lambda: release.pods("cleanup"))
    status = release.run(made, "cp").wait(240)
    finish(lab, made, status)
    lab.kubectl("-n", NAME, "wait", "--for=condition=complete", f"job/{NAME}-cleanup", "--timeout=60s")
    lab.kubectl("delete", "-k", folder)
    assert get(lab, "node", "node1")["metadata"]["annotations"].get("somebody-elses") == "kept"
    assert ours_on(lab, "node1") == {}


STUBS: Final = {
    "monitoring.coreos.com": ("ServiceMonitor", "PodMonitor", "PrometheusRule"),
    "cert-manager.io": ("Certificate", "Issuer", "ClusterIssuer"),
    "security.openshift.io": ("SecurityContextConstraints",),
}
"""Kinds of other projects that the chart can make: known to the server by name alone, whatever is in them."""


def stub(group: str, kind: str) -> dict[str, Any]:
    """A definition of a kind that takes everything."""
    plural = kind.lower() if kind.endswith("s") else f"{kind.lower()}s"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    scope = "Cluster" if kind in ("ClusterIssuer", "SecurityContextConstraints") else "Namespaced"
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [version]},
    }  # fmt: skip


@pytest.fixture(scope="module")
def everything(release: Release) -> Release:
    """A cluster that knows every kind the chart can make, and a namespace for what is only tried."""
    definitions = [stub(group, kind) for group, kinds in STUBS.items() for kind in kinds]
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions})
    release.lab.kubectl("apply", "-f", "-", input=listing)
    names = [f"crd/{each['metadata']['name']}" for each in definitions]
    release.lab.kubectl("wait", "--for=condition=Established", *names, "--timeout=60s")
    release.lab.kubectl("create", "namespace", "scenarios")
    return release


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_every_scenario_of_the_chart_is_accepted_by_the_server(everything: Release, scenario: Path) -> None:
    """Hooks too, and field by field: the server refuses what it does not know."""
    lab = everything.lab
    made = render("--values", str(scenario), *EVERY_API, release="tried", namespace="scenarios")
    objects = [value for value in yaml.safe_load_all(made) if value]
    dry = ["apply", "-f", "-", "--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server"]
    said = lab.kubectl(*dry, input=made)
    assert said.count("serverside-applied (server dry run)") == len(objects) > 10
    assert get(lab, "all,secrets,leases", "-n", "scenarios")["items"] == [], "nothing was kept"


def test_a_kube_scheduler_starts_with_the_strict_scenarios_configuration_and_places_a_pod(
    everything: Release,
) -> None:
    """Its extender's name leads nowhere here, which is no reason not to place pods."""
    lab, home = everything.lab, everything.home / "strict"
    scenario = next(path for path in SCENARIOS if path.name == "strict-values.yaml")
    objects = by_key(render("--values", str(scenario), release="tried", namespace="scenarios"))
    home.mkdir()
    for name, text in objects[("Secret", "tried-traffic-footprint-scheduler-tls")]["data"].items():
        (home / name).write_bytes(base64.b64decode(text))
    text = objects[("ConfigMap", "tried-traffic-footprint-scheduler")]["data"]["config.yaml"]
    config = yaml.safe_load(text.replace("/etc/traffic-footprint/tls", str(home)))
    [profile], [extender] = config["profiles"], config["extenders"]
    assert (profile["pluginConfig"][0]["args"]["scoringStrategy"]["type"], extender["weight"]) == (
        "MostAllocated",
        20,
    )
    config["clientConnection"]["kubeconfig"] = str(lab.kubeconfig)
    (home / "config.yaml").write_text(json.dumps(config))
    program = str(build.ensure()[pins.KUBE_SCHEDULER].path)
    argv = [
        program,
        f"--config={home / 'config.yaml'}",
        "--secure-port=10359",
        "--bind-address=127.0.0.1",
        "--v=2",
    ]
    process = lab.spawn_in("cp", argv, name="kube-scheduler-strict")
    try:
        wanted = pod("by-the-strict-one", ["sleep", "600"])
        wanted["spec"]["schedulerName"] = profile["schedulerName"]
        lab.kubectl("apply", "-f", "-", input=json.dumps(wanted))
        eventually("placed", lambda: get(lab, "pod", "by-the-strict-one")["spec"].get("nodeName"), 60)
        assert FAILED_CALLS[0] in process.log.read_text(), "it did ask"
    finally:
        lab.kubectl("delete", "pod", "by-the-strict-one", "--ignore-not-found")
        process.stop()
