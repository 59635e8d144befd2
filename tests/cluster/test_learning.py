# SPDX-License-Identifier: Apache-2.0
"""What workloads are learned to do, in TrafficFootprint objects of the real API: written, read, overridden."""

from __future__ import annotations

import itertools
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from extender.model.trafficfootprint_name import object_name
from footprint.codec import encode
from footprint.keys import LEARNER_LEASE, NODE_FOOTPRINT, lease_name
from footprint.models import NodeFootprint
from footprint.units import parse_bandwidth
from lab.errors import LabError
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4
from lab.programs import EXTENDER_PORT, EXTENDER_URL, MANIFESTS, NAMESPACE
from lab.traffic import argv
from tests.cluster.conftest import logs_of, running
from tests.cluster.support.machines import ARRIVED, launcher
from tests.cluster.support.replicas import PATIENT
from tests.cluster.support.workloads import created, eventually, get, measured, metrics, pod
from tests.cluster.support.workloads import running as running_pods
from tests.extender.builders import M, elephant, footprint, mouse

pytestmark = pytest.mark.cluster

P = "traffic_footprint_extender_learning_"
QUICK = ("--learn-interval", "1", *PATIENT)
SECOND, THIRD = 8891, 8892
_beats = itertools.count()


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Two nodes; only the second has an agent: what is on the first, these tests write."""
    module = request.module.__name__.rpartition(".")[2]
    config = LabConfig(nodes=2, agents=False, extender_args=QUICK, keep_dir=logs_of(module))
    for lab in running(config):
        lab.start_agent("node2")
        yield lab


def publish(lab: Lab, annotation: NodeFootprint | None) -> None:
    """What an agent of node1 would have written; None: nothing."""
    text = encode(annotation).text if annotation is not None else None
    body = {"metadata": {"annotations": {NODE_FOOTPRINT: text}}}
    lab.kubectl("patch", "node", "node1", "--type=merge", "-p", json.dumps(body))


def be_alive(lab: Lab) -> None:
    """The sign of life of an agent of node1."""
    lease = {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": lease_name("node1"), "namespace": NAMESPACE},
        "spec": {"holderIdentity": "node1", "renewTime": f"2026-01-01T20:00:00.{next(_beats):06}Z"},
    }  # fmt: skip
    lab.kubectl("apply", "-f", "-", input=json.dumps(lease))


@contextmanager
def published(lab: Lab, annotation: NodeFootprint) -> Iterator[None]:
    """On node1 while the block lasts."""
    be_alive(lab)
    publish(lab, annotation)
    try:
        yield
    finally:
        publish(lab, None)


def tf(lab: Lab, workload: str) -> dict[str, Any] | None:
    """The object of a workload of the default namespace, once it has a status."""
    text = lab.kubectl("get", "tf", object_name(workload), "--ignore-not-found", "-o", "json")
    found: dict[str, Any] = json.loads(text or "{}")
    return found if found.get("status") else None


def learned(lab: Lab, workload: str, seconds: float = 60) -> dict[str, Any]:
    return eventually(f"{workload} is learned", lambda: tf(lab, workload), seconds)


def post(lab: Lab, verb: str, owner: tuple[str, str]) -> dict[str, Any]:
    """What the extender answers about a pod of ``owner`` that does not exist yet."""
    kind, name = owner
    reference = {"apiVersion": "batch/v1", "kind": kind, "name": name, "uid": "u", "controller": True}
    manifest = {"metadata": {"name": "next", "namespace": "default", "uid": "x", "ownerReferences": [reference]}}
    body = json.dumps({"Pod": manifest, "NodeNames": lab.node_names})
    answer: dict[str, Any] = json.loads(fetched(lab, f"/{verb}", "--json", body))
    return answer


def fetched(lab: Lab, path: str, *flags: str) -> str:
    done = lab.exec_in("cp", ["curl", "-fsS", *flags, EXTENDER_URL + path])
    assert done.returncode == 0, done.stderr
    return done.stdout


def explained(lab: Lab, owner: tuple[str, str]) -> dict[str, Any]:
    return post(lab, "explain", owner)


def passing(lab: Lab, owner: tuple[str, str]) -> list[str]:
    """The nodes that the filter lets a pod go to."""
    return list(post(lab, "filter", owner)["NodeNames"])


def origin(lab: Lab, owner: tuple[str, str]) -> str:
    return str(explained(lab, owner)["demand"]["origin"])


def page(port: int) -> dict[str, float] | None:
    """What a replica counts; None while it does not answer."""
    try:
        return metrics(f"http://127.0.0.1:{port}/metrics")
    except OSError:
        return None


def sample(port: int, name: str) -> float | None:
    return (page(port) or {}).get(name)


def writes(port: int) -> float:
    """Writes of one replica so far."""
    return sum(value for name, value in (page(port) or {}).items() if name.startswith(f"{P}writes_total"))


def test_people_are_told_what_every_field_means(lab: Lab) -> None:
    text = lab.kubectl("explain", "tf.spec")
    assert "Overrides the measured class" in text
    assert "elephant, mouse" in text
    assert "What a pod with elephants wants on average" in lab.kubectl("explain", "tf.status.elephants.tx")


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ({}, "spec.workload: Required value"),
        ({"workload": "web"}, "spec.workload in body should match"),
        ({"workload": "Job/" + "x" * 400}, "Too long"),
        ({"workload": "Job/x", "class": "fish"}, 'supported values: "elephant", "mouse"'),
        ({"workload": "Job/x", "expectedBandwidth": "a lot"}, "spec.expectedBandwidth in body should match"),
        ({"workload": "Job/x", "placement": "never"}, "supported values"),
    ],
)
def test_the_api_server_refuses_what_nobody_would_understand(lab: Lab, spec: dict[str, Any], part: str) -> None:
    with pytest.raises(LabError, match="is invalid") as refused:
        create(lab, "wrong", spec)
    assert part in str(refused.value)


def create(lab: Lab, name: str, spec: dict[str, Any]) -> None:
    kind = {"apiVersion": "traffic-footprint.io/v1alpha1", "kind": "TrafficFootprint"}
    lab.kubectl("apply", "-f", "-", input=json.dumps({**kind, "metadata": {"name": name}, "spec": spec}))


def test_measured_traffic_becomes_an_object(lab: Lab) -> None:
    lab.spawn_in("outside", argv("sink"), name="sink")
    transfer = argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "80M")
    named = {"traffic-footprint.io/workload": "transfer"}
    with running_pods(lab, pod("transfer-1", transfer, node="node2", annotations=named)):

        def measured() -> dict[str, Any] | None:
            found = tf(lab, "Workload/transfer")
            return found if found is not None and found["status"]["class"] == "elephant" else None

        found = eventually("the transfer is learned", measured, 90)
    status = found["status"]
    assert found["spec"] == {"workload": "Workload/transfer"}
    assert found["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "traffic-footprint"}
    assert "ownerReferences" not in found["metadata"]
    assert status["elephants"]["tx"]["typical"].endswith("M")
    assert status["samples"] >= 2
    assert status["lastSeen"]


def test_kubectl_prints_a_table(lab: Lab) -> None:
    with published(lab, footprint(elephant("e", tx=150 * M, wl="CronJob/backup"), mouse("m", nf=9))):
        learned(lab, "CronJob/backup")
        learned(lab, "Deployment/web")
    lines = lab.kubectl("get", "tf").splitlines()
    assert lines[0].split() == [
        "NAME", "WORKLOAD", "OVERRIDE", "CLASS", "TX", "RX", "MICE/S", "CONFIDENCE", "LAST", "SEEN",
    ]  # fmt: skip
    rows = {line.split()[1]: line.split() for line in lines[1:]}
    assert rows["CronJob/backup"][2:6] == ["elephant", "150M", "0", "0"]
    assert rows["Deployment/web"][2:6] == ["mouse", "0", "0", "9"]


def test_a_workload_whose_pods_are_gone_is_still_predicted(lab: Lab) -> None:
    backup = ("CronJob", "backup")
    with published(lab, footprint(elephant("e", tx=150 * M, wl="CronJob/backup"))):
        eventually("it is measured", lambda: origin(lab, backup) == "learned")
        learned(lab, "CronJob/backup")
    eventually("it is measured no longer", lambda: origin(lab, backup) == "remembered")
    told = explained(lab, backup)
    assert (told["demand"]["cls"], told["demand"]["tx"]) == ("elephant", 150 * M)
    assert told["traffic_footprint"]["name"] == object_name("CronJob/backup")
    lab.stop_extender()
    lab.start_extender()
    eventually("a restart forgets nothing", lambda: origin(lab, backup) == "remembered")


def test_an_override_turns_the_filters_verdict_and_is_left_alone(lab: Lab) -> None:
    """An elephant of 150 Mbit/s does not fit beside 90 on a link of 200; a mouse does not mind them."""
    backup, name = ("CronJob", "backup"), object_name("CronJob/backup")
    with published(lab, footprint(elephant("x", tx=90 * M, wl="Job/other"))):
        eventually("an elephant is kept off", lambda: passing(lab, backup) == ["node2"])
        lab.kubectl("patch", "tf", name, "--type=merge", "-p", '{"spec":{"class":"mouse"}}')
        eventually("a mouse is not", lambda: passing(lab, backup) == ["node1", "node2"])
        assert origin(lab, backup) == "stated"
        lab.kubectl("patch", "tf", name, "--type=merge", "-p", '{"spec":{"class":"elephant"}}')
        eventually("an elephant again", lambda: passing(lab, backup) == ["node2"])
        lab.kubectl("patch", "tf", name, "--type=merge", "-p", '{"spec":{"placement":"ignore"}}')
        eventually("placement is switched off", lambda: passing(lab, backup) == ["node1", "node2"])
    spec = {"workload": "CronJob/backup", "class": "elephant", "placement": "ignore"}
    before = tf(lab, "CronJob/backup")
    with published(lab, footprint(elephant("e", tx=20 * M, wl="CronJob/backup"))):

        def written() -> bool:
            return tf(lab, "CronJob/backup") != before

        eventually("its status is written again", written, 120)
        assert get(lab, "tf", name)["spec"] == spec
    lab.kubectl("patch", "tf", name, "--type=merge", "-p", '{"spec":{"class":null,"placement":null}}')
    eventually("the override is gone", lambda: origin(lab, backup) == "remembered")


def test_an_object_that_people_made_beforehand_serves_its_workload(lab: Lab) -> None:
    create(lab, "mine", {"workload": "StatefulSet/db", "class": "elephant", "expectedBandwidth": "60M"})
    db = ("StatefulSet", "db")
    eventually("it is seen", lambda: origin(lab, db) == "stated")
    assert explained(lab, db)["demand"]["tx"] == 60 * M
    with published(lab, footprint(mouse("d", nf=3, wl="StatefulSet/db"))):
        status = eventually("it is written to", lambda: get(lab, "tf", "mine").get("status"), 60)
    assert status["class"] == "mouse"
    assert tf(lab, "StatefulSet/db") is None, "no second object beside it"


def test_a_migrating_machine_is_learned_once_and_expected_where_it_goes(lab: Lab, tmp_path: Path) -> None:
    """Two pods as KubeVirt makes them: the source on node1, whose footprint this test writes, and the target on
    node2, whose agent measures it. The target sends once its guest has come. The sink is the one of the first
    transfer."""
    machine, came = ("VirtualMachineInstance", "db"), tmp_path / "came"
    send = argv("elephant", f"{OUTSIDE_V4}:5001", "--rate", "80M")
    waits = ["sh", "-c", f'until [ -e {came} ]; do sleep 0.2; done; exec "$@"', "sh", *send]
    source = launcher("db", "aaaaa", ["sleep", "600"], node="node1")
    target = launcher("db", "bbbbb", waits, node="node2", target=True)
    first, second = (made["metadata"]["name"] for made in (source, target))

    def learned_once() -> bool:
        """By one pod, and about what the machine sends."""
        found = explained(lab, machine)["demand"]
        assert found["pods"] == 1, found
        assert found["cls"] == "elephant", found
        assert found["tx"] == pytest.approx(80 * M, rel=0.25), found
        return True

    def expected() -> float:
        """Elephant bit/s on node2, measured or not."""
        return float(explained(lab, machine)["nodes"]["node2"]["link"]["tx"])

    with created(lab, source):
        uid = get(lab, "pod", first)["metadata"]["uid"]
        sends = elephant(uid, tx=80 * M, wl="/".join(machine))
        with published(lab, footprint(sends)):
            eventually("the machine is measured", lambda: origin(lab, machine) == "learned")
            assert learned_once()
            with created(lab, target):
                eventually("it is expected at the target", lambda: expected() >= 60 * M, 60)
                idle = eventually("the target is measured", lambda: measured(lab, "node2", second), 90)
                assert not idle.cls.hurts
                assert learned_once()
                assert expected() >= 60 * M
                lab.kubectl("annotate", "pod", second, *(f"{key}={value}" for key, value in ARRIVED.items()))
                came.touch()

                def busy() -> bool:
                    seen = measured(lab, "node2", second)
                    return learned_once() and seen is not None and seen.cls.hurts and seen.etx > 60 * M

                eventually("the target is measured to send", busy, 120)
                lab.kubectl("delete", "pod", first, "--now")
                publish(lab, footprint(ended=[sends]))
                eventually("the source's node is relieved", lambda: _relieved(lab, machine) and learned_once(), 60)
                status = learned(lab, "/".join(machine))["status"]
    assert status["class"] == "elephant"
    assert parse_bandwidth(status["elephants"]["tx"]["typical"]) == pytest.approx(80 * M, rel=0.25)


def _relieved(lab: Lab, machine: tuple[str, str]) -> bool:
    return bool(explained(lab, machine)["nodes"]["node1"]["link"]["tx"] == 0)


def test_a_status_that_somebody_spoiled_counts_as_absent_and_is_mended(lab: Lab) -> None:
    name = object_name("Deployment/web")
    nonsense = {"status": {"class": "mouse", "elephants": {}, "samples": 3}}
    lab.kubectl("patch", "tf", name, "--subresource=status", "--type=json", "-p",
                json.dumps([{"op": "replace", "path": "/status", "value": nonsense["status"]}]))  # fmt: skip
    eventually("it is counted", lambda: (sample(EXTENDER_PORT, f'{P}malformed_total{{part="status"}}') or 0) >= 1)
    assert origin(lab, ("Deployment", "web")) == "unknown"
    with published(lab, footprint(mouse("m", nf=9))):
        eventually("it is written anew", lambda: get(lab, "tf", name)["status"].get("lastSeen"), 60)


def test_one_replica_writes_and_another_takes_over_when_it_is_killed(lab: Lab) -> None:
    second = lab.start_replica("second", SECOND, QUICK)
    eventually("the second one follows", lambda: sample(SECOND, f'{P}state{{state="followed"}}') == 1, 60)
    eventually("the first one leads", lambda: sample(EXTENDER_PORT, f"{P}leads") == 1, 60)
    with published(lab, footprint(elephant("a", tx=50 * M, wl="Job/first"))):
        learned(lab, "Job/first")
    assert sample(SECOND, f"{P}leads") == 0
    assert writes(SECOND) == 0
    first = holder(lab)
    lab.stop_extender(signal.SIGKILL)
    with published(lab, footprint(elephant("b", tx=50 * M, wl="Job/second"))):
        learned(lab, "Job/second", 180)
    assert sample(SECOND, f"{P}leads") == 1
    assert writes(SECOND) >= 2
    assert holder(lab) not in (first, "")
    assert second.stop(signal.SIGTERM, 60) == 0
    assert holder(lab) == "", "who ends gives the Lease up"
    lab.start_extender()
    eventually("the first one leads again", lambda: sample(EXTENDER_PORT, f"{P}leads") == 1, 60)


def holder(lab: Lab) -> str:
    """Who holds the learner's Lease."""
    return str(get(lab, "lease", "-n", NAMESPACE, LEARNER_LEASE)["spec"]["holderIdentity"])


