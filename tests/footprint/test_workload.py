# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import pytest

from footprint.keys import POD_WORKLOAD
from footprint.workload import workload_of


def owned(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"name": "p", "ownerReferences": [{"kind": kind, "name": name, "controller": True}], **more}


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        (owned("ReplicaSet", "web-7d4b9c", labels={"pod-template-hash": "7d4b9c"}), "Deployment/web"),
        (owned("ReplicaSet", "web-7d4b9c"), "ReplicaSet/web-7d4b9c"),  # a bare ReplicaSet
        (owned("ReplicaSet", "web", labels={"pod-template-hash": "other"}), "ReplicaSet/web"),
        (owned("Job", "backup-29384756"), "CronJob/backup"),  # named by a CronJob: minutes since 1970
        (owned("Job", "backup"), "Job/backup"),
        (owned("Job", "backup-2024"), "Job/backup-2024"),
        (owned("StatefulSet", "db"), "StatefulSet/db"),
        (owned("DaemonSet", "log"), "DaemonSet/log"),
        ({"name": "alone"}, "Pod/alone"),
        ({"name": "alone-x1", "generateName": "alone-"}, "Pod/alone"),
        ({"name": "p", "ownerReferences": [{"kind": "Job", "name": "j", "controller": False}]}, "Pod/p"),
        (owned("Job", "backup", annotations={POD_WORKLOAD: "etl"}), "Workload/etl"),
        (owned("Job", "backup", annotations={POD_WORKLOAD: "not a name!"}), "Job/backup"),
        (owned("Job", "backup", annotations=None, labels=None), "Job/backup"),
        ({"name": "p", "ownerReferences": ["hostile", {"controller": True}]}, "Pod/p"),
        ({}, "Pod/"),
        # Owners as nobody is called: whoever creates a pod writes them.
        (owned("K" * 64, "x"), "Pod/p"),
        (owned("Job", "x" * 254), "Pod/p"),
        (owned("Job", "\x1b[2J"), "Pod/p"),
        (owned("[link=x]", "x"), "Pod/p"),
        (owned("Job", "a\nb"), "Pod/p"),
        (owned("Job", "a/b"), "Pod/p"),
    ],
)
def test_copies_of_one_pod_share_a_workload(metadata: dict[str, Any], workload: str) -> None:
    assert workload_of(metadata) == workload


def test_the_longest_names_are_told_apart_within_what_the_wire_takes() -> None:
    one, other = (workload_of(owned("StatefulSet", "x" * 252 + last)) for last in "ab")
    assert len(one) == len(other) == 253
    assert one != other
    assert workload_of(owned("StatefulSet", "x" * 241)) == "StatefulSet/" + "x" * 241
