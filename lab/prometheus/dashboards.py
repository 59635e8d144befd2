# SPDX-License-Identifier: Apache-2.0
"""The chart's Grafana dashboards: cluster, node, workloads, extender.

Enters: nothing. Leaves: each dashboard's file name and JSON, by Grafana's typed builders. Guarantees: pure; the
same bytes each time. Every query stands alone: dashboards do not need the chart's recording rules. A cluster test
runs every query (``queries``) against a Prometheus that scrapes both programs.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

TAG: Final = "traffic-footprint"
_AGENT: Final = "traffic_footprint_agent_"
_EXTENDER: Final = "traffic_footprint_extender_"
_RATE: Final = "[$__rate_interval]"
_WIDTH: Final = 24
_SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_CLUSTER: Final = "cluster"
_NO_CARRIER: Final = 'owner!="carrier"'
"""What tunnels carry has other owners already."""
_TABLE: Final = prometheus_models.PromQueryFormat.TABLE

Query = tuple[str, str]
"""PromQL, and what its series are called."""


class _Board:
    """One dashboard whose panels fill rows from left to right."""

    def __init__(self, name: str, title: str, text: str) -> None:
        self._board = (
            dashboard.Dashboard(f"Traffic Footprint / {title}")
            .uid(f"traffic-footprint-{name}")
            .description(text)
            .tags([TAG])
            .refresh("30s")
            .time("now-1h", "now")
            .timezone("browser")
            .readonly()
            .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
            .link(
                dashboard.DashboardLink("Traffic Footprint")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .as_dropdown(True)
                .keep_time(True)
            )
        )

        self._ids = itertools.count(1)

    def choose(self, name: str, label: str, metric: str) -> None:
        """A variable with the values of a label; the dashboard begins with all of them."""
        self._board.with_variable(
            dashboard.QueryVariable(name)
            .label(label.replace("_", " "))
            .datasource(_SOURCE)
            .query(f"label_values({metric}, {label})")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(models.VariableSort.NATURAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".+")
        )

    def row(self, title: str) -> None:
        self._board.with_row(dashboard.Row(title).id(next(self._ids)))

    def number(
        self, title: str, text: str, expression: str, *, unit: str = "short", bad: float | None = None
    ) -> None:
        """One figure; red from ``bad`` on."""
        steps = [models.Threshold(value=None, color="green")]
        if bad is not None:
            steps.append(models.Threshold(value=bad, color="red"))
        thresholds = dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)
        panel = (
            stat.Panel()
            .title(title)
            .description(text)
            .datasource(_SOURCE)
            .unit(unit)
            .thresholds(thresholds)
            .with_target(_target((expression, title), 0).instant())
        )
        self._board.with_panel(panel.id(next(self._ids)).span(_WIDTH // 4).height(4))

    def lines(
        self,
        title: str,
        text: str,
        *queries: Query,
        unit: str = "short",
        top: float | None = None,
        stacked: bool = False,
        third: bool = False,
    ) -> None:
        """Figures over time."""
        panel = timeseries.Panel().title(title).description(text).datasource(_SOURCE).unit(unit).min(0)
        panel.fill_opacity(30 if stacked else 10).show_points(common_models.VisibilityMode.NEVER)
        panel.legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        if top is not None:
            panel.max(top)
        if stacked:
            panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
        for number, query in enumerate(queries):
            panel.with_target(_target(query, number))
        self._board.with_panel(panel.id(next(self._ids)).span(_WIDTH // (3 if third else 2)).height(8))

    def rows(self, title: str, text: str, expression: str) -> None:
        """A table of the labels of an instant query."""
        panel = table.Panel().title(title).description(text).datasource(_SOURCE)
        panel.with_target(_target((expression, ""), 0).instant().format(_TABLE))
        self._board.with_panel(panel.id(next(self._ids)).span(_WIDTH // 2).height(8))

    def text(self) -> str:
        made = self._board.build()
        plain: Any = json.loads(json.dumps(made, cls=JSONEncoder, sort_keys=True))
        return json.dumps(plain, indent=1, sort_keys=True) + "\n"


def _target(query: Query, number: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(query[0]).legend_format(query[1])


def _share(what: str) -> str:
    """Of a link in the busier direction, by node."""
    return f"max by (node) ({_AGENT}link_{what}_bytes_per_second / {_AGENT}link_capacity_bytes_per_second)"


def _quantile(quantile: float, metric: str, by: str = "", where: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({quantile}, sum by ({labels}) (rate({metric}_bucket{where}{_RATE})))"


def _of_workload(metric: str) -> str:
    """The rate of a pod's counter by workload, in the namespaces chosen."""
    return (
        f"sum by (pod_namespace, workload) (sum by (uid) (rate({metric}{_RATE})) * on (uid) "
        f"group_left (pod_namespace, workload) max by (uid, pod_namespace, workload) ({_CHOSEN_PODS}))"
    )


