# SPDX-License-Identifier: Apache-2.0
"""kube-scheduler asks the extender and obeys it; nothing that goes wrong with us stops it."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from extender.rebalancing.evictor import eviction
from footprint.cluster import paths
from footprint.cluster.client import ApiError, connect, request
from footprint.codec import FootprintError, decode
from footprint.keys import (
    NODE_ELEPHANT_SHARE,
    NODE_FOOTPRINT,
    POD_CLASS,
    POD_EXPECTED_BANDWIDTH,
    POD_PLACEMENT,
    REBALANCE,
)
from lab.lab import Lab
from lab.network.addresses import OUTSIDE_V4
from lab.programs import MANIFESTS, NAMESPACE
from lab.traffic import argv
from tests.cluster.support.workloads import (
    agent_metrics,
    created,
    eventually,
    extender_metrics,
    get,
    measured,
    owner_bytes,
    pod,
    running,
)

pytestmark = pytest.mark.cluster

BUSY = ("node1", "node2", "node3")
FREE = "node4"
FREE_INDEX = 4
MOUSE = {POD_CLASS: "mouse"}
EXIT_SECONDS = 5.0
"""Within which an agent ends after SIGTERM, whatever the API does. The lab would kill it a second later."""


def sleeper(name: str, **values: Any) -> dict[str, Any]:
    return pod(name, ["sleep", "600"], **values)


HEAL = (
    "--rebalance-interval=1", "--rebalance-sustain=3", "--rebalance-cooldown=8",
    "--rebalance-node-interval=8", "--rebalance-per-minute=60",
)  # fmt: skip
MOST_EVICTIONS = 4
HEALING_PORT = 8897


def deployment(name: str, command: list[str], annotations: dict[str, str]) -> dict[str, Any]:
    """Ready pods that run ``command``."""
    labels = {"app": name}
    template = pod(name, command, annotations=annotations, labels=labels)
    template["spec"]["restartPolicy"] = "Always"
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": template["spec"]},
        },
    }  # fmt: skip


def pods_by_node(lab: Lab) -> dict[str, set[str]]:
    """The workloads on each node, by name of their Deployment."""
    found: dict[str, set[str]] = {}
    for one in get(lab, "pods")["items"]:
        if one["metadata"].get("deletionTimestamp") is None:
            found.setdefault(one["spec"].get("nodeName", ""), set()).add(one["metadata"]["labels"]["app"])
    return found


def mixed(lab: Lab) -> list[str]:
    """Nodes with pods of both kinds, and nodes that wait for pods."""
    kinds = {node: {name.split("-")[0] for name in names} for node, names in pods_by_node(lab).items()}
    return [node for node, there in kinds.items() if not node or len(there) > 1]


def test_pods_that_the_default_scheduler_mixed_are_moved_apart_in_few_evictions(lab: Lab) -> None:
    """Advice moves nobody. Nor does anything while the namespace says never, the kill switch is set, or a
    PodDisruptionBudget refuses."""
    lab.spawn_in("outside", argv("sink", "--port", "5009"), name="sink-healing")
    lab.spawn_in("outside", argv("mouse_server", "--port", "8089"), name="mice-healing")
    bulk = argv("elephant", f"{OUTSIDE_V4}:5009", "--rate", "185M")
    web = argv("mouse", f"{OUTSIDE_V4}:8089", "--rate", "20", "--new-connection")
    manifests = [
        *(deployment(f"bulk-{n}", bulk, {REBALANCE: "allow"}) for n in range(2)),
        *(deployment(f"web-{n}", web, {REBALANCE: "allow"}) for n in range(6)),
    ]
    lab.kubectl("apply", "-f", str(MANIFESTS / "components" / "rebalancing" / "rebalancing.yaml"))
    lab.stop_extender()
    listing = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    lab.kubectl("apply", "-f", "-", input=listing)
    try:
        eventually(
            "all are bound", lambda: "" not in pods_by_node(lab) and len(get(lab, "pods")["items"]) == 8, 90
        )
        before = uids(lab)
        assert mixed(lab), "eight pods on four nodes: the default scheduler spreads them"
        with healer(lab, "advise"):
            eventually("a move is advised", lambda: healed('moves_total{outcome="advised"}') >= 1, 120)
        lab.kubectl("annotate", "namespace", "default", f"{REBALANCE}=never")
        with healer(lab, "act"):
            opted_out = 'refused_pods{reason="opted-out"}'
            eventually("the namespace's word is heard", lambda: healed(opted_out) >= 1, 120)
        refused_by_policy(lab)
        lab.kubectl("annotate", "namespace", "default", f"{REBALANCE}-")
        lab.kubectl("annotate", "namespace", NAMESPACE, f"{REBALANCE}=never")
        with healer(lab, "act"):
            eventually("the kill switch stops moves that are due", lambda: healed("stopped") == 1, 120)
        lab.kubectl("annotate", "namespace", NAMESPACE, f"{REBALANCE}-")
        everyone = {"minAvailable": 8, "selector": {}}
        lab.kubectl("apply", "-f", "-", input=json.dumps({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "everyone", "namespace": "default"}, "spec": everyone,
        }))  # fmt: skip
        with healer(lab, "act"):
            eventually("the budget refuses", lambda: healed('moves_total{outcome="refused"}') >= 1, 120)
        assert uids(lab) == before, "nobody was moved so far"
        lab.kubectl("delete", "pdb", "everyone")
        lab.start_extender()
        with healer(lab, "act"):
            eventually("no node is mixed", lambda: not mixed(lab), 180)
            assert 1 <= healed('moves_total{outcome="evicted"}') <= MOST_EVICTIONS
        told = get(lab, "events", "--field-selector", "reason=Rebalanced")["items"]
        assert told
        assert all("would cost" in one.get("message", "") + one.get("note", "") for one in told)
    finally:
        lab.kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", input=listing)
        for namespace in ("default", NAMESPACE):
            lab.kubectl("annotate", "namespace", namespace, f"{REBALANCE}-")
        eventually("pods are gone", lambda: not get(lab, "pods")["items"], 60)


def refused_by_policy(lab: Lab) -> None:
    """The API server itself keeps the extender's account off pods whose namespace says never, whatever runs."""
    api, victim = (
        connect(str(lab._extender_kubeconfig), user_agent="test"),
        get(lab, "pods")["items"][0]["metadata"],
    )
    for uid, why in ((victim["uid"], "says anything but allow"), ("", "names the UID")):
        body = eviction(victim["name"], "default", uid)
        with pytest.raises(ApiError, match=why):
            request(api, "POST", paths.eviction("default", victim["name"]), body=body)
    api.rest_client.pool_manager.clear()


