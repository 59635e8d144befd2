# SPDX-License-Identifier: Apache-2.0
"""The control plane fails under the extender, and the extender under the control plane: no pod is lost.

Real etcd, kube-apiserver and kube-scheduler. What went wrong is read from the counters of both sides.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from extender.model.cost import SATURATED
from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH, POD_PLACEMENT
from lab.lab import Lab, LabConfig
from lab.programs import EXTENDER_PORT
from tests.cluster.conftest import logs_of
from tests.cluster.support.replicas import (
    MOUSE,
    PATIENT,
    PODS,
    SCHEDULER,
    TELLING,
    Creation,
    Page,
    Replica,
    Scheduler,
    a_lab,
    all_bound,
    at_once,
    begin,
    bound,
    burst,
    eventually,
    extender,
    mouse_request,
    patch,
    publish,
    read,
    scale,
    send,
)
from tests.extender.builders import LINK, M

pytestmark = pytest.mark.cluster

BUSY = {"node1", "node2"}
HALF = {"node3", "node4"}
EVENTS = "/api/v1/namespaces/default/events"
RESOURCES = ("nodes", "leases", "pods")


@pytest.fixture(scope="module")
def cluster(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Eight nodes, elephants on two of them, kube-scheduler with an extender's address; no extender runs yet."""
    module = request.module.__name__.rpartition(".")[2]
    with a_lab(LabConfig(nodes=8, agents=False, extender=False, keep_dir=logs_of(module))) as lab:
        for node in lab.node_names:
            publish(lab, node, *(["bulk"] if node in BUSY else []))
        lab.start_scheduler(extender=True, changes=SCHEDULER, flags=TELLING)
        yield lab


def watching(replica: Replica) -> set[str]:
    """Resources whose watch is open."""
    page = replica.page
    return {name for name in RESOURCES if page.total("traffic_footprint_extender_watch_connected", resource=name)}


def test_pods_created_while_the_api_server_is_killed_and_started_again_are_all_bound(cluster: Lab) -> None:
    scheduler = Scheduler.now(cluster)
    with extender(cluster) as replica, Creation(cluster, "during", 60, pause_after=20) as creation:
        eventually("some pods are there", lambda: len(creation.created) == 20)
        opened = {name: replica.count("watch_connects_total", resource=name) for name in RESOURCES}
        cluster.stop_apiserver(signal.SIGKILL)
        creation.go_on.set()
        try:
            eventually("creation fails", lambda: creation.refusals >= 1)
            eventually("every watch is known to be broken", lambda: not watching(replica))
            assert replica.rejects(cluster) == BUSY, "answers still rest on what was seen"
            assert replica.ready, "and it says so: an outage of the API is no reason to stop asking it"
            assert len(creation.created) == 20
        finally:
            cluster.start_apiserver()
        eventually("all pods were created", lambda: len(creation.created) == creation.count)
        nodes = all_bound(cluster, "during", 60)
        assert not set(nodes.values()) & BUSY
        eventually("the watches are back", lambda: watching(replica) == set(RESOURCES))
        for name in RESOURCES:
            assert replica.count("watch_connects_total", resource=name) > opened[name]
            assert replica.count("watch_errors_total", resource=name) >= 1
        eventually("each pod is counted where it is", lambda: replica.count("pods_predicted") == 60)
        assert replica.count("pods_waiting") == 0
        assert replica.count("requests_total", verb="filter", result="ok") >= 60
        publish(cluster, "node8", "bulk")
        eventually("a change arrives", lambda: replica.rejects(cluster) == {*BUSY, "node8"})
        publish(cluster, "node8")
        assert cluster.ended() == []
    assert scheduler.since()["unschedulable"] == 0
    assert scheduler.failed_calls() == []


