# SPDX-License-Identifier: Apache-2.0
"""Workload identity: which pods are copies of one another, so that one predicts what the next will need.

Enters: a pod's metadata as the API serves it (a JSON dict). Leaves: ``Kind/name`` inside the pod's namespace.

The rule, in order:

1. A valid ``workload`` annotation: ``Workload/NAME``.
2. A virtual machine of KubeVirt, or the set that it is one of (``footprint.kubevirt``).
3. A row of ``footprint.workload_table``: where the owner's name does not identify the
   workload, the operator's labels do.
4. The controlling owner, without what its controller appended for one revision or one run:

   * a ReplicaSet whose name ends in the pod's template hash belongs to the Deployment or Rollout of that hash;
   * a run-once object whose name ends in a timestamp belongs to its schedule: a Job to its CronJob;
   * a run-once object whose name ends in the five characters that the API server appends to a ``generateName``
     belongs to the workload of the name before them.

5. A pod that nobody controls is a workload of its own, by its ``generateName`` where it has one. A static pod
   (its owner is its Node) is the same workload on every node.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from footprint.keys import POD_WORKLOAD
from footprint.kubevirt import INSTANCE, Guest, guest_of, workload_by_guest
from footprint.workload_table import by_labels

_TEMPLATE_HASHES: Final = {"pod-template-hash": "Deployment", "rollouts-pod-template-hash": "Rollout"}
"""Label that repeats the end of a ReplicaSet's name, and the kind that made the ReplicaSet."""
_STARTERS: Final = {
    "Job": "CronJob",
    "BroadcastJob": "AdvancedCronJob",
    "Workflow": "CronWorkflow",
    "SparkApplication": "ScheduledSparkApplication",
}
"""Kinds that run once, and who starts them by the clock."""
_RUN_ONCE: Final = frozenset({
    *_STARTERS, "JobSet", "MPIJob", "Pipeline", "PipelineRun", "PyTorchJob", "RayCluster", "RayJob", "TFJob",
    "TaskRun", "TrainJob", "XGBoostJob",
})  # fmt: skip
_TIME: Final = re.compile(r"-(\d{8}|\d{10}|\d{13}|\d{19})$")
"""The minute (CronJob) or second since 1970, or milliseconds or nanoseconds of it."""
_GENERATED: Final = re.compile(r"-[bcdfghjklmnpqrstvwxz2456789]{5}$")
"""The alphabet of Kubernetes' names.go: no vowels, so that few words of people end so."""
_MAX_LENGTH: Final = 253
"""Of a name on the wire (``footprint.models``)."""
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_OWNER: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.:]{0,251}[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def valid_workload_name(name: str) -> bool:
    """A value the ``workload`` annotation may have: up to 63 letters, digits, ``-_.``, as for a label."""
    return _NAME.fullmatch(name) is not None


def workload_of(metadata: Mapping[str, Any]) -> str:
    """``Kind/name`` of the workload a pod belongs to, at most 253 characters. See the module for the rule."""
    return _bounded(_workload_of(metadata))


def guest_in(metadata: Mapping[str, Any]) -> Guest | None:
    """Whose guest the pod runs, or will run after a migration; None: it runs no virtual machine of KubeVirt."""
    return guest_of(_mapping(metadata.get("labels")), _mapping(metadata.get("annotations")), _controller(metadata))


def machine_of(metadata: Mapping[str, Any]) -> str:
    """Name of the VirtualMachineInstance that controls the pod; empty: none does."""
    kind, name = _controller(metadata) or ("", "")
    return name if kind == INSTANCE else ""


def _workload_of(metadata: Mapping[str, Any]) -> str:
    annotations = _mapping(metadata.get("annotations"))
    wished = annotations.get(POD_WORKLOAD)
    if isinstance(wished, str) and valid_workload_name(wished):
        return f"Workload/{wished}"
    labels, owner = _mapping(metadata.get("labels")), _controller(metadata)
    found = workload_by_guest(labels, annotations, owner) or (
        by_labels(labels, owner, _text(metadata.get("name"))) if labels else None
    )
    if found is not None:
        kind, name, role = found
        kind, name = _without_run(kind, name)
        return f"{kind}/{name}.{role}" if role else f"{kind}/{name}"
    if owner is None:
        return f"Pod/{_text(metadata.get('generateName')).rstrip('-.') or _text(metadata.get('name'))}"
    kind, name = owner
    if kind == "Node":
        return f"Pod/{_text(metadata.get('name')).removesuffix(f'-{name}')}"
    kind, name = _without_revision(kind, name, labels)
    kind, name = _without_run(kind, name)
    return f"{kind}/{name}"


def _without_revision(kind: str, name: str, labels: Mapping[str, Any]) -> tuple[str, str]:
    """A ReplicaSet's maker, where the pod repeats the template's hash."""
    if kind == "ReplicaSet":
        for label, maker in _TEMPLATE_HASHES.items():
            template = labels.get(label)
            if isinstance(template, str) and template and name.endswith(f"-{template}"):
                return maker, name.removesuffix(f"-{template}")
    return kind, name


def _without_run(kind: str, name: str) -> tuple[str, str]:
    """The schedule that started this run, or the run-once object without its generated suffix."""
    if kind in _STARTERS and _TIME.search(name):
        return _STARTERS[kind], _TIME.sub("", name)
    if kind in _RUN_ONCE:
        return kind, _GENERATED.sub("", _TIME.sub("", name))
    return kind, name


def _controller(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and name of the controlling owner. Whoever may create pods writes there what they like, of any length:
    what no Kubernetes object could be called is no owner."""
    for owner in metadata.get("ownerReferences") or ():
        if isinstance(owner, Mapping) and owner.get("controller"):
            kind, name = _text(owner.get("kind")), _text(owner.get("name"))
            if _KIND.fullmatch(kind) and _OWNER.fullmatch(name):
                return kind, name
    return None


def _bounded(workload: str) -> str:
    """``workload``, or as much of it as the wire takes and a digest of the whole."""
    if len(workload) <= _MAX_LENGTH:
        return workload
    digest = hashlib.sha256(workload.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{workload[: _MAX_LENGTH - 9]}~{digest}"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