def uids(lab: Lab) -> set[str]:
    return {one["metadata"]["uid"] for one in get(lab, "pods")["items"]}


@contextmanager
def healer(lab: Lab, mode: str) -> Iterator[None]:
    """One more replica, which is the only one that moves pods."""
    name = f"healer-{next(_NUMBERS)}"
    lab.start_replica(name, HEALING_PORT, (f"--rebalance={mode}", *HEAL))
    try:
        yield
    finally:
        lab.stop_replica(name)


_NUMBERS = count()


def healed(name: str) -> float:
    """A figure of the rebalancer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{HEALING_PORT}/metrics", timeout=5) as page:
            text = page.read().decode()
    except OSError:  # it does not listen yet
        return -1.0
    found = re.search(rf"^traffic_footprint_extender_rebalance_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else -1.0


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
    return extender_metrics().get(f'traffic_footprint_extender_nodes{{state="{state}"}}', 0.0)


def malformed(reason: str) -> float:
    """Annotations that the extender has passed over for ``reason``."""
    key = f'traffic_footprint_extender_malformed_footprints_total{{reason="{reason}"}}'
    return extender_metrics().get(key, 0.0)


def of_agent(name: str) -> float:
    """A figure of the agent of FREE."""
    return agent_metrics(FREE_INDEX).get(f"traffic_footprint_agent_{name}", 0.0)


def waiting_elephant(name: str, port: int) -> dict[str, Any]:
    """A pod on FREE that sends 120 Mbit/s from the moment that ``let_go`` gives it somebody to send to."""
    return pod(name, argv("elephant", f"{OUTSIDE_V4}:{port}", "--rate", "120M"), node=FREE)


def let_go(lab: Lab, port: int) -> None:
    """Needs no API; returns when the agent of FREE has found the elephant."""
    before = of_agent("elephants_begun_total")
    lab.spawn_in("outside", argv("sink", "--port", str(port)), name=f"sink-{port}")
    eventually("the agent finds the elephant", lambda: of_agent("elephants_begun_total") > before)


def test_the_extender_knows_every_node(busy: Lab) -> None:
    eventually("all nodes are known", lambda: nodes_in("known") == len(busy.node_names))


def test_mice_go_where_no_elephants_are_and_the_scheduler_really_asked(busy: Lab) -> None:
    before = answered("filter")
    with created(busy, *(sleeper(f"mouse-{n}", annotations=MOUSE) for n in range(5))) as names:
        assert {node_of(busy, name) for name in names} == {FREE}
    asked = answered("filter") - before
    assert asked >= 5, "five pods, five requests"


def test_mice_whose_placement_is_by_score_alone_go_where_the_score_is_best(busy: Lab) -> None:
    before = answered("prioritize")
    by_score = {**MOUSE, POD_PLACEMENT: "score"}
    with created(busy, *(sleeper(f"scored-{n}", annotations=by_score) for n in range(5))) as names:
        assert {node_of(busy, name) for name in names} == {FREE}
    asked = answered("prioritize") - before
    assert asked >= 5, "scores are asked for only where the filter left several nodes"


def test_an_elephant_goes_where_its_bandwidth_fits(busy: Lab) -> None:
    declared = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "150M"}
    with created(busy, sleeper("transfer", annotations=declared)) as [name]:
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
            with pytest.raises(FootprintError) as refused:
                decode(hostile)
            reason = refused.value.reason.value
            before = malformed(reason)
            busy.kubectl("patch", "node", "node2", "--type=merge", "-p", _patch(hostile))
            eventually("it is seen and passed over", lambda r=reason, b=before: malformed(r) > b, 10)  # type: ignore[misc]
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
    eventually("the extender counts it", lambda: extender_metrics().get(key, 0.0) >= 1, 10)


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
    port, carried = 5002, 8 * 120e6 / 8 * 0.8
    with created(busy, waiting_elephant("late", port)):
        eventually("it runs", lambda: get(busy, "pod", "late")["status"].get("phase") == "Running")
        uid = get(busy, "pod", "late")["metadata"]["uid"]
        before = measured(busy, FREE, "late")
        assert before is None or not before.el
        busy.stop_apiserver()
        try:
            writes, failures = of_agent("node_writes_total"), of_agent("node_write_failures_total")
            let_go(busy, port)
            eventually("nobody can be told", lambda: of_agent("node_write_failures_total") > failures)
            eventually("it is measured on", lambda: owner_bytes(FREE_INDEX, uid, "tx") > carried)
            assert of_agent("node_writes_total") == writes
        finally:
            busy.start_apiserver()
        eventually("the elephant is published", lambda: shows_elephant(busy, "late"), 40)
        assert owner_bytes(FREE_INDEX, uid, "tx") > carried, "what was sent while nobody could be told is counted"
        assert busy.ended() == []


def shows_elephant(lab: Lab, name: str) -> bool:
    shown = measured(lab, FREE, name)
    return shown is not None and shown.el > 0


def seconds_to_stop(lab: Lab, node: str) -> float:
    """How long the agent of ``node`` takes to end by itself after SIGTERM."""
    began = time.monotonic()
    assert lab.stop_agent(node) == 0
    return time.monotonic() - began


def test_an_agent_ends_within_five_seconds_of_sigterm(busy: Lab) -> None:
    assert seconds_to_stop(busy, "node3") < EXIT_SECONDS
    busy.start_agent("node3")


def test_an_agent_that_has_something_to_write_ends_within_five_seconds_while_the_api_hangs(busy: Lab) -> None:
    port = 5003
    with created(busy, waiting_elephant("unheard", port)):
        eventually("it runs", lambda: get(busy, "pod", "unheard")["status"].get("phase") == "Running")
        with busy.apiserver_paused():
            let_go(busy, port)
            eventually("a write waits", lambda: of_agent("write_pending_seconds") > 0)
            taken = seconds_to_stop(busy, FREE)
        assert taken < EXIT_SECONDS
        busy.start_agent(FREE)
        eventually("the next agent publishes it", lambda: shows_elephant(busy, "unheard"), 40)
        assert busy.ended() == []


def test_nobody_logged_a_traceback(busy: Lab) -> None:
    for component in ("extender", *(f"nodeagent-{node}" for node in busy.node_names)):
        log = busy.logs(component).read_text()
        assert log, component
        assert "Traceback" not in log, component
        assert '"exception"' not in log, component
