# SPDX-License-Identifier: Apache-2.0
"""Rules and dashboards as the chart ships them: off by default, and the files as they are."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lab.docs import pages
from lab.prometheus import dashboards
from tests.helm.rendering import CHART, EVERY_API, Object, kinds, one, rendered, scenario, template

pytestmark = pytest.mark.timeout(1800)  # the first test may build Helm

FOLDER = CHART / "files" / "monitoring"


def on(**more: Any) -> list[Object]:
    values = {"monitoring": {"rules": {"enabled": True}, "dashboards": {"enabled": True}}, **more}
    return rendered(values, *EVERY_API)


def boards(objects: list[Object]) -> dict[str, str]:
    """Text of each dashboard by the name of its file."""
    found: dict[str, str] = {}
    for each in objects:
        if each["kind"] == "ConfigMap" and "-dashboard-" in each["metadata"]["name"]:
            assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
            found |= each["data"]
    return found


def groups(name: str) -> list[Object]:
    found: list[Object] = yaml.safe_load((FOLDER / name).read_text())["groups"]
    return found


def test_nothing_of_it_is_there_by_default() -> None:
    objects = rendered(None, *EVERY_API)
    assert not kinds(objects) & {"PrometheusRule", "ServiceMonitor", "PodMonitor"}
    assert boards(objects) == {}


def test_rules_and_dashboards_are_the_files_as_they_are() -> None:
    objects = on()
    rules = one(objects, "PrometheusRule")["spec"]["groups"]
    assert rules == groups("nodeagent-rules.yaml") + groups("extender-rules.yaml")
    expected = {f"traffic-footprint-{name}": text.rstrip("\n") for name, text in dashboards.files().items()}
    assert {name: text.rstrip("\n") for name, text in boards(objects).items()} == expected


def test_agents_alone_have_no_alert_that_misses_the_extender() -> None:
    alone = on(extender={"enabled": False}, scheduler={"enabled": False})
    assert one(alone, "PrometheusRule")["spec"]["groups"] == groups("nodeagent-rules.yaml")
    assert "traffic-footprint-extender.json" not in boards(alone)
    assert "traffic-footprint-node.json" in boards(alone)


def test_labels_and_annotations_are_the_operators() -> None:
    objects = rendered(scenario(CHART / "ci" / "monitoring-values.yaml"), *EVERY_API)
    assert one(objects, "PrometheusRule")["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    board = one(objects, "ConfigMap", "-dashboard-node")
    assert board["metadata"]["annotations"] == {"grafana_folder": "Traffic Footprint"}


def test_the_label_that_rules_name_nodes_by_comes_with_the_monitor() -> None:
    objects = rendered({"monitoring": {"podMonitor": {"enabled": True}}}, *EVERY_API)
    [endpoint] = one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [
        {"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
    ]


def test_rules_need_the_operator_and_dashboards_do_not() -> None:
    refused = template({"monitoring": {"rules": {"enabled": True}}})
    assert refused.returncode != 0
    assert "no API monitoring.coreos.com/v1); install it" in refused.stderr
    assert len(boards(rendered({"monitoring": {"dashboards": {"enabled": True}}}))) == len(dashboards.files())


def test_a_dashboard_that_differs_from_the_code_is_out_of_date() -> None:
    made = dict(pages.made())
    assert {path for path in made if path.suffix == ".json"} == set((FOLDER / "dashboards").glob("*.json"))
