# SPDX-License-Identifier: Apache-2.0
"""What the chart ships for Prometheus and Grafana, before a real Prometheus that scrapes both programs.

One agent counts by ctnetlink, and one by an eBPF program, whose runs the kernel can count. One extender decides.
Another one only watches, with certificates and a port for metrics.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from footprint.keys import POD_CLASS, POD_PLACEMENT
from lab import programs
from lab.controlplane import pki
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4
from lab.programs import EXTENDER_PORT
from lab.prometheus import binaries, dashboards
from lab.traffic import argv
from nodeagent.sources.cgroup.root import USUAL
from tests.cluster.conftest import logs_of
from tests.cluster.conftest import running as lab_running
from tests.cluster.support.prometheus import RULES, Prometheus, prometheus
from tests.cluster.support.workloads import _text as page
from tests.cluster.support.workloads import created, eventually, get, pod, running

pytestmark = pytest.mark.cluster

BUSY, MEASURED_BY_EBPF = "node1", "node2"
OBSERVING_PORT, OBSERVING_PAGES = 8895, 8896
SERIES = re.compile(r"\b(?:up\b|(?:\w+:)?traffic_footprint_[\w:]*)")
"""Names of series in an expression."""
VARIABLES = {"$__rate_interval": "5m", "$node": ".+", "$namespace": ".+"}
"""As long as the lab lives: what happened once has a rate."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Two nodes, of which one is soon unknown when its agent is gone."""
    yield from lab_running(
        LabConfig(
            nodes=2, agent_args=("--lease-renew", "2"),
            extender_args=("--stale-after", "8", "--learn-interval", "2"), keep_dir=logs_of("test_prometheus"),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path]:
    """One of its own, in which nothing runs: the source must not see the whole machine."""
    tree = next(path for path in USUAL if (path / "cgroup.controllers").exists())
    made = tree / f"traffic-footprint-test-prometheus-{os.getpid()}"
    made.mkdir()
    yield made
    made.rmdir()


def count_at_sockets(lab: Lab, cgroup: Path) -> None:
    """Start the agent of a node as one with eBPF programs. It needs this process's mounts: ``ip netns exec`` hides
    those below /sys."""
    spec = next(node for node in lab.config.node_specs if node.name == MEASURED_BY_EBPF)
    flags = (*lab.config.agent_args, "--source", "ebpf-cgroup", "--cgroup-root", str(cgroup))
    command = programs.agent(spec, lab._agent_kubeconfigs[spec.name], flags)
    here = f"--mount=/proc/{os.getpid()}/ns/mnt"
    lab.spawn_in(spec.name, ["nsenter", here, "--", *command], name=f"nodeagent-{spec.name}")


@pytest.fixture(scope="module")
def server(lab: Lab, cgroup: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """After an elephant began, and pods were placed."""
    lab.stop_agent(MEASURED_BY_EBPF)
    count_at_sockets(lab, cgroup)
    keys = pki.create(tmp_path_factory.mktemp("pki") / "keys", ["DNS:localhost"])
    pki.issue_server(keys, "server", ["DNS:localhost"])
    observing = (
        "--shadow", "--metrics-port", str(OBSERVING_PAGES), "--tls-cert", str(keys.certificate("server")),
        "--tls-key", str(keys.key("server")), "--client-ca", str(keys.ca),
    )  # fmt: skip
    replica = lab.start_replica("observing", OBSERVING_PORT, observing)
    extenders = [f"127.0.0.1:{port}" for port in (EXTENDER_PORT, OBSERVING_PAGES)]
    lab.spawn_in("outside", argv("sink"), name="sink")
    mouse = {POD_CLASS: "mouse", POD_PLACEMENT: "strict"}
    try:
        with prometheus(lab, tmp_path_factory.mktemp("prometheus"), extenders) as found:
            eventually("all are scraped", lambda: len(found.query("up == 1")) == 4, 60)
            elephant = pod("elephant", argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "150M"), node=BUSY)
            with running(lab, elephant):
                eventually("it is published", lambda: found.query(f"{BUSIEST} > 0.5"), 60)
                with created(lab, *(pod(f"mouse{n}", ["sleep", "600"], annotations=mouse) for n in range(3))):
                    yield found
    finally:
        replica.stop(signal.SIGKILL)
        lab.stop_agent(MEASURED_BY_EBPF)


BUSIEST = f'node:traffic_footprint_link_elephants:ratio{{node="{BUSY}"}}'


def filled(query: str) -> str:
    """A panel's query as Grafana sends it when everything is chosen."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


def test_promtool_finds_nothing_wrong_with_what_the_two_programs_say(server: Prometheus) -> None:
    targets = [target["scrapeUrl"] for target in server.ask("targets")["activeTargets"]]
    assert len(targets) == 4
    for target in targets:
        text = page(target)
        assert text.count("# TYPE traffic_footprint_") > 30
        assert binaries.metrics_problems(text.encode()) == "", target


@pytest.mark.parametrize("name", sorted(dashboards.files()))
def test_every_panels_query_returns_figures(server: Prometheus, name: str) -> None:
    queries = {title: filled(query) for title, query in dashboards.queries(dashboards.files()[name])}
    assert len(queries) >= 10
    empty: set[str] = set()

    def complete() -> bool:
        nonlocal empty
        empty = {f"{title}: {query}" for title, query in queries.items() if not server.figures(query)}
        return not empty

    try:
        eventually(f"{name} is complete", complete, 40)
    except AssertionError:
        pytest.fail("panels without figures:\n" + "\n".join(sorted(empty)), pytrace=False)


def test_how_soon_the_elephant_was_published_is_known(server: Prometheus) -> None:
    name = "traffic_footprint_agent_crossing_to_annotation_seconds"
    [count] = server.figures(f'{name}_count{{node="{BUSY}"}}')
    [seconds] = server.figures(f'{name}_sum{{node="{BUSY}"}}')
    assert count >= 1
    assert 0 < seconds / count < 30


def test_every_rule_is_evaluated_and_everything_that_it_reads_is_there(server: Prometheus) -> None:
    def evaluated() -> bool:
        groups = server.ask("rules")["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    eventually("every rule was evaluated, and none failed", evaluated)
    files = [yaml.safe_load(path.read_text()) for path in RULES]
    rules = [rule for file in files for group in file["groups"] for rule in group["rules"]]
    assert len(rules) > 20
    for rule in rules:
        names = set(SERIES.findall(rule["expr"])) - {"traffic_footprint_"}
        assert names or "__name__" in rule["expr"], rule
        for name in names:
            eventually(f"there is a series {name}", lambda name=name: server.query(f"count({name})"))  # type: ignore[misc]


def test_an_alert_fires_for_an_agent_that_stops_and_resolves_once_it_is_back(lab: Lab, server: Prometheus) -> None:
    assert server.firing("TrafficFootprintAgentDown") == []
    assert server.firing("TrafficFootprintNodesUnknown") == []
    lab.stop_agent(BUSY)
    try:
        [fires] = eventually("it fires", lambda: server.firing("TrafficFootprintAgentDown"), 60)
        assert (fires["node"], fires["severity"]) == (BUSY, "warning")
        [unknown] = eventually("the extender misses it", lambda: server.firing("TrafficFootprintNodesUnknown"), 60)
        assert unknown["state"] == "stale"
    finally:
        lab.start_agent(BUSY)
    eventually("it resolves", lambda: not server.firing("TrafficFootprintAgentDown"), 60)
    eventually("the node is known", lambda: not server.firing("TrafficFootprintNodesUnknown"), 60)
    assert get(lab, "pod", "elephant")["status"]["phase"] == "Running"
