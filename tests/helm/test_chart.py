# SPDX-License-Identifier: Apache-2.0
"""What the chart renders: for every scenario, and for what each value promises. Needs Helm and nothing else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import CliApp

from extender.cleanup import CleanupSettings
from extender.cli import read_settings
from extender.cluster.relaxed_pods import CONTROLLER, REASON
from extender.model.trafficfootprint import MANAGED_BY
from extender.settings import Settings
from footprint.keys import PREFIX
from lab import manifests
from nodeagent.settings import parse as parse_agent_settings
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
)

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

WORKLOADS = ("DaemonSet", "Deployment", "Job")


def scenario_name(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(scope="module")
def lintable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as for a cluster that serves every API: ``helm lint`` has no --api-versions."""
    copy = tmp_path_factory.mktemp("lint") / "traffic-footprint"
    shutil.copytree(CHART, copy)
    validate = copy / "templates" / "validate.yaml"
    text, served = re.subn(r'\(\.Capabilities\.APIVersions\.Has "[^"]+"\)', "true", validate.read_text())
    assert served == len(EVERY_API)
    validate.write_text(text)
    return copy


def test_there_are_scenarios_for_what_the_chart_can_be() -> None:
    assert len(SCENARIOS) >= 8


@pytest.mark.parametrize("path", SCENARIOS, ids=scenario_name)
def test_every_scenario_passes_lint_and_renders_objects_with_unique_names(path: Path, lintable: Path) -> None:
    lint = helm("lint", "--strict", str(lintable), "--kube-version", KUBE_VERSION, values=scenario(path))
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


@pytest.mark.parametrize("program", ["nodeagent", "extender"])
def test_the_images_entry_point_takes_the_charts_arguments(program: str) -> None:
    """Arguments replace a Dockerfile's CMD and follow its ENTRYPOINT."""
    dockerfile = (manifests.CHECKOUT / "Dockerfile").read_text()
    [stage] = re.findall(rf"^FROM \S+ AS {program}\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ENTRYPOINT (.*)$", stage, re.MULTILINE) == [f'["traffic-footprint-{program}"]']


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
        shared = {"CustomResourceDefinition"}  # one definition for all
        return {(o["kind"], o["metadata"]["name"]) for o in objects if o["kind"] not in shared}

    assert not names("one") & names("two")


def test_the_resource_definition_outlives_the_release_unless_told_otherwise() -> None:
    kept = one(rendered(), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    gone = one(rendered({"crd": {"keep": False}}), "CustomResourceDefinition")
    assert "helm.sh/resource-policy" not in (gone["metadata"].get("annotations") or {})


@pytest.mark.parametrize("mode", ["off", False, "", None])
def test_no_rights_to_move_pods_are_granted_unless_somebody_asks(mode: str | bool | None) -> None:
    objects = rendered({"extender": {"settings": {"rebalance": mode}}})
    assert not [o for o in objects if o["metadata"]["name"].endswith("-rebalancer")]
    extender = container(one(objects, "Deployment", "-extender"))
    assert "rebalance" not in str([extender["args"], extender["env"]]).lower()


def test_the_policy_speaks_of_this_releases_account_and_the_programs_own_name() -> None:
    objects = rendered(release="other", namespace="elsewhere")
    policy = one(objects, "ValidatingAdmissionPolicy", "-nodeagent")["spec"]
    [condition] = policy["matchConditions"]
    assert "endsWith(':other-traffic-footprint-nodeagent')" in condition["expression"]
    [events] = [v["expression"] for v in policy["validations"] if "reportingController" in v["expression"]]
    assert "reportingController.orValue('') == 'traffic-footprint-nodeagent'" in events
    assert "ValidatingAdmissionPolicy" not in kinds(rendered({"policy": {"enabled": False}}))


def test_the_extender_is_held_to_trafficfootprints_of_its_own_making() -> None:
    """What it says to a real API server is in tests/cluster; here: whom and what it is about, in every release."""
    objects = rendered(release="other", namespace="elsewhere")
    policy = one(objects, "ValidatingAdmissionPolicy", "-extender")["spec"]
    assert policy["failurePolicy"] == "Fail"
    [condition] = policy["matchConditions"]
    account = one(objects, "ServiceAccount", "-extender")["metadata"]["name"]
    assert f"endsWith(':{account}')" in condition["expression"]
    watched, leases, events, evictions = policy["matchConstraints"]["resourceRules"]
    assert (evictions["resources"], evictions["operations"]) == (["pods/eviction"], ["CREATE"])
    assert (leases["resources"], leases["operations"]) == (["leases"], ["CREATE"])
    assert (events["resources"], events["operations"]) == (["events"], ["CREATE", "UPDATE"])
    assert any(
        f"'{REASON}'" in v["expression"] and f"'{CONTROLLER}'" in v["expression"] for v in policy["validations"]
    )
    assert (watched["resources"], watched["operations"]) == (["trafficfootprints"], ["CREATE", "UPDATE", "DELETE"])
    assert watched["apiGroups"] == [PREFIX.rstrip("/")]
    label, value = MANAGED_BY
    assert any(f"'{label}'" in v["expression"] and f"'{value}'" in v["expression"] for v in policy["validations"])
    binding = one(objects, "ValidatingAdmissionPolicyBinding", "-extender")["spec"]
    assert binding == {"policyName": f"{account}", "validationActions": ["Deny"]}


def test_what_rbac_grants_on_trafficfootprints_a_policy_narrows_or_nobody_does() -> None:
    """Without the extender there is neither; without policies the grant is as wide as RBAC can say."""
    for values, expected in (
        ({"extender": {"enabled": False}, "scheduler": {"enabled": False}}, {"-nodeagent"}),
        ({"policy": {"enabled": False}}, set()),
        ({}, {"-nodeagent", "-extender"}),
    ):
        policies = [o for o in rendered(values) if o["kind"] == "ValidatingAdmissionPolicy"]
        assert {o["metadata"]["name"].removeprefix("tf-traffic-footprint") for o in policies} == expected


@pytest.mark.parametrize("choice", ["refuse", "allow"])
def test_the_policy_is_told_what_to_do_with_tokens_that_name_no_node(choice: str) -> None:
    policy = one(rendered({"policy": {"unboundTokens": choice}}), "ValidatingAdmissionPolicy", "-nodeagent")[
        "spec"
    ]
    assert {"name": "unboundTokens", "expression": f"'{choice}'"} in policy["variables"]
