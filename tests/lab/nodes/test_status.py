# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from lab.nodes import status
from lab.nodes.plan import Placement, plan_of
from lab.nodes.status import Facts, Running, Terminated, Waiting

PLAN = plan_of({
    "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1"},
    "spec": {"nodeName": "node1", "containers": [{"name": "main", "image": "none", "command": ["run"]}]},
})  # fmt: skip
PLACED = Placement(("10.244.1.10", "fd00:244:1::a"), ("10.10.0.11", "fd00:10::11"))
ENDED = Terminated(3, 1000.4, 1010.9)


def conditions(patch: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in patch["status"]["conditions"]}


def test_a_running_pod_is_ready_with_both_addresses() -> None:
    patch = status.patch(PLAN, Facts(PLACED, 999.0, Running(1000.4)))
    assert patch["metadata"]["uid"] == "u-1"
    assert patch["status"]["phase"] == "Running"
    assert patch["status"]["podIP"] == "10.244.1.10"
    assert [ip["ip"] for ip in patch["status"]["podIPs"]] == list(PLACED.pod_ips)
    assert [ip["ip"] for ip in patch["status"]["hostIPs"]] == list(PLACED.host_ips)
    assert patch["status"]["startTime"] == "1970-01-01T00:16:39Z"
    assert conditions(patch) == {"Initialized": "True", "ContainersReady": "True", "Ready": "True"}


def test_conditions_of_others_are_not_mentioned_so_that_they_stay() -> None:
    assert "PodScheduled" not in conditions(status.patch(PLAN, Facts(PLACED, 999.0, Running(1000.4))))


@pytest.mark.parametrize(
    ("state", "last", "final", "phase"),
    [
        (Waiting("ContainerCreating", ""), None, False, "Pending"),
        (Running(1.0), None, False, "Running"),
        (Waiting("CrashLoopBackOff", ""), ENDED, False, "Running"),
        (ENDED, None, False, "Running"),
        (ENDED, None, True, "Failed"),
        (Terminated(0, 1.0, 2.0), None, True, "Succeeded"),
    ],
)
def test_the_phase_follows_from_the_state(
    state: status.State, last: Terminated | None, final: bool, phase: str
) -> None:
    assert status.phase(Facts(PLACED, 999.0, state, last), final=final) == phase


def test_exit_code_reason_and_times_are_told() -> None:
    patch = status.patch(PLAN, Facts(PLACED, 999.0, ENDED), final=True)
    assert patch["status"]["containerStatuses"][0]["state"]["terminated"] == {
        "exitCode": 3, "reason": "Error", "startedAt": "1970-01-01T00:16:40Z",
        "finishedAt": "1970-01-01T00:16:50Z",
    }  # fmt: skip
    assert conditions(patch)["Ready"] == "False"


def test_a_job_that_succeeded_is_not_ready_because_it_completed() -> None:
    patch = status.patch(PLAN, Facts(PLACED, 999.0, Terminated(0, 1000.0, 1001.0)), final=True)
    ready = next(c for c in patch["status"]["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "PodCompleted"


def test_a_signal_is_128_and_its_number_with_the_number_told() -> None:
    killed = status.ended(-9, 1.0, 2.0)
    assert killed.code == 137
    shown = status.patch(PLAN, Facts(PLACED, 0.0, killed), final=True)["status"]["containerStatuses"][0]
    assert shown["state"]["terminated"]["signal"] == 9


def test_restarts_and_the_last_end_are_told_while_waiting() -> None:
    facts = Facts(PLACED, 999.0, Waiting("CrashLoopBackOff", "ended with 3; again in 1 s"), ENDED, 4)
    shown = status.patch(PLAN, facts)["status"]["containerStatuses"][0]
    assert shown["restartCount"] == 4
    assert shown["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert shown["lastState"]["terminated"]["exitCode"] == 3
    assert not shown["ready"]


def test_a_pod_without_an_address_yet_claims_none() -> None:
    patch = status.patch(PLAN, Facts(Placement((), PLACED.host_ips), 999.0, Waiting("ContainerCreating", "")))
    assert "podIP" not in patch["status"]
    assert patch["status"]["hostIP"] == "10.10.0.11"
