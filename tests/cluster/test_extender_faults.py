"""The control plane fails under the extender, and the extender under the control plane: no pod is lost.

Real etcd, kube-apiserver and kube-scheduler. What went wrong is read from the counters of both sides.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from footprint.keys import POD_CLASS, POD_EXPECTED_BANDWIDTH
from lab.lab import Lab, LabConfig
from lab.programs import EXTENDER_PORT
from tests.cluster.conftest import logs_of
from tests.cluster.replicas import (
    PATIENT,
    PODS,
    SCHEDULER,
    TELLING,
    Creation,
    Replica,
    Scheduler,
    a_lab,
    all_bound,
    begin,
    bound,
    burst,
    eventually,
    extender,
    publish,
    read,
    scale,
    send,
)

pytestmark = pytest.mark.cluster

BUSY = {"node1", "node2"}
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
    wish = {POD_CLASS: "elephant", POD_EXPECTED_BANDWIDTH: "30M"}
    with (
        extender(cluster) as asked,
        extender(cluster, "extender-b", EXTENDER_PORT + 1) as idle,
        burst(cluster, "elephants", 12, wish),
    ):
        nodes = all_bound(cluster, "elephants", 12)
        assert not set(nodes.values()) & BUSY
        for replica in (asked, idle):
            eventually("all are counted", lambda replica=replica: replica.count("pods_predicted") == 12)  # type: ignore[misc]
        assert asked.count("requests_total", verb="filter", result="ok") == 12
        assert idle.count("requests_total", verb="filter", result="ok") == 0
        for number, wishes in enumerate(({POD_CLASS: "mouse"}, wish, {POD_CLASS: "elephant"}, {})):
            question = _question(cluster, f"alike-{number}", wishes)
            for verb in ("explain", "filter", "prioritize"):
                eventually(
                    f"{verb} is answered alike",
                    lambda v=verb, q=question: asked.post(v, q) == idle.post(v, q),  # type: ignore[misc]
                )
        scores = {entry["Score"] for entry in asked.post("prioritize", _question(cluster, "told-apart", wish))}
        assert len(scores) > 1, "answers that are all equal would prove nothing"


def _question(cluster: Lab, uid: str, wishes: dict[str, str]) -> dict[str, object]:
    metadata = {"name": uid, "uid": uid, "namespace": "default", "annotations": wishes}
    return {"Pod": {"metadata": metadata, "spec": {"containers": []}}, "NodeNames": cluster.node_names}


def test_in_shadow_mode_placement_is_the_default_one_and_the_counters_say_what_would_have_been(
    cluster: Lab,
) -> None:
    with extender(cluster, flags=(*PATIENT, "--shadow", "--ledger-hold", "1")) as replica:
        assert replica.rejects(cluster) == set()
        scores = replica.post("prioritize", _question(cluster, "neutral", {POD_CLASS: "mouse"}))
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
