# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from footprint.codec import encode
from footprint.keys import lease_name
from footprint.models import LinkRates, NodeFootprint, Uplink
from plugin.listing.columns import NODES, Pod, pods_kind
from plugin.listing.gathering import Node
from plugin.output.flags import Form
from plugin.output.listing import rendered
from plugin.published import Heartbeat, Published, heartbeats, published
from tests.extender.builders import M, annotation, elephant, footprint, mouse, node_json

NOW = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


def lines(table: Table) -> list[list[str]]:
    """Rows as printed, split at runs of two and more spaces."""
    out = io.StringIO()
    Console(file=out, width=10_000).print(table)
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.getvalue().splitlines()]


def nodes_table(nodes: list[Published], beats: dict[str, Heartbeat]) -> Table:
    table = rendered([Node(one, beats.get(one.name)) for one in nodes], NODES, Form())
    assert isinstance(table, Table)
    return table


def pods_table(nodes: list[Published], namespace: str | None) -> Table:
    rows = [
        Pod(pod, Node(one, None))
        for one in nodes
        for pod in (one.footprint.pods if one.footprint else ())
        if namespace in (None, pod.ns)
    ]
    table = rendered(rows, pods_kind(all_namespaces=True), Form())
    assert isinstance(table, Table)
    return table


def lease(node: str, renewed: object) -> dict[str, Any]:
    return {"metadata": {"name": lease_name(node)}, "spec": {"renewTime": renewed}}


def test_nodes_show_their_link_their_pods_and_their_source() -> None:
    nodes = [published(node_json("a", annotation(elephant("e", tx=150 * M), mouse("m"), mouse("n"))))]
    row = lines(nodes_table(nodes, {"a": Heartbeat("2026-01-01T12:00:18Z", 12.0)}))[1]
    assert row == ["a", "75 %", "200 Mbit/s", "1 elephant, 2 mouse", "ctnetlink", "ok", "12 s ago"]


def test_a_node_with_several_uplinks_shows_each_below() -> None:
    links = (
        Uplink("eth0", LinkRates(1e9, 1e9), el=LinkRates(0, 1e7)),
        Uplink("eth1", LinkRates(2e8, 2e8), el=LinkRates(1.5e8, 0), full=("tx",)), Uplink("eth2"),
    )  # fmt: skip
    several = NodeFootprint("ctnetlink", LinkRates(2e8, 2e8), el=LinkRates(1.5e8, 0), up="eth1", uplinks=links)
    rows = lines(nodes_table([published(node_json("a", encode(several).text))], {}))
    assert [row[0] for row in rows[1:]] == ["a", "└ eth0", "└ eth1", "└ eth2"]
    assert rows[1][:3] == ["a", "75 %", "200 Mbit/s"]
    assert rows[2:] == [
        ["└ eth0", "1 %", "1 Gbit/s"],
        ["└ eth1", "90 %", "200 Mbit/s", "full in tx"],
        ["└ eth2", "?", "capacity unknown"],
    ]


@pytest.mark.parametrize(
    ("text", "problem"), [(None, "no footprint yet"), ("{", "malformed footprint (not-json)")]
)
def test_a_node_without_a_footprint_says_why(text: str | None, problem: str) -> None:
    row = lines(nodes_table([published(node_json("a", text))], {}))[1]
    assert row[-2].startswith(problem)
    assert row[-1] == "none"


def test_a_node_of_unknown_capacity_shows_no_share() -> None:
    assert "capacity unknown" in lines(nodes_table([published(node_json("a", annotation(cap=0.0)))], {}))[1]


@pytest.mark.parametrize(
    ("said", "link", "health"),
    [
        ({"by": "stated"}, "200 Mbit/s stated", "ok"),
        ({"by": "estimated", "sure": 0.91, "full": ("tx",)}, "200 Mbit/s estimated 91%", "link full in tx"),
        (
            {"by": "assumed", "full": ("tx", "rx"), "bad": ("x",)},
            "200 Mbit/s assumed",
            "link full in tx and rx, x",
        ),
    ],
)
def test_a_node_shows_where_its_capacity_comes_from_and_that_its_link_is_full(
    said: dict[str, Any], link: str, health: str
) -> None:
    text = encode(replace(footprint(mouse("m")), **said)).text
    row = lines(nodes_table([published(node_json("a", text))], {}))[1]
    assert (row[2], row[5]) == (link, health)


def test_pods_can_be_limited_to_a_namespace() -> None:
    nodes = [published(node_json("a", annotation(elephant("e"), mouse("m", ns="web")))), published(node_json("b"))]
    assert [row[1] for row in lines(pods_table(nodes, None))[1:]] == ["e", "m"]
    assert [row[1] for row in lines(pods_table(nodes, "web"))[1:]] == ["m"]


def test_heartbeats_are_read_leniently() -> None:
    leases = [
        lease("a", "2026-01-01T12:00:00.000000Z"),
        lease("b", "yesterday"),
        lease("c", "2026-01-01T12:00:00"),  # no zone: cannot be compared
        lease("d", "2026-01-01T13:00:00.000000Z"),  # their clock is ahead
        lease("e", None),
        {"metadata": {"name": "kube-scheduler"}, "spec": {}},
    ]
    told = {node: beat.text for node, beat in heartbeats(leases, NOW).items()}
    assert told == {"a": "30 s ago", "b": "unreadable", "c": "unreadable", "d": "0 s ago"}