def test_after_etcd_was_compacted_under_its_watches_it_lists_again_and_is_right_at_once(cluster: Lab) -> None:
    send(cluster, "POST", "/api/v1/nodes", body={"metadata": {"name": "short-lived"}})
    with extender(cluster) as replica, burst(cluster, "counted", 20):
        all_bound(cluster, "counted", 20)
        eventually("all are counted", lambda: replica.count("pods_predicted") == 20)
        assert replica.count("nodes") == 9
        replica.process.send(signal.SIGSTOP)
        cluster.stop_apiserver(signal.SIGKILL)
        cluster.start_apiserver()
        send(cluster, "DELETE", "/api/v1/nodes/short-lived")
        publish(cluster, "node1")
        publish(cluster, "node3", "bulk")
        for name in list(bound(cluster, "counted"))[:5]:  # replaced by their Deployment
            send(cluster, "DELETE", f"{PODS}/{name}")
        cluster.compact_etcd()
        replica.process.send(signal.SIGCONT)
        eventually("lists are forced", lambda: all(_relists(replica, name) for name in ("nodes", "pods")))
        eventually("the watches are back", lambda: watching(replica) == set(RESOURCES))
        eventually("elephants are where they are", lambda: replica.rejects(cluster) == {"node2", "node3"})
        assert replica.count("nodes") == 8
        all_bound(cluster, "counted", 20)
        eventually("ended pods count no more", lambda: replica.count("pods_predicted") == 20)
        assert replica.count("watch_undecodable_total") == 0
    publish(cluster, "node1", "bulk")
    publish(cluster, "node3")


def _relists(replica: Replica, resource: str) -> bool:
    return replica.count("watch_relists_total", resource=resource) >= 1


def test_an_extender_killed_during_a_burst_of_500_pods_holds_up_none_of_them(cluster: Lab) -> None:
    scheduler = Scheduler.now(cluster)
    replica = begin(cluster, "killed", EXTENDER_PORT)
    with burst(cluster, "many", 400):

        def placed() -> int:
            return sum(map(bool, bound(cluster, "many").values()))

        eventually("the burst has begun", lambda: placed() >= 20)
        replica.process.stop(signal.SIGKILL)
        eventually("kube-scheduler goes on alone", scheduler.failed_calls)
        with extender(cluster, "again") as again:
            scale(cluster, "many", 500)
            all_bound(cluster, "many", 500)
            eventually("the new process counts them all", lambda: again.count("pods_predicted") == 500)
            assert scheduler.since() == {"scheduled": 500, "unschedulable": 0, "error": 0}
            before = again.count("requests_total", verb="filter", result="ok")
            assert before >= 100, "the rest of the burst was asked about"
            with burst(cluster, "after", 5):
                assert not set(all_bound(cluster, "after", 5).values()) & BUSY, "placement is informed again"
            assert again.count("requests_total", verb="filter", result="ok") == before + 5
            assert again.count("rejected_nodes_total") >= 5 * len(BUSY)


def test_an_extender_that_hangs_delays_pods_but_holds_up_none(cluster: Lab) -> None:
    cluster.start_scheduler(extender=True, flags=TELLING)  # with the shipped timeout, which is short
    try:
        with extender(cluster, "hanging") as replica:
            scheduler = Scheduler.now(cluster)
            replica.process.send(signal.SIGSTOP)
            with burst(cluster, "delayed", 3):
                all_bound(cluster, "delayed", 3)
            assert len(scheduler.failed_calls()) == 2 * 3, "each pod waited once for each verb"
            assert scheduler.since() == {"scheduled": 3, "unschedulable": 0, "error": 0}
            replica.process.send(signal.SIGCONT)
            eventually("it answers on", lambda: replica.ready)
            assert replica.rejects(cluster) == BUSY
    finally:
        cluster.start_scheduler(extender=True, changes=SCHEDULER, flags=TELLING)


