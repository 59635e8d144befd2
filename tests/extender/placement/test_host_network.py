# SPDX-License-Identifier: Apache-2.0
"""A pod on the node's network leaves by the default route's uplink: it is judged by that one, not by the worst."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from extender.model.pods import PodInfo, decode_pod
from extender.model.snapshot import NodeFacts, NodeView, view_node
from extender.placement.explain import explain
from extender.placement.filtering import filter_nodes
from extender.placement.scoring import score_nodes
from extender.placement.tables import Tables
from footprint.codec import decode, encode
from footprint.declared import PlacementMode
from footprint.models import LinkRates, NodeFootprint, Uplink
from footprint.staleness import LastRenewal
from tests.extender.builders import LINK, STALE_AFTER, M, cluster, elephant, footprint, patient, pod_json, view

BOTH = LinkRates(LINK, LINK)
BUSY, IDLE = LinkRates(180 * M, 0.0), LinkRates()


def node(name: str, *, worst: str = "eth1", home: str = "eth0", **of_home: Any) -> NodeView:
    """Elephants fill eth1; eth0 is free."""
    links = (
        Uplink("eth0", **{"cap": BOTH, "by": "driver", **of_home}),
        Uplink("eth1", cap=BOTH, by="driver", el=BUSY),
    )
    found: NodeFootprint = replace(
        footprint(elephant("e", 180 * M)), up=worst, by="driver", el=BUSY, uplinks=links, home=home
    )
    found = decode(encode(found).text)
    return view_node(NodeFacts(name, found, "", LastRenewal("1", 0.0)), 0.0, STALE_AFTER)


def pod(*, host: bool, cls: str = "mouse") -> PodInfo:
    raw = pod_json(annotations={"traffic-footprint.io/class": cls})
    raw["spec"]["hostNetwork"] = host
    return decode_pod(raw)


@pytest.mark.parametrize("cls", ["mouse", "elephant"])
def test_only_a_pod_on_the_nodes_network_is_judged_by_the_default_routes_uplink(cls: str) -> None:
    snapshot = cluster(node("two"), view("full", elephant("f", 180 * M)), view("free"))
    names = ["two", "full", "free"]
    passed = {
        host: filter_nodes(names, snapshot.demand(pod(host=host, cls=cls)), PlacementMode.PREFER, snapshot).passed
        for host in (True, False)
    }
    assert passed == {True: ["two", "free"], False: ["free"]}
    scores = {
        host: score_nodes(names, snapshot.demand(pod(host=host, cls=cls)), snapshot) for host in (True, False)
    }
    assert scores[True][0] > scores[True][1]
    assert scores[False][0] == scores[False][1]


@pytest.mark.parametrize(
    "seen",
    [
        node("n", home=""),
        node("n", home="gone"),
        node("n", worst="eth0"),
        node("n", cap=LinkRates()),
        view("n", elephant("e", 180 * M)),
    ],
    ids=["an older agent", "not among the uplinks", "the same", "its capacity is not known", "one uplink"],
)
def test_where_it_is_not_known_the_worst_counts(seen: NodeView) -> None:
    assert seen.home is None
    demand = cluster(seen).demand(pod(host=True))
    assert seen.met_by(demand) is seen


def test_tables_keep_both_kinds_apart() -> None:
    snapshot = cluster(node("two"), view("free"))
    tables = Tables(lambda: 0.0)
    for _ in range(2):
        for host, expected in ((True, ["two", "free"]), (False, ["free"])):
            demand = snapshot.demand(pod(host=host))
            answer = tables.filter(["two", "free"], demand, PlacementMode.PREFER, snapshot, 1e9)
            assert orjson.loads(answer.body)["NodeNames"] == expected


@pytest.mark.parametrize(
    ("shared", "passed"), [({}, ["two", "free"]), ({"wire": BUSY, "wire_el": BUSY}, ["free"])]
)
def test_elephants_of_another_uplink_on_its_wire_count(shared: dict[str, Any], passed: list[str]) -> None:
    snapshot = cluster(node("two", **shared), view("free"))
    demand = snapshot.demand(pod(host=True))
    assert filter_nodes(["two", "free"], demand, PlacementMode.PREFER, snapshot).passed == passed


def test_what_changes_on_the_default_routes_uplink_alone_is_a_change() -> None:
    assert not node("n").judged_like(node("n", el=IDLE + LinkRates(50 * M, 0.0)))
    assert node("n").judged_like(node("n"))
    assert not node("n").judged_like(node("n", home=""))


def test_explain_shows_the_uplink_that_it_judged_by() -> None:
    snapshot = cluster(node("two"))
    by_host = {
        host: explain(pod(host=host), ["two"], snapshot, patient(), 0.0)["nodes"]["two"]["link"]["u_tx"]
        for host in (True, False)
    }
    assert by_host == {True: 0.0, False: pytest.approx(0.9)}


@pytest.mark.parametrize("value", [True, False, None, "true", [1]])
def test_only_true_is_the_nodes_network(value: object) -> None:
    raw = pod_json()
    raw["spec"]["hostNetwork"] = value
    assert decode_pod(raw).host_network is (value is True)


def test_a_demand_says_so_and_nothing_else_changes() -> None:
    snapshot = cluster()
    plain, by_host = snapshot.demand(pod(host=False)), snapshot.demand(pod(host=True))
    assert by_host == replace(plain, by_default_route=True) != plain
