# SPDX-License-Identifier: Apache-2.0
"""A node whose numbers cannot be handled is unknown, and costs no other node anything."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from structlog.testing import capture_logs

from extender.model.cost import LinkLoad
from extender.model.demand import Demand, Origin
from extender.model.snapshot import NodeState, NodeView
from extender.placement.explain import explain
from extender.placement.filtering import filter_nodes
from extender.placement.node_verdict import judge
from extender.placement.scoring import NEUTRAL, score_nodes
from extender.placement.tables import Tables
from footprint.classes import TrafficClass
from footprint.declared import Declared, PlacementMode
from tests.extender.builders import M, cluster, elephant, mouse, patient, pod_info, view

AN_ELEPHANT = Demand(TrafficClass.ELEPHANT, 150 * M, 150 * M, origin=Origin.DECLARED)
DENORMAL = LinkLoad(0.0, 5e-324, rx=1.0)
"""Past the codec, which refuses such a capacity."""
BROKEN = replace(view("broken"), link=DENORMAL)
OTHERS = (view("free"), view("busy", elephant("e")), view("mice", mouse("m"), mouse("n")))
NAMES = [node.name for node in OTHERS]


def names_with(*nodes: NodeView) -> list[str]:
    return [node.name for node in nodes]


def test_whatever_a_nodes_numbers_raise_stays_with_that_node() -> None:
    judged = judge(AN_ELEPHANT, BROKEN)
    assert (judged.known, judged.reason, judged.cost) == (False, None, None)
    assert "ZeroDivisionError" in judged.error or "OverflowError" in judged.error


@pytest.mark.parametrize("mode", PlacementMode)
def test_the_others_are_filtered_and_scored_as_if_it_were_not_there(mode: PlacementMode) -> None:
    without, with_it = cluster(*OTHERS), replace(cluster(*OTHERS, BROKEN), version=1)
    asked = [*NAMES, "broken"]
    expected = filter_nodes(NAMES, AN_ELEPHANT, mode, without)
    found = filter_nodes(asked, AN_ELEPHANT, mode, with_it)
    assert (found.passed, found.rejected) == ([*expected.passed, "broken"], expected.rejected)
    assert score_nodes(asked, AN_ELEPHANT, with_it) == [*score_nodes(NAMES, AN_ELEPHANT, without), NEUTRAL]


def test_tables_count_it_and_log_it_once_a_minute() -> None:
    now, snapshot, asked = [0.0], cluster(*OTHERS, BROKEN), [*NAMES, "broken"]
    tables = Tables(lambda: now[0])
    with capture_logs() as logs:
        for rate in range(1, 4):
            demand = replace(AN_ELEPHANT, tx=rate * 50 * M)
            answer = tables.filter(asked, demand, PlacementMode.STRICT, snapshot, 1e9)
            assert "broken" in orjson.loads(answer.body)["NodeNames"]
            scores = {
                s["Host"]: s["Score"] for s in orjson.loads(tables.prioritize(asked, demand, snapshot, 1e9).body)
            }
            assert scores == dict(zip(asked, score_nodes(asked, demand, snapshot), strict=True))
        assert (tables.failures, len(logs)) == (3, 1)
        now[0] = 61.0
        tables.filter(asked, replace(AN_ELEPHANT, tx=1 * M), PlacementMode.STRICT, snapshot, 1e9)
    assert (tables.failures, len(logs)) == (4, 2)


def test_an_explanation_names_what_failed() -> None:
    pod = pod_info("p", declared=Declared(TrafficClass.ELEPHANT, 150 * M))
    told = explain(pod, [*NAMES, "broken"], cluster(*OTHERS, BROKEN), patient(), 0.0)["nodes"]
    assert told["broken"]["state"] == NodeState.FAILED
    assert "Error" in told["broken"]["why"]
    assert (told["broken"]["passes"], told["broken"]["score"]) == (True, NEUTRAL)
    assert told["free"]["state"] == NodeState.KNOWN
