# SPDX-License-Identifier: Apache-2.0
"""What KubeVirt writes on the pods of its virtual machines.

Enters: a pod's labels, annotations and controlling owner. Leaves: the workload of such a pod, and whose guest it
runs. Pure. Whoever may create pods writes there what they like: what does not fit is passed over.

Facts, read in KubeVirt's source (1.9):

- A launcher pod is called ``virt-launcher-NAME-xxxxx`` and controlled by a VirtualMachineInstance. The pod's name
  changes with each start and each migration. A VirtualMachine's instance has its name at every start.
- Its labels and annotations are the instance's, which are those of the VirtualMachine's template.
- The virtual machines of a pool are called ``POOL-INDEX``, and their template gets the label
  ``kubevirt.io/vm-pool-revision-name: POOL-GENERATION``.
- A replica set appends five characters to its name, without a dash. No label names it. KubeVirt's examples give
  the template a label ``kubevirt.io/vmReplicaSet``, and that of a pool ``kubevirt.io/vmpool``.
- Source and target pod of a migration have the same instance. The target has the label
  ``kubevirt.io/migrationJobUID``, and from the moment when its guest runs the annotation
  ``kubevirt.io/migration-target-ready-timestamp``.
- A volume that is attached while the guest runs has a pod of its own, controlled by the launcher pod.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

INSTANCE: Final = "VirtualMachineInstance"
_CREATED_BY: Final = "kubevirt.io/created-by"
_MIGRATION: Final = "kubevirt.io/migrationJobUID"
_ARRIVED: Final = "kubevirt.io/migration-target-ready-timestamp"
_POOL_REVISION: Final = "kubevirt.io/vm-pool-revision-name"
_SETS: Final = {"kubevirt.io/vmpool": "VirtualMachinePool", "kubevirt.io/vmReplicaSet": f"{INSTANCE}ReplicaSet"}
_APP: Final = "kubevirt.io"
_HOTPLUG: Final = "hotplug-disk"
_VOLUME_OF: Final = "kubevirt.io/owner-vmi-name"
_LAUNCHER: Final = re.compile(r"virt-launcher-(.+)-[a-z0-9]{5}")
_REVISION: Final = re.compile(r"(.+)-\d+")
_INDEX: Final = re.compile(r"-\d+")
_GENERATED: Final = re.compile(r"-?[bcdfghjklmnpqrstvwxz2456789]{5}")
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_UID: Final = re.compile(r"[-A-Za-z0-9]{1,64}")


@dataclass(frozen=True, slots=True)
class Guest:
    """Whose guest a pod runs, or will run."""

    uid: str
    """Of the VirtualMachineInstance: another at each start, the same in all pods of a migration."""
    target: bool = False
    """The pod was made by a migration."""
    arrived: bool = True
    """The guest runs in this pod, or ran in it; False: in another one still."""


def guest_of(
    labels: Mapping[str, Any], annotations: Mapping[str, Any], owner: tuple[str, str] | None
) -> Guest | None:
    """The guest of a launcher pod; None for any other pod. ``owner``: kind and name of the controller."""
    uid = labels.get(_CREATED_BY)
    if owner is None or owner[0] != INSTANCE or not isinstance(uid, str) or not _UID.fullmatch(uid):
        return None
    target = bool(labels.get(_MIGRATION))
    return Guest(uid, target, arrived=not target or bool(annotations.get(_ARRIVED)))


def workload_by_guest(
    labels: Mapping[str, Any], annotations: Mapping[str, Any], owner: tuple[str, str] | None
) -> tuple[str, str, str] | None:
    """Kind, name and role of a virtual machine's pod; None for any other pod."""
    if owner is None:
        return None
    kind, name = owner
    if kind == INSTANCE:
        return (*_set_of(labels, name), "")
    if kind == "Pod" and labels.get(_APP) == _HOTPLUG:
        said, launcher = annotations.get(_VOLUME_OF), _LAUNCHER.fullmatch(name)
        of = said if isinstance(said, str) and _NAME.fullmatch(said) else launcher and launcher[1]
        return (INSTANCE, of, _HOTPLUG) if of else None
    return None


def _set_of(labels: Mapping[str, Any], name: str) -> tuple[str, str]:
    """What the instance ``name`` is one of many of, else itself. A label counts where the name agrees with it."""
    revision = labels.get(_POOL_REVISION)
    if isinstance(revision, str) and (found := _REVISION.fullmatch(revision)) and _one_of(found[1], name, _INDEX):
        return "VirtualMachinePool", found[1]
    for label, kind in _SETS.items():
        many = labels.get(label)
        suffix = _INDEX if kind == "VirtualMachinePool" else _GENERATED
        if isinstance(many, str) and _NAME.fullmatch(many) and _one_of(many, name, suffix):
            return kind, many
    return INSTANCE, name


def _one_of(many: str, name: str, suffix: re.Pattern[str]) -> bool:
    return name.startswith(many) and suffix.fullmatch(name[len(many) :]) is not None
