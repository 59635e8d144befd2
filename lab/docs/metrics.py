# SPDX-License-Identifier: Apache-2.0
"""The reference of metrics, from the collectors themselves.

Enters: the registries of a node agent and of an extender, and what each metric is for. Leaves: Markdown.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
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
from lab.docs.metric_uses import AGENT, EXTENDER, Use
from lab.docs.tables import markdown
from lab.errors import LabError
from nodeagent import metrics as agent_metrics
from nodeagent.metrics import AgentCollector, LoopState, new_crossings, new_registry
from nodeagent.metrics_port import new_refusals, new_scrapes
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import Counters, Fill, ProgramRuns, Reading

_KUBECONFIG: Final = """{apiVersion: v1, kind: Config, current-context: c, users: [{name: u, user: {token: t}}],
contexts: [{name: c, context: {cluster: k, user: u}}],
clusters: [{name: k, cluster: {server: "http://127.0.0.1:1"}}]}"""
_PROCESS: Final = ("process_", "python_")
NODES: Final = 5_000
_REPLICAS: Final = 2
_PODS: Final = 30
"""Of a node, where each has series of its own."""


def parts() -> dict[str, str]:
    """What stands between the markers of the page. Raises LabError."""
    agent = _table(agent_registry(), "traffic_footprint_agent_", AGENT, NODES)
    extender = _table(extender_registry(), "traffic_footprint_extender_", EXTENDER, _REPLICAS)
    return {"agent": agent, "extender": extender}


class _Watch:
    connects = relists = errors = undecodable = 0
    connected, age = True, 0.0


def agent_registry() -> CollectorRegistry:
    """Of an agent that has everything: an eBPF source, one uplink, pods with series of their own."""
    registry, _ = new_registry()
    rates = LinkRates(1e9, 1e9)
    pods = {f"u{n}": LocalPod(f"u{n}", "n", f"p{n}", "Pod/p") for n in range(_PODS)}
    tables = dict.fromkeys(("flows", "elephants", "owners", "addresses", "carriers"), Fill(1, 2))
    figures = LoopState(
        source="ebpf-fentry", coverage=1.0, uplink_coverage={"eth0": 1.0}, pods=pods,
        footprint=NodeFootprint("ebpf-fentry", rates, up="eth0", by="stated", el=rates, used=rates),
        reading=Reading(
            0.0, 1, dict.fromkeys(pods, Counters()), tables=tables,
            programs=dict.fromkeys(("birth", "death", "account"), ProgramRuns()),
        ),
    )  # fmt: skip
    beside = _of_threads()
    counters = {name: 0.0 for name in beside if not name.endswith("_seconds")}
    gauges = {name: 0.0 for name in beside if name.endswith("_seconds")}
    registry.register(
        AgentCollector(figures, lambda: counters, lambda: gauges, watches={"pods": _Watch()}, pods=_PODS)
    )
    for made in (new_crossings, new_refusals, new_scrapes):
        made(registry)
    return registry


def _of_threads() -> list[str]:
    """What the agent's collector shows of itself needs no help from beside."""
    own = {family.name for family in AgentCollector(LoopState(coverage=1.0), dict, dict).collect()}
    return [name for name in agent_metrics._HELP if f"traffic_footprint_agent_{name}" not in own]


def extender_registry() -> CollectorRegistry:
    """Of an extender in shadow mode that has learned nothing yet, and advises moves."""
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "config")
        kubeconfig.write_text(_KUBECONFIG)
        settings = Settings(kubeconfig=str(kubeconfig), shadow=True, rebalance="advise")
        source = source_of(settings)
    certificates = cast(CertificateFigures, SimpleNamespace(changes=Counter(), not_after={}))
    service = Service(
        source.state, source.feed, settings.policy,
        collectors=source.collectors, figures=ServerFigures(certificates=certificates),
        page=True,
    )  # fmt: skip
    return service.metrics.registry


def _table(registry: CollectorRegistry, prefix: str, uses: Mapping[str, Use], instances: int) -> str:
    rows, unused = [], set(uses)
    for collector in _collectors(registry):
        for family in collector.collect():
            if family.name.startswith(_PROCESS):
                continue
            name = _shown(family)
            short = name.removeprefix(prefix)
            if short not in uses:
                raise LabError(f"{name} has no entry in lab/docs/metric_uses.py: say what it is for")
            unused.discard(short)
            labels = ", ".join(f"`{label}`" for label in _labels(collector, family))
            series = uses[short].series or len(family.samples)
            kind = "gauge" if family.type == "info" else family.type
            text = family.documentation.rstrip(".")
            rows.append([f"`{name}`", kind, labels, text, uses[short].text, f"{series * instances:,}"])
    if unused:
        raise LabError(f"lab/docs/metric_uses.py has entries without a metric: {', '.join(sorted(unused))}")
    return markdown(["metric", "type", "labels", "what it counts", "what to do with it", "series"], sorted(rows))


def _collectors(registry: CollectorRegistry) -> list[Collector]:
    return list(registry._collector_to_names)


def _labels(collector: Collector, family: Metric) -> tuple[str, ...]:
    """Of a family that names its labels, else of the collector that makes it."""
    if family.type == "info":
        return tuple(family.samples[0].labels)
    found: Any = getattr(family, "_labelnames", None) or getattr(collector, "_labelnames", ())
    return tuple(found)


def _shown(family: Metric) -> str:
    """Counters and facts are scraped with a suffix."""
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