def test_two_replicas_answer_alike_after_a_burst_that_only_one_was_asked_about(cluster: Lab) -> None:
    declared = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "30M"}
    with (
        extender(cluster) as asked,
        extender(cluster, "extender-b", EXTENDER_PORT + 1) as idle,
        burst(cluster, "elephants", 12, declared),
    ):
        nodes = all_bound(cluster, "elephants", 12)
        assert not set(nodes.values()) & BUSY
        for replica in (asked, idle):
            eventually("all are counted", lambda replica=replica: replica.count("pods_predicted") == 12)  # type: ignore[misc]
        assert asked.count("requests_total", verb="filter", result="ok") == 12
        assert idle.count("requests_total", verb="filter", result="ok") == 0
        for number, annotations in enumerate(({POD_CLASS: "mouse"}, declared, {POD_CLASS: "elephant"}, {})):
            body = _request(cluster, f"alike-{number}", annotations)
            for verb in ("explain", "filter", "prioritize"):
                eventually(
                    f"{verb} is answered alike",
                    lambda v=verb, q=body: asked.post(v, q) == idle.post(v, q),  # type: ignore[misc]
                )
        scores = {entry["Score"] for entry in asked.post("prioritize", _request(cluster, "told-apart", declared))}
        assert len(scores) > 1, "answers that are all equal would prove nothing"


def _request(cluster: Lab, uid: str, annotations: dict[str, str]) -> dict[str, object]:
    metadata = {"name": uid, "uid": uid, "namespace": "default", "annotations": annotations}
    return {"Pod": {"metadata": metadata, "spec": {"containers": []}}, "NodeNames": cluster.node_names}


def test_in_shadow_mode_placement_is_the_default_one_and_the_counters_say_what_would_have_been(
    cluster: Lab,
) -> None:
    with extender(cluster, flags=(*PATIENT, "--shadow", "--ledger-hold", "1")) as replica:
        assert replica.rejects(cluster) == set()
        scores = replica.post("prioritize", _request(cluster, "neutral", {POD_CLASS: "mouse"}))
        assert len({entry["Score"] for entry in scores}) == 1
        with burst(cluster, "watched", 32):
            nodes = list(all_bound(cluster, "watched", 32).values())
            collided = sum(node in BUSY for node in nodes)
            assert collided >= 2, "kube-scheduler spreads a Deployment, whatever the network says"

            def outcomes() -> dict[str, float]:
                page = replica.page
                names = ("would-have-been-kept-off", "would-have-gone-elsewhere", "agreed", "forgotten")
                return {n: page.total("traffic_footprint_extender_shadow_pods_total", outcome=n) for n in names}

            eventually("every pod is accounted for", lambda: sum(outcomes().values()) == 32)
            assert outcomes()["would-have-been-kept-off"] == collided
            assert outcomes()["forgotten"] == 0
            eventually(
                "those beside elephants collided",
                lambda: (
                    replica.count("shadow_collisions_total", outcome="would-have-been-kept-off", collided="yes")
                    == collided
                ),
            )
            assert replica.count("shadow_collisions_total", collided="yes") == collided
            assert f'"avoidable_collisions":{collided}' in read(f"http://127.0.0.1:{replica.port}/shadow")


def test_a_burst_of_100_declared_elephants_fills_links_as_if_their_traffic_were_visible_already(
    cluster: Lab,
) -> None:
    """All capacities are equal, 200 Mbit/s; on two links there are 190 of elephants, on two others 90."""
    count, rate, usable = 100, 8 * M, SATURATED * LINK
    measured = {node: 190 * M if node in BUSY else 90 * M if node in HALF else 0.0 for node in cluster.node_names}
    for node in HALF:
        publish(cluster, node, "half", tx=90 * M)
    declared = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "8M"}
    try:
        with extender(cluster) as replica:
            eventually("what is measured is known", lambda: links(replica, cluster) == measured)
            cluster.stop_scheduler()  # until all of them wait
            with at_once(cluster, "declared", count, declared):
                cluster.start_scheduler(extender=True, changes=SCHEDULER, flags=TELLING)
                nodes = Counter(all_bound(cluster, "declared", count).values())
                assert replica.count("requests_total", verb="filter", result="ok") >= count
    finally:
        for node in HALF:
            publish(cluster, node)
    assert not set(nodes) & BUSY, nodes
    loads = {node: measured[node] + nodes[node] * rate for node in measured if node not in BUSY}
    # A link takes elephants until it is full, the last one to nine tenths of what it wants. What then is on the
    # emptiest is at least what the others, full, cannot take. Were bound pods not counted, each of
    # the six would get about 17.
    fullest = usable + rate
    assert max(loads.values()) <= fullest, nodes
    total = sum(loads.values())
    assert min(loads.values()) >= total - (len(loads) - 1) * fullest, nodes


