# SPDX-License-Identifier: Apache-2.0
"""Pods as KubeVirt makes them for a virtual machine and its live migration. No part of KubeVirt runs here."""

from __future__ import annotations

from typing import Any

from tests.cluster.support.workloads import pod

INSTANCE = "6b1c9d5e-0f0e-4d39-9a51-7f1c5cbb6a0b"
MIGRATION = {"kubevirt.io/migrationJobUID": "0c5d7a52-64c1-4b1e-8a5b-0b1f3b0f8f6e"}
ARRIVED = {"kubevirt.io/migration-target-ready-timestamp": "2026-03-01 10:00:00 +0000 UTC"}


def launcher(
    machine: str, suffix: str, command: list[str], *, node: str, target: bool = False
) -> dict[str, Any]:  # fmt: skip
    """A launcher pod of ``machine``; ``target``: one that a migration made."""
    labels = {
        "kubevirt.io": "virt-launcher", "kubevirt.io/created-by": INSTANCE, "vm.kubevirt.io/name": machine,
        "vmi.kubevirt.io/id": machine, **(MIGRATION if target else {}),
    }  # fmt: skip
    made = pod(
        f"virt-launcher-{machine}-{suffix}", command, node=node, labels=labels,
        annotations={"kubevirt.io/domain": machine},
    )  # fmt: skip
    made["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": machine, "uid": INSTANCE,
            "controller": True, "blockOwnerDeletion": False,
        }
    ]  # fmt: skip
    return made