_CHOSEN_PODS: Final = f'{_AGENT}pod_info{{pod_namespace=~"$namespace"}}'


def _cluster() -> _Board:
    board = _Board(
        _CLUSTER, "Cluster", "All nodes at a glance: what is known, what links carry, how well it is measured."
    )
    board.number("Nodes known", "Nodes whose figures steer placement.", f'max({_EXTENDER}nodes{{state="known"}})')
    board.number(
        "Nodes unknown",
        "Nodes that count as unknown: stale, malformed, without agent or capacity.",
        f'sum(max by (job, state) ({_EXTENDER}nodes{{state!="known"}}))',
        bad=1,
    )
    board.number("Agents", "Agents that are scraped.", f"count({_AGENT}build_info)")
    board.number("Elephants", "Elephant flows now.", f"sum({_AGENT}elephants)")
    board.row("Links")
    board.lines(
        "Elephants' share of the link, top 10",
        "Of the busier direction. What placement acts on.",
        (f"topk(10, {_share('elephant')})", "{{node}}"),
        unit="percentunit",
        top=1,
    )
    board.lines(
        "Use of the link, top 10",
        "All traffic, by the interface's own counters; the busier direction.",
        (f"topk(10, {_share('carried')})", "{{node}}"),
        unit="percentunit",
        top=1,
    )
    board.lines(
        "Traffic by owner",
        "Over the nodes' links. Unattributed should be small.",
        (
            f'sum by (owner) (rate({_AGENT}traffic_bytes_total{{direction!="local",{_NO_CARRIER}}}{_RATE}))',
            "{{owner}}",
        ),
        unit="Bps",
        stacked=True,
    )
    board.lines("Pods by class", "As measured.", (f"sum by (class) ({_AGENT}pods)", "{{class}}"), stacked=True)
    board.row("Health")
    board.lines(
        "Nodes by state",
        "As the extenders see them.",
        (f"max by (state) ({_EXTENDER}nodes)", "{{state}}"),
        stacked=True,
    )
    board.lines(
        "From an elephant's beginning to the annotation",
        "How soon the scheduler can know.",
        (_quantile(0.5, f"{_AGENT}crossing_to_annotation_seconds"), "median"),
        (_quantile(0.95, f"{_AGENT}crossing_to_annotation_seconds"), "95 %"),
        unit="s",
    )
    board.lines(
        "Coverage",
        "Bytes counted over bytes the links carried, where links carry enough to tell.",
        (f"min({_AGENT}coverage_ratio)", "least"),
        (f"quantile(0.5, {_AGENT}coverage_ratio)", "median"),
        unit="percentunit",
    )
    board.lines(
        "Measurements lost",
        "By kind; see Debug missing bytes.",
        (f"sum by (kind) (rate({_AGENT}losses_total{_RATE}))", "{{kind}}"),
    )
    board.lines(
        "Writes of Nodes",
        "The API server sends each to every watcher of Nodes.",
        (f"sum(rate({_AGENT}node_writes_total{_RATE}))", "written"),
        (f"sum(rate({_AGENT}node_write_failures_total{_RATE}))", "failed"),
        unit="ops",
    )
    board.rows(
        "Versions, kernels and sources",
        "How many agents have each.",
        f"count by (version, kernel, source) ({_AGENT}build_info)",
    )
    return board


