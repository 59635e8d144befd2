# SPDX-License-Identifier: Apache-2.0
"""What one node's annotation says costs that node alone, over the whole contract.

Two things are sums over nodes on purpose, and held apart here: what a workload's pods were measured to do (the pod
that is placed belongs to a namespace that no annotation names), and how scarce links without mice are (a mouse's
scores are compared where scarcity is alike).
"""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extender.cluster.node_entry import LeaseInfo, NodeInfo
from extender.cluster.state import ClusterState
from extender.model.snapshot import NodeState, Snapshot
from extender.placement.explain import explain
from extender.placement.tables import Tables
from footprint.classes import TrafficClass
from footprint.codec import decode, encode
from footprint.declared import Declared, PlacementMode
from footprint.models import LinkRates, NodeFootprint
from footprint.units import MAX_RATE, MIN_RATE
from tests.extender.builders import M, annotation, elephant, mouse, patient, pod_info
from tests.footprint import strategies

HONEST = {
    "free": annotation(), "busy": annotation(elephant("e", tx=190 * M)),
    "half": annotation(elephant("h", tx=100 * M), mouse("x")), "mouse": annotation(mouse("y")),
    "mice": annotation(*(mouse(f"m{n}", nf=50) for n in range(3))),
}  # fmt: skip
NAMES = [*HONEST]
LIAR = "liar"

extremes = st.sampled_from([0.0, 5e-324, 1e-300, 1e-9, 0.5, MIN_RATE, 1.0000001, 1e9, MAX_RATE])
wild_rates = extremes | strategies.rates
wild_json = st.fixed_dictionaries({"tx": wild_rates, "rx": wild_rates})
wild_pods = st.builds(
    lambda pod, tx, rx, etx, erx: {
        **{name: getattr(pod, name) for name in pod.__slots__}, "tx": tx, "rx": rx, "etx": etx, "erx": erx
    },
    strategies.pods, wild_rates, wild_rates, wild_rates, wild_rates,
)  # fmt: skip


@st.composite
def any_annotation(draw: st.DrawFn) -> str:
    """A footprint of any content that the contract allows, or near it; not quantised by our encoder."""
    pods = [{**pod, "cls": pod["cls"].value} for pod in draw(st.lists(wild_pods, max_size=6))]
    rest = {name: draw(wild_json) for name in ("cap", "el", "un", "host")}
    return json.dumps({
        "v": 1, "src": "e", **rest, "pods": pods,
        "ended": [{**pod, "cls": pod["cls"].value} for pod in draw(st.lists(wild_pods, max_size=3))],
        "cut": draw(st.sampled_from([0, 1, 2**53])),
    })  # fmt: skip


demands = st.sampled_from([
    Declared(TrafficClass.ELEPHANT, 150 * M), Declared(TrafficClass.ELEPHANT, MIN_RATE),
    Declared(TrafficClass.ELEPHANT, MAX_RATE), Declared(TrafficClass.ELEPHANT), Declared(TrafficClass.MOUSE),
])  # fmt: skip


def snapshot(text: str) -> Snapshot:
    """A cluster of honest nodes, and one that says ``text``."""
    state = ClusterState(stale_after=180.0, clock=lambda: 100.0)
    state.put_nodes([NodeInfo(name, said) for name, said in {**HONEST, LIAR: text}.items()])
    for name in (*HONEST, LIAR):
        state.put_lease(LeaseInfo(name, "1"))
    state.apply()
    return state.snapshot


def responses(seen: Snapshot, declared: Declared, mode: PlacementMode) -> list[bytes]:
    """Filter and prioritize about the honest nodes."""
    tables, pod = Tables(), pod_info("asked", ns="asked-only", declared=declared)
    demand = seen.demand(pod)
    filtered = tables.filter(NAMES, demand, mode, seen, 1e18)
    scored = tables.prioritize(NAMES, demand, seen, 1e18)
    assert tables.failures == 0, "within the contract nothing fails, also at the liar"
    tables.filter([*NAMES, LIAR], demand, mode, seen, 1e18)
    tables.prioritize([*NAMES, LIAR], demand, seen, 1e18)
    assert tables.failures == 0
    return [filtered.body, scored.body]


BESIDE_NOTHING = snapshot("")


@given(any_annotation(), demands, st.sampled_from(PlacementMode))
@example(json.dumps({"v": 1, "src": "e", "cap": {"tx": 0, "rx": 5e-324}, "el": {"rx": 1}}),
         Declared(TrafficClass.ELEPHANT, 150 * M), PlacementMode.PREFER)  # fmt: skip
def test_no_annotation_changes_another_nodes_verdict(text: str, declared: Declared, mode: PlacementMode) -> None:
    seen = snapshot(text)
    for name in NAMES:
        assert seen.nodes[name] == BESIDE_NOTHING.nodes[name]
    if declared.cls is TrafficClass.ELEPHANT or seen.scarce == BESIDE_NOTHING.scarce:
        assert responses(seen, declared, mode) == responses(BESIDE_NOTHING, declared, mode)


@given(st.fixed_dictionaries({"cap": wild_json, "el": wild_json}), demands, st.sampled_from(PlacementMode))
def test_no_capacity_changes_how_scarce_links_are(
    said: dict[str, Any], declared: Declared, mode: PlacementMode
) -> None:
    honest = snapshot(annotation())
    assert honest.scarce
    seen = snapshot(json.dumps({"v": 1, "src": "e", **said}))
    if seen.nodes[LIAR].known:  # else one link less is known
        assert seen.scarce == honest.scarce
        assert responses(seen, declared, mode) == responses(honest, declared, mode)


@given(any_annotation(), demands)
def test_every_annotation_can_be_explained(text: str, declared: Declared) -> None:
    pod = pod_info("asked", ns="asked-only", declared=declared)
    told = explain(pod, [*NAMES, LIAR], snapshot(text), patient(), 100.0)
    orjson.dumps(told)
    assert {told["nodes"][name]["state"] for name in NAMES} == {NodeState.KNOWN}
    assert told["nodes"][LIAR]["state"] != NodeState.FAILED


@pytest.mark.parametrize("capacity", [5e-324, 1e-9, 0.98])
def test_a_capacity_below_one_bit_a_second_is_not_known(capacity: float) -> None:
    said = NodeFootprint(src="e", cap=LinkRates(capacity, 0.0))
    raw = json.dumps({"v": 1, "src": "e", "cap": {"tx": capacity, "rx": 0}})
    assert decode(raw).cap == LinkRates() == decode(encode(said).text).cap
    assert snapshot(raw).nodes[LIAR].state is NodeState.NO_CAPACITY
