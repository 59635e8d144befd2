"""What the chart renders: for every scenario, and for what each value promises. Needs Helm and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import CliApp

from extender.cleanup import CleanupSettings
from extender.cli import read_settings
from extender.settings import Settings
from footprint.keys import PREFIX
from lab import manifests
from nodeagent.settings import parse as parse_agent_settings
from nodeagent.sources.ctnetlink.kernel import NODE_SYSCTLS
from nodeagent.sources.ebpf import pins
from tests.helm.rendering import (
    CHART,
    EVERY_API,
    KUBE_VERSION,
    SCENARIOS,
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


def scenario_name(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


def test_there_are_scenarios_for_what_the_chart_can_be() -> None:
    assert len(SCENARIOS) >= 8


@pytest.mark.parametrize("path", SCENARIOS, ids=scenario_name)
def test_every_scenario_passes_lint_and_renders_objects_with_unique_names(path: Path) -> None:
    lint = helm("lint", "--strict", str(CHART), "--kube-version", KUBE_VERSION, values=lintable(scenario(path)))
    assert lint.returncode == 0, lint.stdout + lint.stderr
    objects = rendered(scenario(path), *EVERY_API)
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(set(names)) == len(names)
    for workload in (o for o in objects if o["kind"] in WORKLOADS):
        spec = pod_spec(workload)
        assert spec["enableServiceLinks"] is False, "Service variables would be taken for settings"
        assert container(workload)["image"].rpartition("/")[2].count(":") == 1
        assert (
            "limits" not in container(workload)["resources"]
            or "cpu" not in container(workload)["resources"]["limits"]
        )


def extender_settings(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As the program reads its container's arguments and variables."""
    assert given["args"][0] == "run"
    for variable in given["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    return read_settings(given["args"][1:])


def lintable(values: dict[str, Any]) -> dict[str, Any]:
    """``helm lint`` knows no --api-versions, and the chart refuses what the cluster does not serve."""
    without: dict[str, Any] = {key: value for key, value in values.items() if key not in ("monitoring", "routing")}
    if without.get("certificates", {}).get("mode") == "certManager":
        del without["certificates"]
    return without


@pytest.mark.parametrize("path", SCENARIOS, ids=scenario_name)
def test_the_programs_accept_what_the_chart_gives_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = rendered(scenario(path), *EVERY_API)
    arguments = container(one(objects, "DaemonSet"))["args"]
    assert arguments[0] == "run"
    agent = parse_agent_settings([*arguments[1:], "--node-name", "from-the-environment"])
    assert agent.namespace == "space"
    if "Deployment" in kinds(objects):
        extenders = [
            o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"].endswith("-extender")
        ]
        for extender in extenders:
            settings = extender_settings(container(extender), monkeypatch)
            assert settings.namespace == "space"
            assert settings.client_ca is not None, "mutual TLS is not optional"
            assert pod_spec(extender)["terminationGracePeriodSeconds"] >= settings.drain + 10
    if "Job" in kinds(objects):
        arguments = container(one(objects, "Job"))["args"]
        assert arguments[0] == "cleanup"
        assert CliApp.run(CleanupSettings, cli_args=arguments[1:]).namespace == "space"


@pytest.mark.parametrize(("folder", "program"), [("nodeagent", "nodeagent"), ("extender", "extender")])
def test_the_images_entry_point_takes_the_charts_arguments(folder: str, program: str) -> None:
    """Arguments replace a Dockerfile's CMD and follow its ENTRYPOINT."""
    dockerfile = (manifests.CHECKOUT / folder / "Dockerfile").read_text()
    assert re.findall(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[-1] == f'["traffic-footprint-{program}"]'


def test_values_reach_the_program_under_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = {"linkCapacity": 10_000_000_000, "elephantBytes": "20Mi", "uplink": "", "hold": None}
    values = {
        "nodeagent": {"settings": agents},
        "extender": {"settings": {"placement": "strict", "shadow": True, "learn": False, "relaxAfter": 90.5}},
    }
    objects = rendered(values)
    agent = parse_agent_settings([*container(one(objects, "DaemonSet"))["args"][1:], "--node-name", "n"])
    assert (agent.link_capacity, agent.elephant_bytes, agent.uplink, agent.hold) == (1e10, 20 * 2**20, None, 1.0)
    extender = extender_settings(container(one(objects, "Deployment", "-extender")), monkeypatch)
    assert (extender.placement, extender.relax_after) == ("strict", 90.5)
    assert (extender.shadow, extender.learn) == (True, False)


def test_extra_arguments_and_variables_are_passed_as_they_are() -> None:
    values = {"extender": {"extraArgs": ["--deadline=0.2"], "extraEnv": [{"name": "A", "value": "b"}]}}
    given = container(one(rendered(values), "Deployment", "-extender"))
    assert given["args"][-1] == "--deadline=0.2"
    assert given["env"][-1] == {"name": "A", "value": "b"}


def test_the_agent_has_four_capabilities_and_nothing_else_of_the_node() -> None:
    spec = pod_spec(one(rendered(), "DaemonSet"))
    assert spec["hostNetwork"] is True
    assert not spec.get("hostPID")
    assert not spec.get("hostIPC")
    [agent] = spec["containers"]
    context = agent["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["BPF", "PERFMON", "NET_ADMIN", "SYS_ADMIN"]}
    assert (context["privileged"], context["allowPrivilegeEscalation"]) == (False, False)
    assert context["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    paths = {v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    assert paths == {"/sys/fs/bpf", "/proc/sys/net"}
    mounts = {m["mountPath"] for m in agent["volumeMounts"]}
    assert mounts == {str(pins.ROOT.parent), str(NODE_SYSCTLS), "/tmp"}  # noqa: S108 - an emptyDir


def test_without_ebpf_the_agent_needs_one_capability() -> None:
    spec = pod_spec(one(rendered(scenario(CHART / "ci" / "ctnetlink-values.yaml")), "DaemonSet"))
    assert spec["containers"][0]["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert {v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v} == {"/proc/sys/net"}
    assert spec["containers"][0]["startupProbe"]["httpGet"]["host"] == "127.0.0.1"


def test_every_other_pod_passes_the_restricted_pod_security_level() -> None:
    objects = [o for o in rendered() if o["kind"] in ("Deployment", "Job")]
    assert len(objects) == 3
    for workload in objects:
        spec, context = pod_spec(workload), container(workload)["securityContext"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert not any("hostPath" in v for v in spec.get("volumes", []))
        assert not spec.get("hostNetwork")


def test_the_agent_serves_on_its_nodes_address_and_is_probed_there() -> None:
    agent = container(one(rendered(), "DaemonSet"))
    host = next(v for v in agent["env"] if v["name"] == "TRAFFIC_FOOTPRINT_METRICS_HOST")
    assert host["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
    assert "host" not in agent["livenessProbe"]["httpGet"]
    off = container(one(rendered({"nodeagent": {"settings": {"metricsPort": 0}}}), "DaemonSet"))
    assert not {"ports", "livenessProbe", "readinessProbe", "startupProbe"} & set(off)


def test_two_extenders_keep_apart_and_one_stays_when_nodes_are_drained() -> None:
    objects = rendered()
    for name in ("-extender", "-scheduler"):
        deployment, budget = one(objects, "Deployment", name), one(objects, "PodDisruptionBudget", name)
        assert deployment["spec"]["replicas"] == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert budget["spec"]["selector"]["matchLabels"] == selector
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items()
        [apart] = pod_spec(deployment)["affinity"]["podAntiAffinity"][
            "preferredDuringSchedulingIgnoredDuringExecution"
        ]
        assert apart["podAffinityTerm"]["labelSelector"]["matchLabels"] == selector
    [spread] = pod_spec(one(objects, "Deployment", "-extender"))["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"


def test_pods_are_only_replaced_for_what_concerns_them() -> None:
    """A new chart version that changes nothing of a workload must not restart it."""
    for workload in (o for o in rendered() if o["kind"] in ("DaemonSet", "Deployment")):
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert "helm.sh/chart" not in labels
        assert "app.kubernetes.io/version" not in labels


@pytest.mark.parametrize(
    ("cluster", "tag"),
    [
        ("v1.37.2", "v1.37.2"),
        ("v1.33.5-eks-113cf36", "v1.33.5"),
        ("v1.34.1+k3s1", "v1.34.1"),
        ("v1.32.9-gke.1548000", "v1.32.9"),
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


def test_the_hook_runs_after_everything_else_is_gone_with_rights_of_its_own() -> None:
    objects = rendered()
    hooks = [o for o in objects if "helm.sh/hook" in (o["metadata"].get("annotations") or {})]
    assert {o["kind"] for o in hooks} == {
        "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Job"
    }  # fmt: skip
    for hook in hooks:
        assert hook["metadata"]["annotations"]["helm.sh/hook"] == "post-delete"
        assert "hook-succeeded" in hook["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    weights = {o["kind"]: int(o["metadata"]["annotations"]["helm.sh/hook-weight"]) for o in hooks}
    assert weights["Job"] > weights["RoleBinding"] > weights["Role"]
    [selector] = [a for a in container(one(hooks, "Job"))["args"] if a.startswith("--wait-for=")]
    assert "app.kubernetes.io/instance=tf" in selector


def test_a_label_of_the_users_is_on_every_object_and_pod() -> None:
    for each in rendered({"commonLabels": {"team": "network"}}):
        assert each["metadata"]["labels"]["team"] == "network", each["kind"]
        if each["kind"] in WORKLOADS:
            assert each["spec"]["template"]["metadata"]["labels"]["team"] == "network"


def test_two_releases_share_no_name() -> None:
    def names(release: str) -> set[tuple[str, str]]:
        objects = rendered(release=release)
        shared = {"CustomResourceDefinition", "Lease"}  # one definition for all; a Lease that each namespace has
        return {(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] not in shared}

    assert not names("one") & names("two")


def test_the_resource_definition_outlives_the_release_unless_told_otherwise() -> None:
    kept = one(rendered(), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    gone = one(rendered({"crd": {"keep": False}}), "CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in (gone["metadata"].get("annotations") or {})


def test_the_policy_speaks_of_this_releases_account_and_the_programs_own_name() -> None:
    policy = one(rendered(release="other", namespace="elsewhere"), "ValidatingAdmissionPolicy")["spec"]
    [condition] = policy["matchConditions"]
    assert "endsWith(':other-traffic-footprint-nodeagent')" in condition["expression"]
    [events] = [v["expression"] for v in policy["validations"] if "reportingController" in v["expression"]]
    assert "reportingController.orValue('') == 'traffic-footprint-nodeagent'" in events
    assert "ValidatingAdmissionPolicy" not in kinds(rendered({"policy": {"enabled": False}}))