def _node() -> _Board:
    board = _Board("node", "Node", "One node or several: link, traffic, and what measuring costs.")
    board.choose("node", "node", f"{_AGENT}build_info")
    at = '{node=~"$node"}'
    board.row("Link")
    board.lines(
        "Carried, and what the link can carry",
        "By the interface's own counters.",
        (f"{_AGENT}link_carried_bytes_per_second{at}", "{{node}} {{uplink}} {{direction}}"),
        (f"{_AGENT}link_capacity_bytes_per_second{at}", "{{node}} {{uplink}} {{direction}} capacity"),
        unit="Bps",
    )
    board.lines(
        "Elephants on the link",
        "What placement acts on.",
        (f"{_AGENT}link_elephant_bytes_per_second{at}", "{{node}} {{uplink}} {{direction}}"),
        unit="Bps",
    )
    board.lines(
        "Traffic by owner",
        "Local: between two ends on the node, and on no link.",
        (
            f'sum by (node, owner, direction) (rate({_AGENT}traffic_bytes_total{{node=~"$node",{_NO_CARRIER}}}'
            f"{_RATE}))",
            "{{node}} {{owner}} {{direction}}",
        ),
        unit="Bps",
        stacked=True,
    )
    board.lines(
        "Link full",
        "1 while an uplink is saturated in a direction: mice wait.",
        (f"{_AGENT}link_full{at}", "{{node}} {{uplink}} {{direction}}"),
        top=1,
    )
    board.row("Flows and pods")
    board.lines("Elephants", "Now.", (f"{_AGENT}elephants{at}", "{{node}}"), third=True)
    board.lines("Flows", "Tracked now.", (f"{_AGENT}flows{at}", "{{node}}"), third=True)
    board.lines(
        "Pods by class", "As measured.", (f"{_AGENT}pods{at}", "{{node}} {{class}}"), third=True, stacked=True
    )
    board.row("Measuring")
    board.lines(
        "Coverage",
        "Bytes counted over bytes the links carried.",
        (f"{_AGENT}coverage_ratio{at}", "{{node}}"),
        unit="percentunit",
        third=True,
    )
    board.lines(
        "Measurements lost",
        "By kind.",
        (f"rate({_AGENT}losses_total{at}{_RATE})", "{{node}} {{kind}}"),
        third=True,
    )
    board.lines(
        "Maps",
        "Entries over room.",
        (f"{_AGENT}map_entries{at} / {_AGENT}map_max_entries{at}", "{{node}} {{map}}"),
        unit="percentunit",
        top=1,
        third=True,
    )
    board.lines(
        "Time of a reading",
        "99th percentile.",
        (_quantile(0.99, f"{_AGENT}read_duration_seconds", "node", at), "{{node}}"),
        unit="s",
        third=True,
    )
    board.lines(
        "Processor time of the eBPF programs",
        "Cores. Stands still unless the kernel counts (kernel.bpf_stats_enabled).",
        (f"sum by (node, program) (rate({_AGENT}program_run_seconds_total{at}{_RATE}))", "{{node}} {{program}}"),
        third=True,
    )
    board.lines(
        "Processor time of the agent",
        "Cores.",
        (f"rate(process_cpu_seconds_total{at}{_RATE}) and on (job, instance) {_AGENT}build_info", "{{node}}"),
        third=True,
    )
    board.row("API server")
    board.lines(
        "Age of what is known of the pods",
        "A bookmark comes every minute.",
        (f"{_AGENT}watch_age_seconds{at}", "{{node}}"),
        unit="s",
        third=True,
    )
    board.lines(
        "Waiting to be written",
        "For how long.",
        (f"{_AGENT}write_pending_seconds{at}", "{{node}}"),
        unit="s",
        third=True,
    )
    board.lines(
        "Heartbeats",
        "One a minute is normal.",
        (f"rate({_AGENT}lease_renewals_total{at}{_RATE}) * 60", "{{node}} a minute"),
        third=True,
    )
    return board


def _workloads() -> _Board:
    board = _Board(
        "workloads", "Workloads", "Needs series of single pods: nodeagent.settings.podMetrics of the chart."
    )
    board.choose("namespace", "pod_namespace", f"{_AGENT}pod_info")
    board.number(
        "Workloads learned", "Workloads with a footprint that steers placement.", f"max({_EXTENDER}workloads)"
    )
    board.number("Pods waiting", "Without a node.", f"max({_EXTENDER}pods_waiting)")
    board.number("Pods predicted", "On nodes, and not measured yet.", f"max({_EXTENDER}pods_predicted)")
    board.number(
        "Pods without series",
        "Above 0: raise nodeagent.settings.podMetrics.",
        f"sum({_AGENT}pods_without_series)",
        bad=1,
    )
    link = f'{_AGENT}pod_traffic_bytes_total{{direction!="local"}}'
    name = "{{pod_namespace}} {{workload}}"
    board.lines(
        "Traffic over links, top 20 workloads",
        "Both directions.",
        (f"topk(20, {_of_workload(link)})", name),
        unit="Bps",
        stacked=True,
    )
    board.lines(
        "By elephants, top 20 workloads",
        "Both directions.",
        (f"topk(20, {_of_workload(f'{_AGENT}pod_elephant_bytes_total')})", name),
        unit="Bps",
        stacked=True,
    )
    board.lines(
        "Inside nodes, top 20 workloads",
        "Between two ends on one node: on no link.",
        (f"""topk(20, {_of_workload(f'{_AGENT}pod_traffic_bytes_total{{direction="local"}}')})""", name),
        unit="Bps",
        stacked=True,
    )
    board.lines(
        "Demand known from",
        "Of pods that kube-scheduler asked about.",
        (f"sum by (origin, class) (rate({_EXTENDER}demands_total{_RATE}))", "{{origin}}: {{class}}"),
        unit="ops",
        stacked=True,
    )
    board.rows(
        "Pods by workload and class", "As measured.", f"count by (pod_namespace, workload, class) ({_CHOSEN_PODS})"
    )
    board.lines(
        "Traffic over links, top 20 pods",
        "Both directions.",
        (
            f"topk(20, sum by (uid) (rate({link}{_RATE})) * on (uid) group_left (pod_namespace, pod_name) "
            f"max by (uid, pod_namespace, pod_name) ({_CHOSEN_PODS}))",
            "{{pod_namespace}} {{pod_name}}",
        ),
        unit="Bps",
    )
    return board


