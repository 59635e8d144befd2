# SPDX-License-Identifier: Apache-2.0
"""Pods as KubeVirt makes them (`pkg/virt-controller/services/template.go` of 1.9)."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footprint.keys import POD_WORKLOAD
from footprint.kubevirt import Guest
from footprint.workload import guest_in, machine_of, workload_of

UID = "6b1c9d5e-0f0e-4d39-9a51-7f1c5cbb6a0b"
JOB = {"kubevirt.io/migrationJobUID": "0c5d7a52-64c1-4b1e-8a5b-0b1f3b0f8f6e"}
ARRIVED = {"kubevirt.io/migration-target-ready-timestamp": "2026-03-01 10:00:00 +0000 UTC"}
OWNER = "kubevirt.io/owner-vmi-name"
REVISION = "kubevirt.io/vm-pool-revision-name"
POOL, SET = "kubevirt.io/vmpool", "kubevirt.io/vmReplicaSet"


def launcher(
    name: str,
    suffix: str = "x7k2p",
    *,
    labels: dict[str, Any] | None = None,
    annotations: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod that runs the VirtualMachineInstance ``name``."""
    return {
        "name": f"virt-launcher-{name}-{suffix}", "generateName": f"virt-launcher-{name}-",
        "labels": {
            "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": UID, "vm.kubevirt.io/name": name,
            "vmi.kubevirt.io/id": name, **(labels or {}),
        },
        "annotations": {"kubevirt.io/domain": name, **(annotations or {})},
        "ownerReferences": [
            {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": name, "controller": True}
        ],
    }  # fmt: skip


def volume(owner: str, **annotations: str) -> dict[str, Any]:
    """The pod of a volume that was attached to a running guest."""
    return {
        "name": "hp-volume-b9x5m", "labels": {"kubevirt.io": "hotplug-disk"}, "annotations": annotations,
        "ownerReferences": [{"kind": "Pod", "name": owner, "controller": True}],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        (launcher("db"), "VirtualMachineInstance/db"),
        (launcher("db", "q8zzn", labels=JOB), "VirtualMachineInstance/db"),
        (launcher("db", annotations={POD_WORKLOAD: "mine"}), "Workload/mine"),
        # A pool's machines are one workload, whatever revision they are of.
        (launcher("web-0", labels={REVISION: "web-1"}), "VirtualMachinePool/web"),
        (launcher("web-12", labels={REVISION: "web-7"}), "VirtualMachinePool/web"),
        (launcher("web-2-3", labels={REVISION: "web-2-1"}), "VirtualMachinePool/web-2"),
        (launcher("web-0", labels={POOL: "web"}), "VirtualMachinePool/web"),
        (launcher("workerx7k2p", labels={SET: "worker"}), "VirtualMachineInstanceReplicaSet/worker"),
        (launcher("worker-x7k2p", labels={SET: "worker"}), "VirtualMachineInstanceReplicaSet/worker"),
        # A label that the name contradicts was copied from elsewhere.
        (launcher("db", labels={REVISION: "web-1"}), "VirtualMachineInstance/db"),
        (launcher("web-first", labels={REVISION: "web-1"}), "VirtualMachineInstance/web-first"),
        (launcher("web-0", labels={REVISION: "web"}), "VirtualMachineInstance/web-0"),
        (launcher("worker-north", labels={SET: "worker"}), "VirtualMachineInstance/worker-north"),
        (launcher("db", labels={REVISION: 7, POOL: ["db"], SET: ""}), "VirtualMachineInstance/db"),
        # The machine is what it is, whatever its template's labels say of what runs in it.
        (launcher("db", labels={"ray.io/cluster": "c", "ray.io/group": "g"}), "VirtualMachineInstance/db"),
        (volume("virt-launcher-db-x7k2p"), "VirtualMachineInstance/db.hotplug-disk"),
        (
            volume("virt-launcher-a-very-lo-x7k2p", **{OWNER: "a-very-long-one"}),
            "VirtualMachineInstance/a-very-long-one.hotplug-disk",
        ),
        (volume("virt-launcher-db-x7k2p", **{OWNER: "a/b"}), "VirtualMachineInstance/db.hotplug-disk"),
        (volume("other"), "Pod/other"),
    ],
)  # fmt: skip
def test_the_virtual_machine_is_the_workload(metadata: dict[str, Any], workload: str) -> None:
    assert workload_of(metadata) == workload


@pytest.mark.parametrize(
    ("metadata", "guest"),
    [
        (launcher("db"), Guest(UID)),
        (launcher("db", labels=JOB), Guest(UID, target=True, arrived=False)),
        (launcher("db", labels=JOB, annotations=ARRIVED), Guest(UID, target=True)),
        (launcher("db", labels={"kubevirt.io/created-by": "no\nuid"}), None),
        (launcher("db", labels={"kubevirt.io/created-by": 7}), None),
        # Labels alone make no launcher: anybody may write them.
        (launcher("db") | {"ownerReferences": []}, None),
        (volume("virt-launcher-db-x7k2p"), None),
        ({"name": "p", "labels": None}, None),
    ],
)
def test_a_migrations_pods_have_one_guest_that_runs_in_one_of_them(
    metadata: dict[str, Any], guest: Guest | None
) -> None:
    assert guest_in(metadata) == guest


def test_a_machine_is_called_as_its_instance_and_not_as_its_guests_host() -> None:
    assert machine_of(launcher("db") | {"labels": {"vm.kubevirt.io/name": "host"}}) == "db"
    assert machine_of(volume("virt-launcher-db-x7k2p")) == ""


_VALUES = st.one_of(st.text(max_size=70), st.integers(), st.none(), st.sampled_from(["web-0", "web", "web-1"]))


@given(
    st.dictionaries(
        st.sampled_from([REVISION, POOL, SET, "kubevirt.io/created-by", *JOB, "kubevirt.io"]), _VALUES
    ),
    st.dictionaries(st.sampled_from([*ARRIVED, "kubevirt.io/owner-vmi-name"]), _VALUES),
    st.sampled_from(["VirtualMachineInstance", "Pod"]),
)
def test_whatever_labels_say_the_workload_is_one_that_the_wire_takes(
    labels: dict[str, Any], annotations: dict[str, Any], kind: str
) -> None:
    metadata = launcher("web-0", labels=labels) | {"annotations": annotations}
    metadata["ownerReferences"][0] |= {"kind": kind, "name": "virt-launcher-web-0-x7k2p"}
    guest_in(metadata)
    assert re.fullmatch(r"[A-Za-z]+/[-A-Za-z0-9_.]{1,240}", workload_of(metadata))
