# SPDX-License-Identifier: Apache-2.0
"""Values: each has a schema and is the program's own setting; wrong ones are refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from extender.settings import Settings
from nodeagent.settings import AgentSettings
from tests.helm.rendering import CHART, template

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())

CHARTS_OWN: dict[type[BaseModel], set[str]] = {
    AgentSettings: {"node_name", "kubeconfig", "namespace"},
    Settings: {"kubeconfig", "namespace", "tls_cert", "tls_key", "client_ca", "state"},
}
"""Settings that the chart gives by itself."""
DIFFERENT = {"metrics_host", "uplink", "link_capacity"}
"""Empty in the values, where the program has None or another way to say the same."""
CHARTS_PORT = {"metrics_port"}
"""The extender's is off by default, and the chart's is on: probes need it."""


def snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


@pytest.mark.parametrize(("part", "model"), [("nodeagent", AgentSettings), ("extender", Settings)])
def test_every_setting_of_the_program_is_a_value_with_the_same_name_and_default(
    part: str, model: type[BaseModel]
) -> None:
    values = {snake(name): value for name, value in VALUES[part]["settings"].items()}
    values |= {f"tune_{snake(name)}": value for name, value in VALUES[part].get("tuning", {}).items()}
    assert set(values) == set(model.model_fields) - CHARTS_OWN[model], "one set of names"
    required = {"node_name": "n"} if model is AgentSettings else {}
    told = model(**required, **{n: v for n, v in values.items() if n not in DIFFERENT})
    own = model(**required)
    ports = CHARTS_PORT if part == "extender" else set()
    for name in set(values) - DIFFERENT - ports:
        assert getattr(told, name) == getattr(own, name), f"{part}.settings: {name}"


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        if "properties" in schema and "type" in schema:
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


def test_the_schema_knows_every_value_and_lets_no_other_through() -> None:
    assert len(list(objects(SCHEMA))) > 30
    for each in objects(SCHEMA):
        assert each["additionalProperties"] is False, each

    def known(schema: dict[str, Any], values: dict[str, Any], path: str) -> None:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        for name, value in values.items():
            if "properties" in schema:
                assert name in schema["properties"], f"{path}{name} is not in the schema"
                if isinstance(value, dict):
                    known(schema["properties"][name], value, f"{path}{name}.")
        if "properties" in schema and path:
            assert set(schema["properties"]) >= set(values), path

    known(SCHEMA, VALUES, "")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"extendr": {"enabled": True}}, "additional properties 'extendr' not allowed"),
    ({"extender": {"settings": {"placment": "score"}}}, "additional properties 'placment' not allowed"),
    (
        {"extender": {"settings": {"placement": "always"}}},
        "at '/extender/settings/placement': value must be one of",
    ),
    ({"extender": {"replicas": "two"}}, "at '/extender/replicas': got string, want integer"),
    ({"extender": {"replicas": 0}}, "at '/extender/replicas': minimum: got 0, want 1"),
    ({"extender": {"settings": {"shadow": "yes"}}}, "at '/extender/settings/shadow': got string, want boolean"),
    ({"extender": {"settings": {"drain": 600}}}, "at '/extender/settings/drain': maximum: got 600, want 60"),
    ({"extender": {"settings": {"port": 88900}}}, "at '/extender/settings/port': maximum: got 88"),
    (
        {"extender": {"settings": {"port": 8891}}},
        "extender.settings.port and extender.settings.metricsPort must differ",
    ),
    ({"extender": {"extraArgs": ["shadow"]}}, "at '/extender/extraArgs/0': 'shadow' does not match"),
    ({"extender": {"image": {"digest": "latest"}}}, "at '/extender/image/digest': 'latest' does not match"),
    ({"image": {"registry": "https://registry.example.com"}}, "at '/image/registry'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "at '/image/pullPolicy': value must be one of"),
    ({"image": {"pullSecrets": ["name"]}}, "at '/image/pullSecrets/0': got string, want object"),
    (
        {"nodeagent": {"settings": {"linkCapacity": "fast"}}},
        "at '/nodeagent/settings/linkCapacity': 'fast' does not",
    ),
    (
        {"nodeagent": {"settings": {"linkCapacityByInstanceType": "m5.*"}}},
        "at '/nodeagent/settings/linkCapacityByInstanceType': 'm5.*' does not",
    ),
    (
        {"nodeagent": {"settings": {"linkCapacityAssumed": "some"}}},
        "at '/nodeagent/settings/linkCapacityAssumed'",
    ),
    ({"nodeagent": {"settings": {"elephantBytes": "10 miles"}}}, "at '/nodeagent/settings/elephantBytes'"),
    ({"nodeagent": {"settings": {"source": "tcpdump"}}}, "at '/nodeagent/settings/source': value must be one of"),
    ({"nodeagent": {"settings": {"pollInterval": 0}}}, "at '/nodeagent/settings/pollInterval': minimum"),
    ({"nodeagent": {"settings": {"deadband": 20}}}, "at '/nodeagent/settings/deadband': maximum: got 20, want 1"),
    ({"nodeagent": {"settings": {"uplink": "a name that is too long"}}}, "at '/nodeagent/settings/uplink'"),
    ({"nodeagent": {"privileged": True}}, "additional properties 'privileged' not allowed"),
    (
        {"nodeagent": {"capabilities": ["SYS_MODULE", "NET_ADMIN"]}},
        "at '/nodeagent/capabilities/0': value must be",
    ),
    ({"nodeagent": {"capabilities": ["BPF"]}}, "at '/nodeagent/capabilities': no items match contains schema"),
    ({"nodeagent": {"tolerations": [{"opertor": "Exists"}]}}, "additional properties 'opertor' not allowed"),
    ({"nodeagent": {"resources": {"limits": {"memory": "lots"}}}}, "at '/nodeagent/resources/limits/memory'"),
    (
        {"nodeagent": {"updateStrategy": {"type": "Recreate"}}},
        "at '/nodeagent/updateStrategy/type': value must be",
    ),
    (
        {"nodeagent": {"terminationGracePeriodSeconds": 0}},
        "at '/nodeagent/terminationGracePeriodSeconds': minimum",
    ),
    ({"scheduler": {"schedulerName": "default-scheduler"}}, "must not be default-scheduler"),
    ({"scheduler": {"schedulerName": "By Traffic"}}, "at '/scheduler/schedulerName': 'By Traffic' does not match"),
    ({"scheduler": {"httpTimeout": 500}}, "at '/scheduler/httpTimeout': got number, want string"),
    ({"scheduler": {"weight": 0.5}}, "at '/scheduler/weight': got number, want integer"),
    ({"scheduler": {"profile": {"schedulerName": "x"}}}, "additional properties 'schedulerName' not allowed"),
    ({"scheduler": {"enabled": True}, "extender": {"enabled": False}}, "scheduler.enabled needs extender.enabled"),
    ({"certificates": {"mode": "none"}}, "at '/certificates/mode': value must be one of"),
    ({"certificates": {"mode": "existing"}}, "at '/certificates/existing/"),
    (
        {"certificates": {"selfSigned": {"days": 100}}},
        "renewBeforeDays must be below certificates.selfSigned.days",
    ),
    ({"certificates": {"selfSigned": {"caDays": 400}}}, "a certificate does not outlive its CA"),
    (
        {"routing": {"namespaceLabel": {"enabled": True}}, "scheduler": {"enabled": False}},
        "routing.namespaceLabel.enabled needs scheduler.enabled",
    ),
    ({"routing": {"namespaceLabel": {"value": "on, please"}}}, "at '/routing/namespaceLabel/value'"),
    ({"networkPolicy": {"extenderFrom": [{"cidr": "10.0.0.0/8"}]}}, "additional properties 'cidr' not allowed"),
    (
        {"networkPolicy": {"enabled": True}, "scheduler": {"enabled": False}},
        "name where your kube-scheduler asks from in networkPolicy.extenderFrom",
    ),
    (
        {"extender": {"replicas": 1}},
        "extender.podDisruptionBudget.minAvailable must be below extender.replicas",
    ),
    (
        {"scheduler": {"podDisruptionBudget": {"minAvailable": 2}}},
        "set it to less than 2, raise the replicas, or set scheduler.podDisruptionBudget.enabled=false",
    ),
    (
        {"extender": {"replicas": 3, "podDisruptionBudget": {"minAvailable": "67%"}}},  # 2.01 of 3 is 3
        "extender.podDisruptionBudget.minAvailable must be below extender.replicas",
    ),
    (
        {"nodeagent": {"settings": {"leaseRenew": 180}}},
        "at least twice nodeagent.settings.leaseRenew (180 s)",
    ),
    ({"extender": {"settings": {"staleAfter": 60}}}, "three times is the default: set staleAfter to 180"),
    ({"openshift": {"enabled": True}}, "openshift.enabled needs OpenShift"),
    ({"nodeagent": {"seLinuxOptions": {"kind": "spc_t"}}}, "additional properties 'kind' not allowed"),
    (
        {"commonLabels": {"app.kubernetes.io/name": "mine"}},
        "commonLabels must not set app.kubernetes.io/name",
    ),
    (
        {"commonLabels": {"app.kubernetes.io/component": "x"}},
        "commonLabels must not set app.kubernetes.io/component",
    ),
    ({"commonLabels": {"app.kubernetes.io/managed-by": "Flux"}}, "must not set app.kubernetes.io/managed-by"),
    ({"commonLabels": {"helm.sh/chart": "x"}}, "commonLabels must not set helm.sh/chart"),
    (
        {"nodeagent": {"podLabels": {"app.kubernetes.io/instance": "other"}}},
        "nodeagent.podLabels must not set app.kubernetes.io/instance",
    ),
    (
        {"extender": {"podLabels": {"app.kubernetes.io/component": "scheduler"}}},
        "extender.podLabels must not set app.kubernetes.io/component",
    ),
    (
        {"scheduler": {"podLabels": {"app.kubernetes.io/name": "kube-scheduler"}}},
        "scheduler.podLabels must not set app.kubernetes.io/name",
    ),
    (
        {"nodeagent": {"extraEnv": [{"name": "TRAFFIC_FOOTPRINT_NODE_NAME", "value": "n"}]}},
        "nodeagent.extraEnv gives TRAFFIC_FOOTPRINT_NODE_NAME twice",
    ),
    (
        {"extender": {"extraEnv": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}},
        "extender.extraEnv gives A twice",
    ),
    ({"extender": {"extraEnv": [{"name": "TRAFFIC_FOOTPRINT_SHADOW"}]}}, "gives TRAFFIC_FOOTPRINT_SHADOW twice"),
    ({"cleanup": {"timeoutSeconds": 1}}, "at '/cleanup/timeoutSeconds': minimum: got 1, want 30"),
    ({"fullnameOverride": "Not A Name"}, "at '/fullnameOverride': 'Not A Name' does not match"),
]


@pytest.mark.parametrize(("values", "said"), WRONG, ids=[json.dumps(values)[:60] for values, _ in WRONG])
def test_wrong_values_are_refused_by_name(values: dict[str, Any], said: str) -> None:
    refused = template(values)
    assert refused.returncode != 0, "accepted"
    assert said in refused.stderr, refused.stderr


ODD: list[dict[str, Any]] = [
    {"commonLabels": {"app.kubernetes.io/name": "traffic-footprint", "app.kubernetes.io/part-of": "platform"}},
    {"extender": {"podLabels": {"app.kubernetes.io/component": "extender"}}},
    {
        "commonLabels": None,
        "nodeagent": {"podLabels": None, "affinity": None},
        "scheduler": {"podAnnotations": None},
    },
    {"nodeagent": {"settings": {"linkCapacityByInstanceType": "m5.large=750M, m5.*=10G"}}},
    {"nodeagent": {"settings": {"linkCapacityAssumed": 0}}},
    {"networkPolicy": {"enabled": True}},
    {
        "networkPolicy": {"enabled": True},
        "scheduler": {"enabled": False},
        "extender": {"enabled": False},
    },
    {"extender": {"replicas": 1, "podDisruptionBudget": {"minAvailable": 0}}},
    {"extender": {"replicas": 3, "podDisruptionBudget": {"minAvailable": "66%"}}},  # 1.98 of 3 is 2
    {"nodeagent": {"settings": {"leaseRenew": 90}}},
    {"nodeagent": {"settings": {"leaseRenew": 600}}, "extender": {"settings": {"staleAfter": 1800}}},
    {"nodeagent": {"settings": {"leaseRenew": None}}, "extender": {"settings": {"staleAfter": None}}},
]
"""Beside wrong ones, and right."""


@pytest.mark.parametrize("values", ODD, ids=[json.dumps(values)[:60] for values in ODD])
def test_what_only_looks_wrong_is_accepted(values: dict[str, Any]) -> None:
    accepted = template(values)
    assert accepted.returncode == 0, accepted.stderr
