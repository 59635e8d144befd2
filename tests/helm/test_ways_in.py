# SPDX-License-Identifier: Apache-2.0
"""How pods come to the extender: the chart's kube-scheduler, one that exists, routing; and their certificates."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from footprint.keys import PREFIX
from footprint.settings import read
from lab import manifests
from plugin.explain.flags import ExplainSettings
from plugin.listing.flags import NodesSettings
from plugin.shadow.flags import ShadowSettings
from tests.helm.rendering import (
    CHART,
    EVERY_API,
    container,
    helm,
    kinds,
    one,
    pod_spec,
    rendered,
    scenario,
    template,
)

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

WORKLOADS = ("DaemonSet", "Deployment", "Job")


@pytest.mark.parametrize(
    ("cluster", "tag"),
    [
        ("v1.37.2", "v1.37.2"),
        ("v1.33.5-eks-113cf36", "v1.33.5"),
        ("v1.34.1+k3s1", "v1.34.1"),
        ("v1.32.9-gke.1548000", "v1.32.9"),
        ("v1.34.1+rke2r1", "v1.34.1"),
        ("v1.33.4-aliyun.1", "v1.33.4"),
        ("v1.33.2-vke.3", "v1.33.2"),
        # What Kubernetes itself appends is part of its version.
        ("v1.38.0-alpha.1", "v1.38.0-alpha.1"),
        ("v1.38.0-beta.0", "v1.38.0-beta.0"),
        ("v1.38.0-rc.1", "v1.38.0-rc.1"),
        ("v1.38.0-rc.1+k3s1", "v1.38.0-rc.1"),
        ("v1.38.0-beta.2-gke.100", "v1.38.0-beta.2"),
    ],
)
def test_kube_scheduler_has_the_clusters_version(cluster: str, tag: str) -> None:
    deployment = one(rendered(kube_version=cluster), "Deployment", "-scheduler")
    assert container(deployment)["image"] == f"registry.k8s.io/kube-scheduler:{tag}"


def test_a_tag_or_digest_that_is_given_wins_over_the_clusters_version() -> None:
    digest = "sha256:" + "a" * 64
    image = container(one(rendered({"scheduler": {"image": {"tag": "v1.36.0"}}}), "Deployment", "-scheduler"))[
        "image"
    ]
    assert image.endswith(":v1.36.0")
    both = {"scheduler": {"image": {"tag": "v1.36.0", "digest": digest}}}
    assert container(one(rendered(both), "Deployment", "-scheduler"))["image"].endswith(f"kube-scheduler@{digest}")


def test_a_cluster_before_1_30_is_refused() -> None:
    refused = template(kube_version="v1.29.9")
    assert refused.returncode != 0
    assert "1.30.0" in refused.stderr
    assert template(kube_version="v1.30.0").returncode == 0


def test_kube_schedulers_configuration_is_the_recommended_one_over_mutual_tls() -> None:
    objects = rendered()
    config = yaml.safe_load(one(objects, "ConfigMap", "-scheduler")["data"]["config.yaml"])
    shipped = yaml.safe_load((manifests.CHECKOUT / "manifests/scheduler/kube-scheduler-config.yaml").read_text())
    [extender], [recommended] = config["extenders"], shipped["extenders"]
    tls = {"enableHTTPS", "tlsConfig"}
    same = {k: v for k, v in extender.items() if k not in tls}
    assert same == {**recommended, "urlPrefix": "https://tf-traffic-footprint-extender.space.svc:8890"}
    assert extender["enableHTTPS"] is True
    mounts = {
        m["name"]: m["mountPath"] for m in container(one(objects, "Deployment", "-scheduler"))["volumeMounts"]
    }
    assert extender["tlsConfig"].pop("serverName") == "tf-traffic-footprint-extender.space.svc"
    assert {str(Path(p).parent) for p in extender["tlsConfig"].values()} == {mounts["tls"]}
    assert set(extender["tlsConfig"]) == {"certFile", "keyFile", "caFile"}, "without a CA nothing is verified"
    assert config["leaderElection"]["leaderElect"] is True
    assert config["leaderElection"]["resourceName"] == "tf-traffic-footprint-scheduler"
    assert config["leaderElection"]["resourceNamespace"] == "space"
    assert config["profiles"] == [{"schedulerName": "traffic-footprint"}]
    assert config["percentageOfNodesToScore"] == shipped["percentageOfNodesToScore"] == 10


@pytest.mark.parametrize("percentage", [0, 100])
def test_how_many_nodes_kube_scheduler_looks_at_can_be_said(percentage: int) -> None:
    objects = rendered({"scheduler": {"percentageOfNodesToScore": percentage}})
    config = yaml.safe_load(one(objects, "ConfigMap", "-scheduler")["data"]["config.yaml"])
    assert config["percentageOfNodesToScore"] == percentage


def test_a_profile_of_ones_own_is_part_of_the_configuration() -> None:
    objects = rendered(scenario(CHART / "ci" / "strict-values.yaml"))
    config = yaml.safe_load(one(objects, "ConfigMap", "-scheduler")["data"]["config.yaml"])
    [profile] = config["profiles"]
    assert profile["schedulerName"] == "traffic-footprint"
    assert profile["percentageOfNodesToScore"] == 100
    assert profile["pluginConfig"][0]["args"]["scoringStrategy"] == {"type": "MostAllocated"}
    assert config["extenders"][0]["weight"] == 20


def test_kube_scheduler_restarts_for_a_new_configuration() -> None:
    def annotation(weight: int) -> str:
        deployment = one(rendered({"scheduler": {"weight": weight}}), "Deployment", "-scheduler")
        found: str = deployment["spec"]["template"]["metadata"]["annotations"][f"{PREFIX}configuration"]
        return found

    assert annotation(5) == annotation(5)
    assert annotation(5) != annotation(6)


def test_an_existing_scheduler_gets_a_snippet_instead_of_a_scheduler() -> None:
    objects = rendered(scenario(CHART / "ci" / "existing-scheduler-values.yaml"))
    assert [o["metadata"]["name"] for o in objects if o["kind"] == "Deployment"] == [
        "tf-traffic-footprint-extender"
    ]
    snippet = yaml.safe_load(one(objects, "ConfigMap", "-snippet")["data"]["extenders.yaml"])
    [extender] = snippet["extenders"]
    assert extender["ignorable"] is True
    assert extender["urlPrefix"] == "https://10.96.88.90:8890"
    assert extender["tlsConfig"]["serverName"] == "tf-traffic-footprint-extender.space.svc"
    assert one(objects, "Service")["spec"]["clusterIP"] == "10.96.88.90"
    [rule, _] = one(objects, "NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"ipBlock": {"cidr": "10.0.0.0/24"}}]


def test_agents_alone_bring_nothing_of_the_extender() -> None:
    objects = rendered(scenario(CHART / "ci" / "agents-only-values.yaml"))
    assert not {"Deployment", "Service", "Secret", "PodDisruptionBudget"} & kinds(objects)
    assert not [o for o in objects if "-extender" in o["metadata"]["name"]]
    assert "DaemonSet" in kinds(objects)


def test_what_the_cluster_does_not_serve_is_refused_with_the_remedy() -> None:
    for values, remedy in (
        ({"certificates": {"mode": "certManager"}}, "no API cert-manager.io/v1); install it, or use selfSigned"),
        ({"monitoring": {"podMonitor": {"enabled": True}}}, "no API monitoring.coreos.com/v1); install it"),
        ({"routing": {"namespaceLabel": {"enabled": True}}}, "put schedulerName into pod templates instead"),
    ):
        refused = template(values)
        assert refused.returncode != 0
        assert remedy in refused.stderr


@pytest.mark.parametrize(
    ("release", "namespace", "placement"),
    [("traffic-footprint", "traffic-footprint", "prefer"), ("tf", "space", "strict")],
)
def test_the_notes_name_the_plugins_commands_with_what_this_release_needs(
    release: str, namespace: str, placement: str
) -> None:
    values = {"extender": {"settings": {"shadow": True, "placement": placement}}}
    shown = helm(
        "install", release, str(CHART), "--namespace", namespace, "--dry-run=client", values=values
    ).stdout
    lines = [line.split() for line in shown.rpartition("NOTES:")[2].splitlines()]
    flags = {line[2]: line[3:] for line in lines if line[:2] == ["kubectl", "footprint"]}
    nodes, explain = read(NodesSettings, flags["nodes"]), read(ExplainSettings, flags["explain"])
    shadow = read(ShadowSettings, flags["shadow"])
    assert nodes.lease_namespace == explain.lease_namespace == namespace
    assert explain.placement == placement
    service = one(rendered(values, release=release, namespace=namespace), "Service")
    assert shadow.release_namespace == service["metadata"]["namespace"]
    name, _, port = shadow.service.partition(":")
    assert name == service["metadata"]["name"]
    assert port in {each["name"] for each in service["spec"]["ports"]}


def test_a_monitor_of_agents_that_serve_nothing_is_refused() -> None:
    values = {"monitoring": {"podMonitor": {"enabled": True}}, "nodeagent": {"settings": {"metricsPort": 0}}}
    refused = template(values, *EVERY_API)
    assert refused.returncode != 0
    assert "monitoring.podMonitor.enabled needs nodeagent.settings.metricsPort" in refused.stderr


def test_routing_gives_pods_of_labelled_namespaces_the_charts_scheduler() -> None:
    objects = rendered(
        {"routing": {"namespaceLabel": {"enabled": True}}, "scheduler": {"schedulerName": "by-traffic"}},
        *EVERY_API,
    )
    policy = one(objects, "MutatingAdmissionPolicy")["spec"]
    assert policy["failurePolicy"] == "Ignore"
    assert policy["matchConstraints"]["namespaceSelector"] == {"matchLabels": {f"{PREFIX}scheduling": "enabled"}}
    [mutation] = policy["mutations"]
    assert mutation["applyConfiguration"]["expression"] == "Object{spec: Object.spec{schedulerName: 'by-traffic'}}"
    assert one(objects, "MutatingAdmissionPolicyBinding")["spec"]["policyName"].endswith("-routing")


def test_cert_manager_makes_both_certificates_for_the_names_in_use() -> None:
    objects = rendered({"certificates": {"mode": "certManager", "extraNames": ["a.b"]}}, *EVERY_API)
    server = one(objects, "Certificate", "-extender-tls")["spec"]
    assert server["dnsNames"][0] == "tf-traffic-footprint-extender.space.svc"
    assert server["dnsNames"][-1] == "a.b"
    assert server["usages"] == ["server auth", "digital signature"]
    client = one(objects, "Certificate", "-scheduler-tls")["spec"]
    assert client["usages"] == ["client auth", "digital signature"]
    assert "Secret" not in kinds(objects)
    used = [v["secret"]["secretName"] for o in objects if o["kind"] == "Deployment"
            for v in pod_spec(o)["volumes"] if "secret" in v]  # fmt: skip
    assert sorted(used) == sorted([server["secretName"], client["secretName"]])
    given = rendered(scenario(CHART / "ci" / "cert-manager-issuer-values.yaml"), *EVERY_API)
    assert "Issuer" not in kinds(given)
    assert one(given, "Certificate", "-extender-tls")["spec"]["issuerRef"]["name"] == "corporate"


def test_given_certificates_are_mounted_and_none_is_made() -> None:
    objects = rendered(scenario(CHART / "ci" / "given-certificates-values.yaml"))
    assert "Secret" not in kinds(objects)
    [extender] = [v for v in pod_spec(one(objects, "Deployment", "-extender"))["volumes"] if "secret" in v]
    assert extender["secret"]["secretName"] == "my-extender-tls"