def _extender() -> _Board:
    board = _Board(
        "extender", "Extender", "How kube-scheduler's requests are answered, and what the answers rest on."
    )
    failed = f'{_EXTENDER}requests_total{{result=~"failed|late|shed"}}'
    board.number("Replicas", "Extenders that are scraped.", f"count({_EXTENDER}build_info)")
    board.number("Requests", "A second.", f"sum(rate({_EXTENDER}requests_total{_RATE}))", unit="ops")
    board.number(
        "Fail open",
        "Requests answered as if nothing were known.",
        f"sum(rate({failed}{_RATE})) / sum(rate({_EXTENDER}requests_total{_RATE}))",
        unit="percentunit",
        bad=0.01,
    )
    board.number("Learner", "Replicas that write TrafficFootprints: 1.", f"sum({_EXTENDER}learning_leads)")
    board.row("Requests")
    board.lines(
        "Requests by result",
        "ok: answered by what is known.",
        (f"sum by (verb, result) (rate({_EXTENDER}requests_total{_RATE})) > 0", "{{verb}} {{result}}"),
        unit="ops",
        stacked=True,
    )
    board.lines(
        "Time to answer",
        "kube-scheduler waits for it.",
        (_quantile(0.5, f"{_EXTENDER}request_duration_seconds", "verb"), "{{verb}} median"),
        (_quantile(0.99, f"{_EXTENDER}request_duration_seconds", "verb"), "{{verb}} 99 %"),
        unit="s",
    )
    board.lines(
        "Candidates dropped",
        "Nodes that filters rejected, summed over requests.",
        (f"sum by (placement) (rate({_EXTENDER}rejected_nodes_total{_RATE}))", "{{placement}}"),
        third=True,
    )
    board.lines(
        "Strict pods relaxed",
        "They had waited too long.",
        (f"sum(rate({_EXTENDER}relaxed_requests_total{_RATE}))", "requests"),
        third=True,
    )
    board.lines(
        "Shadow mode",
        "Pods by what acting would have done. Empty in other modes.",
        (f"sum by (outcome) ({_EXTENDER}shadow_pods_total)", "{{outcome}}"),
        third=True,
    )
    board.row("What answers rest on")
    board.lines(
        "Age of what is known",
        "A bookmark comes every minute.",
        (f"max by (resource) ({_EXTENDER}watch_age_seconds)", "{{resource}}"),
        unit="s",
        third=True,
    )
    board.lines(
        "Watches opened",
        "One in four to eight minutes is normal.",
        (f"sum by (resource) (increase({_EXTENDER}watch_connects_total[5m]))", "{{resource}}"),
        third=True,
    )
    board.lines(
        "Nodes by state",
        "Everything but known scores in the middle, and never filters.",
        (f"max by (state) ({_EXTENDER}nodes)", "{{state}}"),
        stacked=True,
        third=True,
    )
    board.row("Learning, certificates, cost")
    board.lines(
        "TrafficFootprints",
        "Seen, and written.",
        (f"max({_EXTENDER}learning_objects)", "objects"),
        (f"sum by (kind) (rate({_EXTENDER}learning_writes_total{_RATE})) * 60", "{{kind}} a minute"),
        third=True,
    )
    board.lines(
        "Certificates end in",
        "The server's chain, and the CA of its clients.",
        (f"min by (which) ({_EXTENDER}certificate_not_after_timestamp_seconds) - time()", "{{which}}"),
        unit="s",
        third=True,
    )
    board.lines(
        "Processor time and memory",
        "Cores, and bytes on the right.",
        (
            f"rate(process_cpu_seconds_total{_RATE}) and on (job, instance) {_EXTENDER}build_info",
            "{{instance}} cores",
        ),
        third=True,
    )
    return board


_BOARDS: Final[Mapping[str, Callable[[], _Board]]] = {
    _CLUSTER: _cluster,
    "node": _node,
    "workloads": _workloads,
    "extender": _extender,
}


def files() -> dict[str, str]:
    """Each dashboard's JSON by its file name."""
    return {f"{name}.json": made().text() for name, made in _BOARDS.items()}


def queries(text: str) -> Iterator[tuple[str, str]]:
    """(title of the panel, PromQL) of a dashboard's JSON, rows' panels included."""
    for panel in _panels(json.loads(text)["panels"]):
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


def _panels(found: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for panel in found:
        yield panel
        yield from _panels(panel.get("panels") or [])