def test_a_strict_pod_that_no_node_suits_waits_and_is_placed_when_it_has_waited_long_enough(cluster: Lab) -> None:
    with all_links_full(cluster), extender(cluster, flags=(*PATIENT, "--relax-after", "10")) as replica:
        eventually("every link is full", lambda: set(links(replica, cluster).values()) == {190 * M})
        scheduler = Scheduler.now(cluster)
        with at_once(cluster, "strict", 1, {**MOUSE, POD_PLACEMENT: "strict"}):
            eventually("it waits", lambda: scheduler.since()["unschedulable"] >= 1)

            def placed() -> str:
                # What nodes' agents write now and then makes kube-scheduler try again.
                patch(cluster, "/api/v1/nodes/node1", {"metadata": {"annotations": {"tick": str(time.time())}}})
                return bound(cluster, "strict")["strict-0"]

            assert eventually("it is placed", placed) in cluster.node_names
        assert replica.count("relaxed_requests_total") >= 1
        assert scheduler.failed_calls() == []


def test_a_pod_of_high_priority_that_only_traffic_keeps_off_evicts_nobody(cluster: Lab) -> None:
    important = {"metadata": {"name": "important"}, "value": 1000}
    send(cluster, "POST", "/apis/scheduling.k8s.io/v1/priorityclasses", body=important)
    with all_links_full(cluster), extender(cluster) as replica:
        eventually("every link is full", lambda: set(links(replica, cluster).values()) == {190 * M})
        with burst(cluster, "unimportant", 16, {POD_PLACEMENT: "ignore"}):
            before = all_bound(cluster, "unimportant", 16)
            assert set(before.values()) == set(cluster.node_names), "there is somebody to evict on every node"
            strict = {**MOUSE, POD_PLACEMENT: "strict"}
            with at_once(cluster, "urgent", 1, strict, priorityClassName="important"):
                query = {"fieldSelector": "involvedObject.name=urgent-0,reason=FailedScheduling"}
                events = eventually("it is refused", lambda: send(cluster, "GET", EVENTS, query=query)["items"])
                not_helpful = "preemption: 0/8 nodes are available: 8 Preemption is not helpful"
                assert not_helpful in events[0]["message"]
                body = {"Pod": send(cluster, "GET", f"{PODS}/urgent-0"), "NodeNames": cluster.node_names}
                answer = replica.post("filter", body)
                assert set(answer["FailedAndUnresolvableNodes"]) == set(cluster.node_names)
                assert not answer.get("FailedNodes")
                page = Page(cluster.scheduler_metrics())
                assert page.total("scheduler_preemption_attempts_total") >= 1, "it was considered"
                assert page.total("scheduler_preemption_victims_sum") == 0
                assert bound(cluster, "unimportant") == before
                assert bound(cluster, "urgent") == {"urgent-0": ""}


@contextmanager
def all_links_full(cluster: Lab) -> Iterator[None]:
    """Elephants on every node while the block lasts."""
    for node in cluster.node_names:
        publish(cluster, node, "bulk")
    try:
        yield
    finally:
        for node in set(cluster.node_names) - BUSY:
            publish(cluster, node)


def links(replica: Replica, cluster: Lab) -> dict[str, float | None]:
    """What elephants send on each node's link, as the extender has it: bit/s; None where it knows nothing."""
    shown = replica.post("explain", mouse_request(cluster.node_names))["nodes"]
    return {name: node["link"]["tx"] if "link" in node else None for name, node in shown.items()}
