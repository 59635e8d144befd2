"""kube-scheduler asks the extender and obeys it; nothing that goes wrong with us stops it."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from footprint.keys import NODE_ELEPHANT_SHARE, NODE_FOOTPRINT, POD_CLASS, POD_EXPECTED_BANDWIDTH, POD_PLACEMENT
from lab.lab import Lab
from lab.network.addresses import OUTSIDE_V4
from lab.traffic import argv
from tests.cluster.workloads import (
    created,
    eventually,
    extender_metrics,
    footprint,
    get,
    owner_bytes,
    pod,
    running,
)

pytestmark = pytest.mark.cluster

BUSY = ("node1", "node2", "node3")
FREE = "node4"
MOUSE = {POD_CLASS: "mouse"}


def sleeper(name: str, **values: Any) -> dict[str, Any]:
    return pod(name, ["sleep", "600"], **values)


@pytest.fixture(scope="module")
def busy(lab: Lab) -> Iterator[Lab]:
    """Elephants fill three of four links, and the Nodes say so."""
    lab.spawn_in("outside", argv("sink"), name="sink")
    elephants = [
        pod(f"elephant-{node}", argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "150M"), node=node)
        for node in BUSY
    ]
    with running(lab, *elephants):
        for node in BUSY:
            eventually(f"{node} is annotated", lambda node=node: share(lab, node) >= 60, 30)  # type: ignore[misc]
        yield lab


def share(lab: Lab, node: str) -> int:
    annotations = get(lab, "node", node)["metadata"].get("annotations", {})
    return int(annotations.get(NODE_ELEPHANT_SHARE, "0"))


def node_of(lab: Lab, name: str, seconds: float = 20) -> str:
    """Where the pod was bound."""
    return eventually(f"{name} is bound", lambda: get(lab, "pod", name)["spec"].get("nodeName"), seconds)  # type: ignore[no-any-return]


def answered(verb: str) -> float:
    return extender_metrics().get(f'traffic_footprint_extender_requests_total{{result="ok",verb="{verb}"}}', 0.0)


def nodes_in(state: str) -> float:
    return extender_metrics()[f'traffic_footprint_extender_nodes{{state="{state}"}}']


def test_the_extender_knows_every_node(busy: Lab) -> None:
    eventually("all nodes are known", lambda: nodes_in("known") == len(busy.node_names))


def test_mice_go_where_no_elephants_are_and_the_scheduler_really_asked(busy: Lab) -> None:
    before = answered("filter"), answered("prioritize")
    with created(busy, *(sleeper(f"mouse-{n}", annotations=MOUSE) for n in range(5))) as names:
        assert {node_of(busy, name) for name in names} == {FREE}
    asked = answered("filter") - before[0]
    assert asked >= 5, "five pods, five questions"


def test_an_elephant_goes_where_its_bandwidth_fits(busy: Lab) -> None:
    wish = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "150M"}
    with created(busy, sleeper("transfer", annotations=wish)) as [name]:
        assert node_of(busy, name) == FREE


def test_pods_that_opt_out_are_spread_as_ever(busy: Lab) -> None:
    ignoring = {**MOUSE, POD_PLACEMENT: "ignore"}
    with created(busy, *(sleeper(f"any-{n}", annotations=ignoring) for n in range(8))) as names:
        assert len({node_of(busy, name) for name in names}) > 1


def test_a_strict_pod_that_fits_nowhere_waits_and_people_read_why(busy: Lab) -> None:
    strict = {**MOUSE, POD_PLACEMENT: "strict"}
    only = {"kubernetes.io/hostname": "node1"}
    with created(busy, sleeper("waiting", annotations=strict, selector=only)) as [name]:

        def said() -> str | None:
            events = get(busy, "events", "--field-selector", f"involvedObject.name={name}")["items"]
            messages = [e["message"] for e in events if e.get("reason") == "FailedScheduling"]
            return messages[-1] if messages else None

        message = eventually("kube-scheduler says why", said, 20)
        assert "elephants use" in message
        assert "of the link (1 pod" in message
        assert get(busy, "pod", name)["spec"].get("nodeName") is None


def test_a_malformed_annotation_changes_nothing_for_the_others(busy: Lab) -> None:
    busy.stop_agent("node2")
    good = get(busy, "node", "node2")["metadata"]["annotations"][NODE_FOOTPRINT]
    try:
        for hostile in ('{"v":1,', "[" * 50_000, '{"src":"x","cap":{"tx":-1}}', "\u0000"):
            busy.kubectl("patch", "node", "node2", "--type=merge", "-p", _patch(hostile))
            eventually("one node is malformed", lambda: nodes_in("malformed-footprint") == 1, 10)
            assert nodes_in("known") == 3
        only = {"kubernetes.io/hostname": "node1"}
        with created(busy, sleeper("beside", annotations=MOUSE), sleeper("pinned", selector=only)) as names:
            assert node_of(busy, names[0]) not in ("node1", "node3"), "what is known of the others still counts"
            assert node_of(busy, names[1]) == "node1"
    finally:
        busy.kubectl("patch", "node", "node2", "--type=merge", "-p", _patch(good))
        busy.start_agent("node2")
    eventually("all nodes are known again", lambda: nodes_in("known") == 4, 30)


def _patch(value: str) -> str:
    return json.dumps({"metadata": {"annotations": {NODE_FOOTPRINT: value}}})


def test_an_annotation_nobody_understands_is_an_event_and_treated_as_absent(busy: Lab) -> None:
    with created(busy, sleeper("odd", annotations={POD_CLASS: "whale"}, node=FREE)) as [name]:

        def event() -> Any:
            events = get(busy, "events", "--field-selector", f"involvedObject.name={name}")["items"]
            return next((e for e in events if "whale" in e.get("message", "") + e.get("note", "")), None)

        assert "use elephant or mouse" in json.dumps(eventually("an Event names the remedy", event, 20))
    key = f'traffic_footprint_extender_annotation_problems_total{{key="{POD_CLASS}"}}'
    assert extender_metrics()[key] >= 1


def test_killing_the_extender_does_not_stop_scheduling(busy: Lab) -> None:
    busy.stop_extender(signal.SIGKILL)
    try:
        with created(busy, *(sleeper(f"orphan-{n}", annotations=MOUSE) for n in range(6))) as names:
            assert all(node_of(busy, name, 30) for name in names)
    finally:
        busy.start_extender()
    with created(busy, sleeper("after", annotations=MOUSE)) as [name]:
        assert node_of(busy, name) == FREE, "it is asked again once it is back"


def test_an_agent_measures_on_while_the_api_is_away_and_publishes_when_it_is_back(busy: Lab) -> None:
    late = pod("late", argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "120M"), node=FREE)
    with created(busy, late):
        eventually("it runs", lambda: get(busy, "pod", "late")["status"].get("phase") == "Running")
        busy.stop_apiserver()
        time.sleep(8)  # long enough for the flow to become an elephant that nobody can be told of
        busy.start_apiserver()

        def shown() -> Any:
            current = footprint(busy, FREE)
            return current and any(p.name == "late" and p.el for p in current.pods)

        eventually("the elephant is published", shown, 40)
        assert owner_bytes(4, get(busy, "pod", "late")["metadata"]["uid"], "tx") > 8 * 120e6 / 8 * 0.8, (
            "what was sent while nobody could be told is counted"
        )
        assert busy.ended() == []


def test_an_agent_ends_within_five_seconds_of_sigterm(busy: Lab) -> None:
    assert busy.stop_agent("node3") == 0  # the lab kills it, with another status, when it takes longer
    busy.start_agent("node3")


def test_nobody_logged_a_traceback(busy: Lab) -> None:
    for component in ("extender", *(f"nodeagent-{node}" for node in busy.node_names)):
        log = busy.logs(component).read_text()
        assert log, component
        assert "Traceback" not in log, component
        assert '"exception"' not in log, component