def test_a_cluster_without_the_definition_schedules_on_and_is_used_once_it_is_there(lab: Lab) -> None:
    definition = str(MANIFESTS / "base" / "crd.yaml")
    lab.kubectl("delete", "-f", definition)
    eventually("it is named", lambda: sample(EXTENDER_PORT, f'{P}state{{state="absent"}}') == 1)
    eventually("what was remembered is gone", lambda: origin(lab, ("CronJob", "backup")) == "unknown")
    assert fetched(lab, "/readyz") == "ok"
    lab.kubectl("apply", "-f", definition)
    eventually("it is followed", lambda: sample(EXTENDER_PORT, f'{P}state{{state="followed"}}') == 1, 180)
    with published(lab, footprint(elephant("e", tx=150 * M, wl="CronJob/backup"))):
        learned(lab, "CronJob/backup", 120)


def test_without_learn_nothing_is_read_or_written(lab: Lab) -> None:
    lab.start_replica("without", THIRD, ("--no-learn",))
    shown = eventually("it answers", lambda: page(THIRD), 60)
    assert not [name for name in shown if "learning" in name or "trafficfootprints" in name]


def test_nobody_logged_a_traceback(lab: Lab) -> None:
    for component in ("extender", "second", "without"):
        log = lab.logs(component).read_text()
        assert "serving" in log, component
        assert "Traceback" not in log, component
        assert '"exception"' not in log, component
