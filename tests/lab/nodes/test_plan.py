# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from lab.nodes import plan as planning
from lab.nodes.plan import Placement, plan_of

PLACEMENT = Placement(("10.244.1.10", "fd00:244:1::a"), ("10.10.0.11", "fd00:10::11"))


def pod(
    *, meta: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **container: Any
) -> dict[str, Any]:
    made = {"name": "main", "image": "none", "command": ["run"], **container}
    return {
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}, **(meta or {})},
        "spec": {"nodeName": "node1", "containers": [made], **(spec or {})},
        "status": {"phase": "Pending"},
    }


def field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_command_and_arguments_make_one_vector_with_references_resolved() -> None:
    raw = pod(command=["run", "$(PORT)"], args=["--to=$(HOST):$(PORT)", "$(UNKNOWN)", "$$(PORT)"],
              env=[{"name": "PORT", "value": "80"}, {"name": "HOST", "value": "h$(PORT)"}])  # fmt: skip
    plan = plan_of(raw)
    env = planning.environment(plan, PLACEMENT)
    assert env == {"PORT": "80", "HOST": "h80"}
    assert planning.command(plan, env) == ["run", "80", "--to=h80:80", "$(UNKNOWN)", "$(PORT)"]


def test_fields_become_variables() -> None:
    paths = {
        "IP": "status.podIP", "IPS": "status.podIPs", "HOST": "status.hostIP", "NAME": "metadata.name",
        "NS": "metadata.namespace", "UID": "metadata.uid", "NODE": "spec.nodeName",
        "APP": "metadata.labels['app']",
    }  # fmt: skip
    plan = plan_of(pod(env=[field(name, path) for name, path in paths.items()]))
    assert planning.environment(plan, PLACEMENT) == {
        "IP": "10.244.1.10", "IPS": "10.244.1.10,fd00:244:1::a", "HOST": "10.10.0.11", "NAME": "web-1",
        "NS": "shop", "UID": "u-1", "NODE": "node1", "APP": "web",
    }  # fmt: skip


def test_a_label_that_looks_like_a_reference_stays_a_label() -> None:
    raw = pod(
        meta={"labels": {"app": "$(X)$$"}}, env=[{"name": "X", "value": "1"}, field("L", "metadata.labels['app']")]
    )
    assert planning.environment(plan_of(raw), PLACEMENT)["L"] == "$(X)$$"


@pytest.mark.parametrize(
    ("container", "word"),
    [
        ({"command": None}, "command"),
        ({"command": [], "args": ["x"]}, "command"),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}, "variable A"),
        ({"env": [field("A", "spec.unheard")]}, "variable A"),
        ({"envFrom": [{"configMapRef": {"name": "c"}}]}, "envFrom"),
    ],
)
def test_what_the_lab_cannot_run_is_an_error_in_words(container: dict[str, Any], word: str) -> None:
    assert word in plan_of(pod(**container)).error


def test_a_pod_that_can_run_has_no_error() -> None:
    assert plan_of(pod()).error == ""


def test_the_grace_period_is_known_once_deletion_was_asked_for() -> None:
    assert plan_of(pod()).grace is None
    doomed = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 3}
    assert plan_of(pod(meta=doomed)).grace == 3.0
    assert plan_of(pod(meta={**doomed, "deletionGracePeriodSeconds": 0})).grace == 0.0


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 137, True),
        ("Never", 0, False), ("Never", 1, False),
    ],
)  # fmt: skip
def test_the_restart_policy_decides(policy: str, code: int, again: bool) -> None:
    assert planning.restarts(policy, code) is again


def test_restarts_wait_longer_and_longer_up_to_a_cap() -> None:
    waits = [planning.backoff(count) for count in range(1, 40)]
    assert waits == sorted(waits)
    assert waits[0] == 0.2
    assert waits[-1] == 5.0
