# SPDX-License-Identifier: Apache-2.0
"""Who is found by whom, in every scenario: selectors match the pods they are meant for and no others.

And named ports are there. What matches nobody is valid for every API server, and does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.helm.rendering import EVERY_API, SCENARIOS, Object, pod_spec, rendered, scenario

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm


def scenario_name(path: Path) -> str:
    return path.name.removesuffix("-values.yaml")


@pytest.fixture(params=SCENARIOS, ids=scenario_name)
def objects(request: pytest.FixtureRequest) -> list[Object]:
    return rendered(scenario(request.param), *EVERY_API)


def of(objects: list[Object], *kinds: str) -> list[Object]:
    return [each for each in objects if each["kind"] in kinds]


def component(each: Object) -> str:
    found: str = each["metadata"]["labels"]["app.kubernetes.io/component"]
    return found


def pods(objects: list[Object]) -> dict[str, Object]:
    """Pod templates, by component."""
    workloads = of(objects, "DaemonSet", "Deployment", "Job")
    return {component(each): each["spec"]["template"] for each in workloads}


def found_by(selector: Mapping[str, Any], objects: list[Object]) -> set[str]:
    """Components whose pods a label selector matches; only ``matchLabels`` is in use."""
    assert set(selector) == {"matchLabels"}, selector
    wanted = selector["matchLabels"].items()
    return {name for name, template in pods(objects).items() if wanted <= template["metadata"]["labels"].items()}


def ports(template: Object) -> dict[str, int]:
    """Named container ports."""
    return {
        port["name"]: port["containerPort"]
        for container in template["spec"]["containers"]
        for port in container.get("ports", [])
    }


def label_selectors(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "labelSelector":
                yield inner
            else:
                yield from label_selectors(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from label_selectors(inner)


def test_every_workload_and_budget_selects_its_own_pods_alone(objects: list[Object]) -> None:
    for each in of(objects, "DaemonSet", "Deployment", "PodDisruptionBudget"):
        assert found_by(each["spec"]["selector"], objects) == {component(each)}, each["metadata"]["name"]


def test_replicas_keep_apart_from_their_own_kind(objects: list[Object]) -> None:
    for each in of(objects, "Deployment"):
        selectors = list(label_selectors(pod_spec(each)))
        assert selectors
        for selector in selectors:
            assert found_by(selector, objects) == {component(each)}, selector


def test_probes_ask_ports_that_are_there(objects: list[Object]) -> None:
    for template in pods(objects).values():
        for container in template["spec"]["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe in container:
                    assert container[probe]["httpGet"]["port"] in ports(template)


def test_the_service_leads_to_the_extenders_ports(objects: list[Object]) -> None:
    for service in of(objects, "Service"):
        selector = {"matchLabels": service["spec"]["selector"]}
        assert found_by(selector, objects) == {"extender"}
        listening = ports(pods(objects)["extender"])
        for port in service["spec"]["ports"]:
            assert listening[port["targetPort"]] == port["port"], "a number that people see is one they can use"


def test_the_network_policy_covers_the_extender_and_lets_in_the_scheduler(objects: list[Object]) -> None:
    for policy in of(objects, "NetworkPolicy"):
        spec = policy["spec"]
        assert found_by(spec["podSelector"], objects) == {"extender"}
        listening = ports(pods(objects)["extender"])
        opened = {port["port"]: rule.get("from") for rule in spec["ingress"] for port in rule["ports"]}
        assert set(opened) == set(listening), "each port has a rule; none is left shut by an oversight"
        assert opened["https"], "an empty list is everybody"
        own = [peer["podSelector"] for peer in opened["https"] if "podSelector" in peer]
        assert [found_by(selector, objects) for selector in own] == (
            [{"scheduler"}] if "scheduler" in pods(objects) else []
        )


def test_prometheus_finds_what_it_is_told_to_scrape(objects: list[Object]) -> None:
    for monitor in of(objects, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        [service] = [s for s in of(objects, "Service") if wanted <= s["metadata"]["labels"].items()]
        names = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {"metrics"} <= names
    for monitor in of(objects, "PodMonitor"):
        assert found_by(monitor["spec"]["selector"], objects) == {"nodeagent"}
        names = set(ports(pods(objects)["nodeagent"]))
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} == {"metrics"} <= names


def test_the_scenarios_have_what_these_tests_are_about() -> None:
    """Else they would pass for want of objects."""
    seen = {
        (each["kind"], "scheduler" in pods(objects))
        for path in SCENARIOS
        for objects in [rendered(scenario(path), *EVERY_API)]
        for each in objects
    }
    for kind in ("NetworkPolicy", "PodDisruptionBudget", "Service"):
        assert {(kind, True), (kind, False)} <= seen, kind
    assert {("ServiceMonitor", True), ("PodMonitor", True)} <= seen
