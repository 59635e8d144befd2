# SPDX-License-Identifier: Apache-2.0
"""The pods that the chart renders: what they may do, where they run, how they are probed and replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nodeagent.metrics import stuck_after
from nodeagent.sources.cgroup.root import MOUNTED
from nodeagent.sources.ctnetlink.kernel import NODE_SYSCTLS, writable_paths
from nodeagent.sources.ctnetlink.source import ACCOUNTING, TIMESTAMPS
from nodeagent.sources.ebpf.compiling import cache
from nodeagent.sources.ebpf.compiling.build import TIMEOUT
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel import pins
from nodeagent.tuning import journal_file
from tests.helm.rendering import (
    CHART,
    container,
    one,
    pod_spec,
    rendered,
    scenario,
)

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

WORKLOADS = ("DaemonSet", "Deployment", "Job")


def test_the_agent_has_two_capabilities_and_nothing_else_of_the_node() -> None:
    spec = pod_spec(one(rendered(), "DaemonSet"))
    assert spec["hostNetwork"] is True
    assert not spec.get("hostPID")
    assert not spec.get("hostIPC")
    [agent] = spec["containers"]
    context = agent["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN"]}
    assert (context["privileged"], context["allowPrivilegeEscalation"]) == (False, False)
    assert context["readOnlyRootFilesystem"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    paths = {v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}
    assert paths == {"/sys/fs/bpf", "/sys/fs/cgroup", str(cache.DIRECTORY), "/proc/sys/net/netfilter"}
    mounts = {m["mountPath"] for m in agent["volumeMounts"]}
    assert mounts == {
        str(pins.ROOT.parent), str(cache.DIRECTORY), str(MOUNTED), str(NODE_SYSCTLS / "netfilter"),
        "/tmp",  # noqa: S108 - an emptyDir
    }  # fmt: skip
    assert [m["name"] for m in agent["volumeMounts"] if m.get("readOnly")] == ["cgroup"]


def test_without_ebpf_the_agent_needs_one_capability() -> None:
    spec = pod_spec(one(rendered(scenario(CHART / "ci" / "ctnetlink-values.yaml")), "DaemonSet"))
    assert spec["containers"][0]["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert {v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v} == {"/proc/sys/net/netfilter"}
    assert spec["containers"][0]["startupProbe"]["httpGet"]["host"] == "127.0.0.1"


def test_without_sys_admin_three_lesser_ones_are_named() -> None:
    spec = pod_spec(one(rendered(scenario(CHART / "ci" / "modest-values.yaml")), "DaemonSet"))
    assert spec["containers"][0]["securityContext"]["capabilities"]["add"] == ["BPF", "PERFMON", "NET_ADMIN"]
    arguments = spec["containers"][0]["args"]
    assert "--source=auto" in arguments, "kprobe or ctnetlink, whichever the node allows"
    assert "/proc/sys/net/netfilter" in {v["hostPath"]["path"] for v in spec["volumes"] if "hostPath" in v}


def test_the_switches_that_ctnetlink_may_turn_are_where_the_chart_mounts_them() -> None:
    spec = pod_spec(one(rendered(), "DaemonSet"))
    [node] = [v["hostPath"]["path"] for v in spec["volumes"] if v["name"] == "node-sysctls"]
    [inside] = [m["mountPath"] for m in spec["containers"][0]["volumeMounts"] if m["name"] == "node-sysctls"]
    for name in (ACCOUNTING, TIMESTAMPS):
        own, mounted = writable_paths(name)
        assert Path(node, mounted.relative_to(inside)) == own


def test_with_ebpf_alone_nothing_of_the_nodes_sysctls_is_mounted() -> None:
    spec = pod_spec(one(rendered({"nodeagent": {"settings": {"source": "ebpf"}}}), "DaemonSet"))
    assert host_paths(spec) == {"/sys/fs/bpf", str(cache.DIRECTORY)}
    assert "node-sysctls" not in {m["name"] for m in spec["containers"][0]["volumeMounts"]}


@pytest.mark.parametrize(
    ("priority", "flag"), [("apply", "apply"), ("advise", "advise"), (False, "off"), ("off", "off")]
)
def test_only_what_applies_tuning_needs_a_folder_for_its_journal(priority: str | bool, flag: str) -> None:
    """A bare off is false to YAML."""
    agent = one(rendered({"nodeagent": {"settings": {"source": "ctnetlink"}, "tuning": {"priority": priority}}}),
                "DaemonSet")  # fmt: skip
    assert f"--tune-priority={flag}" in container(agent)["args"]
    mounted = [mount["mountPath"] for mount in container(agent)["volumeMounts"]]
    assert (str(journal_file.FOLDER) in mounted) == (priority == "apply")
    assert container(agent)["securityContext"] == container(one(rendered(), "DaemonSet"))["securityContext"]


@pytest.mark.parametrize("values", [{"keptPrograms": {"enabled": False}}, {"settings": {"source": "ctnetlink"}}])
def test_where_no_program_is_to_be_kept_its_folder_is_not_mounted(values: dict[str, Any]) -> None:
    spec = pod_spec(one(rendered({"nodeagent": values}), "DaemonSet"))
    assert str(cache.DIRECTORY) not in host_paths(spec)
    [agent] = spec["containers"]
    assert {mount["name"] for mount in agent["volumeMounts"]} <= {volume["name"] for volume in spec["volumes"]}


def host_paths(spec: dict[str, Any]) -> set[str]:
    return {volume["hostPath"]["path"] for volume in spec["volumes"] if "hostPath" in volume}


@pytest.mark.parametrize(
    ("source", "mounted"),
    [(None, True), ("auto", True), ("ebpf-cgroup", True), ("ebpf", False), ("ctnetlink", False)],
)
def test_the_nodes_cgroups_are_mounted_read_only_where_sockets_may_be_counted(
    source: str | None, *, mounted: bool
) -> None:
    for switched in (True, False):
        values = {"nodeagent": {"settings": {"source": source}, "cgroup": {"enabled": switched}}}
        spec = pod_spec(one(rendered(values), "DaemonSet"))
        volumes = [v["hostPath"] for v in spec["volumes"] if v["name"] == "cgroup"]
        mounts = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "cgroup"]
        there = mounted and switched
        assert volumes == ([{"path": "/sys/fs/cgroup", "type": "Directory"}] if there else [])
        assert mounts == ([{"name": "cgroup", "mountPath": str(MOUNTED), "readOnly": True}] if there else [])


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


def seconds(probe: dict[str, Any]) -> int:
    """Until the probe has failed for good."""
    return int(probe["periodSeconds"]) * int(probe["failureThreshold"])


@pytest.mark.parametrize(("value", "limit"), [(None, TIMEOUT), (120, 120), (299.5, 299.5), (1800, 1800)])
def test_the_agent_may_compile_for_as_long_as_it_is_allowed_to(value: float | None, limit: float) -> None:
    agent = container(one(rendered({"nodeagent": {"settings": {"compileTimeout": value}}}), "DaemonSet"))
    assert agent["startupProbe"]["httpGet"]["path"] == agent["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert agent["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert seconds(agent["startupProbe"]) > len(Mode) * limit, "every way to attach is compiled for"
    assert stuck_after(1.0) + seconds(agent["livenessProbe"]) > limit, "it may have to compile again"


def test_the_agent_keeps_its_program_unless_it_is_told_not_to() -> None:
    for keep in (True, False):
        agent = container(one(rendered({"nodeagent": {"settings": {"keepProgram": keep}}}), "DaemonSet"))
        found = next(v for v in agent["env"] if v["name"] == "TRAFFIC_FOOTPRINT_KEEP_PROGRAM")
        assert found["value"] == str(keep).lower()


def test_two_extenders_keep_apart_and_one_stays_when_nodes_are_drained() -> None:
    objects = rendered()
    for name in ("-extender", "-scheduler"):
        deployment, budget = one(objects, "Deployment", name), one(objects, "PodDisruptionBudget", name)
        assert deployment["spec"]["replicas"] == 2
        assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert budget["spec"]["selector"]["matchLabels"] == selector
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
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


MIB = 2**20
MEASURED = {"ebpf": 76 * MIB, "ctnetlink": 96 * MIB, "extender": 90 * MIB}
"""Most that was resident (docs/explanation/measurements.md): agents with 100,000 connections, an extender of 50
nodes."""
COMPILER = 217e6
"""Beside the agent, for a second at its start."""


def mebibytes(text: str) -> int:
    assert text.endswith("Mi"), text
    return int(text.removesuffix("Mi")) * MIB


def test_requests_and_limits_have_room_above_what_was_measured() -> None:
    objects = rendered()
    agent = container(one(objects, "DaemonSet"))["resources"]
    extender = container(one(objects, "Deployment", "-extender"))["resources"]
    assert mebibytes(agent["requests"]["memory"]) >= 1.3 * max(MEASURED["ebpf"], MEASURED["ctnetlink"])
    assert mebibytes(agent["limits"]["memory"]) >= 1.3 * (MEASURED["ebpf"] + COMPILER)
    assert mebibytes(extender["requests"]["memory"]) >= 1.3 * MEASURED["extender"]
