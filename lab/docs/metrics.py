# SPDX-License-Identifier: Apache-2.0
"""The reference of metrics, from the collectors themselves.

Enters: the registries of a node agent and of an extender that have seen nothing yet. Leaves: Markdown.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

from prometheus_client.core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from extender.api.metrics import CertificateFigures, ServerFigures
from extender.api.service import Service
from extender.run import source_of
from extender.settings import Settings
from footprint.models import LinkRates, NodeFootprint
from lab.docs.tables import markdown
from nodeagent import metrics as agent_metrics
from nodeagent.metrics import AgentCollector, LoopState, new_registry
from nodeagent.metrics_port import new_refusals

_KUBECONFIG: Final = """{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {token: t}}],
contexts: [{name: c, context: {cluster: k, user: u}}],
clusters: [{name: k, cluster: {server: "http://127.0.0.1:1"}}]}"""
_OF_THE_LOOP: Final = (
    "readings",
    "poll_overruns",
    "samples_refused",
    "elephants_begun",
    "coverage_ratio",
    "readings_corrected",
    "uplink_coverage_ratio",
)
_PROCESS: Final = ("process_", "python_")


def parts() -> dict[str, str]:
    """What stands between the markers of the page."""
    return {"agent": _table(_agent()), "extender": _table(_extender())}


def _agent() -> CollectorRegistry:
    registry, _ = new_registry()
    figures = LoopState(source="ctnetlink", coverage=1.0, footprint=NodeFootprint("ctnetlink", LinkRates()))
    beside = [name for name in agent_metrics._HELP if name not in _OF_THE_LOOP]
    counters = {name: 0.0 for name in beside if not name.endswith("_seconds")}
    gauges = {name: 0.0 for name in beside if name.endswith("_seconds")}
    registry.register(AgentCollector(figures, lambda: counters, lambda: gauges))
    new_refusals(registry)
    return registry


def _extender() -> CollectorRegistry:
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "config")
        kubeconfig.write_text(_KUBECONFIG)
        settings = Settings(kubeconfig=str(kubeconfig), shadow=True)
        source = source_of(settings)
    certificates = cast(CertificateFigures, SimpleNamespace(changes=Counter(), not_after={}))
    service = Service(
        source.state, source.feed, settings.policy,
        collectors=source.collectors, figures=ServerFigures(certificates=certificates),
    )  # fmt: skip
    return service.metrics.registry


def _table(registry: CollectorRegistry) -> str:
    rows = []
    for collector in _collectors(registry):
        for family in collector.collect():
            if not family.name.startswith(_PROCESS):
                labels = ", ".join(f"`{label}`" for label in _labels(collector, family))
                rows.append([f"`{_shown(family)}`", family.type, labels, family.documentation.rstrip(".")])
    return markdown(["metric", "type", "labels", "what it counts"], sorted(rows))


def _collectors(registry: CollectorRegistry) -> list[Collector]:
    return list(registry._collector_to_names)


def _labels(collector: Collector, family: Metric) -> tuple[str, ...]:
    """Of a family that names its labels, else of the collector that makes it."""
    found: Any = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", ())
    return tuple(found)


def _shown(family: Metric) -> str:
    """Counters are scraped with the suffix."""
    return family.name + ("_total" if family.type == "counter" else "")
