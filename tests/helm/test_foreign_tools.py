# SPDX-License-Identifier: Apache-2.0
"""What others' tools and clusters need of the chart: Argo CD, Kustomize, Flux, Fargate, SELinux, OpenShift."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from footprint.keys import LEARNER_LEASE, REBALANCER_LEASE
from tests.helm.rendering import (
    CHART,
    EVERY_API,
    SCENARIOS,
    Object,
    OneOfEach,
    container,
    kinds,
    one,
    pod_spec,
    rendered,
    scenario,
)

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

WORKLOADS = ("DaemonSet", "Deployment", "Job")
RESERVED = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component")


# Argo CD leaves out a chart's Leases, so that nothing may depend on one.


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_no_lease_is_in_the_chart_and_whoever_needs_one_may_make_it(path: Any) -> None:
    objects = rendered(scenario(path), *EVERY_API)
    assert "Lease" not in kinds(objects)
    makers = {o["metadata"]["name"] for o in objects if o["kind"] == "Role" and grants(o, "leases", "create")}
    wanted = {f"-{part}" for part in ("nodeagent", "extender", "scheduler") if part in workloads(objects)}
    assert {name[name.rindex("-") :] for name in makers} == wanted


def workloads(objects: list[Object]) -> set[str]:
    """Components that run."""
    return {o["metadata"]["name"].rpartition("-")[2] for o in objects if o["kind"] in ("DaemonSet", "Deployment")}


def grants(role: Object, resource: str, verb: str) -> bool:
    return any(resource in rule["resources"] and verb in rule["verbs"] for rule in role["rules"])


def test_the_policy_narrows_the_right_to_create_leases_to_two_names() -> None:
    policy = one(rendered(), "ValidatingAdmissionPolicy", "-extender")
    [leases] = [r for r in policy["spec"]["matchConstraints"]["resourceRules"] if r["resources"] == ["leases"]]
    assert leases["operations"] == ["CREATE"]
    expressions = [validation["expression"] for validation in policy["spec"]["validations"]]
    names = f"object.metadata.name in ['{LEARNER_LEASE}', '{REBALANCER_LEASE}']"
    assert any(names in expression for expression in expressions)


def test_the_lease_that_the_program_makes_goes_with_the_release() -> None:
    arguments = container(one(rendered(), "Job"))["args"]
    assert f"--lease={LEARNER_LEASE}" in arguments


# A label given twice: Kustomize and Flux refuse a file with it, and selectors must hold.


def test_the_tests_loader_refuses_a_key_that_is_given_twice() -> None:
    with pytest.raises(yaml.YAMLError, match="given twice: \\['a'\\]"):
        yaml.load("b: {a: 1, a: 2}", Loader=OneOfEach)  # noqa: S506 - a SafeLoader


def test_labels_that_repeat_the_charts_are_merged_and_the_nearer_ones_win() -> None:
    objects = rendered(scenario(CHART / "ci" / "labels-values.yaml"), *EVERY_API)
    agents, deployed = one(objects, "DaemonSet"), one(objects, "Deployment", "-extender")
    assert agents["metadata"]["labels"]["app.kubernetes.io/part-of"] == "platform"
    assert pod_labels(agents)["app.kubernetes.io/part-of"] == "measuring"
    assert (pod_labels(agents)["team"], pod_labels(deployed)["team"]) == ("nodes", "network")
    monitor = one(objects, "ServiceMonitor")
    assert monitor["metadata"]["labels"]["app.kubernetes.io/part-of"] == "monitoring"
    for each in objects:
        if each["kind"] in WORKLOADS and "selector" in each["spec"]:
            wanted = each["spec"]["selector"]["matchLabels"]
            assert set(wanted) == set(RESERVED)
            assert wanted.items() <= pod_labels(each).items()


def pod_labels(workload: Object) -> dict[str, str]:
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def test_annotations_that_repeat_the_charts_do_not_hide_a_change_of_its_own() -> None:
    objects = rendered(scenario(CHART / "ci" / "labels-values.yaml"), *EVERY_API)
    template = one(objects, "Deployment", "-scheduler")["spec"]["template"]
    assert template["metadata"]["annotations"]["traffic-footprint.io/trust"] != "none"


# Nodes that run no agent.

FARGATE = {"eks.amazonaws.com/compute-type": "fargate", "kubernetes.io/os": "linux"}
VIRTUAL = {"type": "virtual-kubelet", "kubernetes.io/os": "linux", "kubernetes.io/role": "agent"}
EC2 = {"eks.amazonaws.com/compute-type": "ec2", "kubernetes.io/os": "linux"}
PLAIN = {"kubernetes.io/os": "linux"}
WINDOWS = {"kubernetes.io/os": "windows"}


def admits(spec: Object, labels: dict[str, str]) -> bool:
    """Whether a node with ``labels`` is one for the pod: selector and required node affinity."""
    if not spec.get("nodeSelector", {}).items() <= labels.items():
        return False
    required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    return any(
        all(matches(expression, labels) for expression in term["matchExpressions"])
        for term in required["nodeSelectorTerms"]
    )


def matches(expression: Object, labels: dict[str, str]) -> bool:
    within = labels.get(expression["key"]) in expression["values"]
    return {"In": within, "NotIn": not within}[expression["operator"]]


@pytest.mark.parametrize("kind", ["DaemonSet", "Job"])
@pytest.mark.parametrize(
    ("labels", "admitted"),
    [(PLAIN, True), (EC2, True), (FARGATE, False), (VIRTUAL, False), (WINDOWS, False)],
    ids=["plain", "ec2", "fargate", "virtual-kubelet", "windows"],
)
def test_pods_that_tolerate_every_taint_stay_off_nodes_that_cannot_run_them(
    kind: str, labels: dict[str, str], admitted: bool
) -> None:
    spec = pod_spec(one(rendered(), kind))
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert admits(spec, labels) is admitted


def test_an_affinity_between_pods_leaves_the_charts_node_affinity_and_one_of_nodes_replaces_it() -> None:
    apart: Object = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    spec = pod_spec(one(rendered({"nodeagent": {"affinity": apart}}), "DaemonSet"))
    assert spec["affinity"].keys() == {"podAntiAffinity", "nodeAffinity"}
    assert not admits(spec, FARGATE)
    terms = [{"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}]
    own = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    spec = pod_spec(one(rendered({"nodeagent": {"affinity": own}}), "DaemonSet"))
    assert spec["affinity"] == own


# SELinux and OpenShift.


def test_an_selinux_type_reaches_the_agents_pods_and_there_is_none_by_default() -> None:
    assert "seLinuxOptions" not in pod_spec(one(rendered(), "DaemonSet"))["securityContext"]
    given = rendered({"nodeagent": {"seLinuxOptions": {"type": "spc_t"}}})
    assert pod_spec(one(given, "DaemonSet"))["securityContext"]["seLinuxOptions"] == {"type": "spc_t"}


def test_the_constraints_of_openshift_allow_what_the_agents_ask_for_and_nothing_else() -> None:
    objects = rendered(scenario(CHART / "ci" / "openshift-values.yaml"), *EVERY_API)
    allowed = one(objects, "SecurityContextConstraints")
    spec = pod_spec(one(objects, "DaemonSet"))
    security = container(one(objects, "DaemonSet"))["securityContext"]
    assert set(allowed["allowedCapabilities"]) == set(security["capabilities"]["add"])
    assert allowed["volumes"] == ["emptyDir", "hostPath", "projected"]  # projected: the account's token
    assert {next(k for k in v if k != "name") for v in spec["volumes"]} <= set(allowed["volumes"])
    assert allowed["allowHostNetwork"] is spec["hostNetwork"] is True
    assert allowed["seLinuxContext"]["seLinuxOptions"] == spec["securityContext"]["seLinuxOptions"]
    assert allowed["seccompProfiles"] == ["runtime/default"]
    refused = ("allowHostIPC", "allowHostPID", "allowPrivilegedContainer", "allowPrivilegeEscalation")
    assert not any(allowed[name] for name in refused)


def test_each_account_on_openshift_may_use_the_constraints_that_its_pods_need() -> None:
    objects = rendered(scenario(CHART / "ci" / "openshift-values.yaml"), *EVERY_API)
    use = one(objects, "Role", "-nodeagent-scc")["rules"]
    name = one(objects, "SecurityContextConstraints")["metadata"]["name"]
    assert [(rule["resourceNames"], rule["verbs"]) for rule in use] == [([name], ["use"])]
    bound = {
        subject["name"]: o["roleRef"]["name"]
        for o in objects
        if o["kind"] == "RoleBinding" and "scc" in o["roleRef"]["name"]
        for subject in o["subjects"]
    }
    nonroot = "system:openshift:scc:nonroot-v2"
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    assert bound.keys() == accounts
    assert {bound[account] for account in accounts if not account.endswith("-nodeagent")} == {nonroot}


def test_nothing_of_openshift_is_there_by_default() -> None:
    assert "SecurityContextConstraints" not in kinds(rendered())


# Clusters with IPv6 alone.


def test_the_extender_is_told_no_address_of_one_family_by_default() -> None:
    assert not [a for a in container(one(rendered(), "Deployment", "-extender"))["args"] if a.startswith("--host")]
    assert one(rendered(), "Service")["spec"]["ipFamilyPolicy"] == "PreferDualStack"
    given = rendered({"extender": {"settings": {"host": "::1"}}})
    assert "--host=::1" in container(one(given, "Deployment", "-extender"))["args"]
