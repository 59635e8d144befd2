# SPDX-License-Identifier: Apache-2.0
"""A Prometheus of the distribution in a lab: it scrapes both programs and evaluates the chart's rules.

Enters: a lab. Leaves: a handle that queries. The jobs are called as the chart's monitors would call them. Alerts
wait for a second instead of for minutes; apart from that the rules are the chart's.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.lab import Lab
from lab.manifests import CHART
from lab.network.addresses import node_v4
from lab.processes import Process
from lab.prometheus import binaries
from tests.cluster.support.workloads import AGENT_PORT

PORT = 9090
RULES = sorted((CHART / "files" / "monitoring").glob("*-rules.yaml"))
AGENTS = "traffic-footprint/traffic-footprint-nodeagent"
EXTENDERS = "traffic-footprint-extender"


@dataclass
class Prometheus:
    """A running server."""

    process: Process

    def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of an answer of the API. Fails the test with Prometheus' own words when it refuses."""
        url = f"http://127.0.0.1:{PORT}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query: ``metric`` and ``value``."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def figures(self, expression: str) -> list[float]:
        """The values of an instant query that are numbers: 0 divided by 0 is none."""
        values = [float(series["value"][1]) for series in self.query(expression)]
        return [value for value in values if not math.isnan(value)]

    def firing(self, name: str) -> list[Mapping[str, str]]:
        """Labels of an alert's instances that fire."""
        return [s["metric"] for s in self.query(f'ALERTS{{alertname="{name}",alertstate="firing"}}')]

    @property
    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextmanager
def prometheus(lab: Lab, folder: Path, extenders: Sequence[str]) -> Iterator[Prometheus]:
    """Scrapes every agent and ``extenders`` each second. Prometheus' data is in ``folder``."""
    for path in RULES:
        (folder / path.name).write_text(re.sub(r"\bfor: \d+[mh]\b", "for: 1s", path.read_text()))
    agents = [
        {"targets": [f"{node_v4(n.index)}:{AGENT_PORT}"], "labels": {"node": n.name}}
        for n in lab.config.node_specs
    ]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / path.name) for path in RULES],
        "scrape_configs": [
            {"job_name": AGENTS, "static_configs": agents},
            {"job_name": EXTENDERS, "static_configs": [{"targets": list(extenders)}]},
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    argv = [
        binaries.prometheus(), f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{PORT}",
    ]  # fmt: skip
    found = Prometheus(lab.spawn_in("cp", argv, name="prometheus"))
    try:
        found.process.wait_ready(lambda: found.ready, 60)
        yield found
    finally:
        found.process.stop()
