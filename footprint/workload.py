# SPDX-License-Identifier: Apache-2.0
"""Workload identity: which pods are copies of one another, so that one teaches what the next will need.

Enters: a pod's metadata as the API serves it (a JSON dict). Leaves: ``Kind/name`` inside the pod's namespace.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from footprint.keys import POD_WORKLOAD

_CRONJOB_SUFFIX: Final = re.compile(r"-\d{8}$")  # CronJob names its Jobs by the minute since 1970: 8 digits
_MAX_LENGTH: Final = 253
"""Of a name on the wire (``footprint.models``)."""
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_OWNER: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.:]{0,251}[A-Za-z0-9])?")
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def valid_workload_name(name: str) -> bool:
    """A value the ``workload`` annotation may have: up to 63 letters, digits, ``-_.``, as for a label."""
    return _NAME.fullmatch(name) is not None


def _controller(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and name of the controlling owner. Whoever may create pods writes there what they like, of any length:
    what no Kubernetes object could be called is no owner."""
    for owner in metadata.get("ownerReferences") or ():
        if isinstance(owner, Mapping) and owner.get("controller"):
            kind, name = owner.get("kind"), owner.get("name")
            if (
                isinstance(kind, str)
                and isinstance(name, str)
                and _KIND.fullmatch(kind)
                and _OWNER.fullmatch(name)
            ):
                return kind, name
    return None


def _bounded(workload: str) -> str:
    """``workload``, or as much of it as the wire takes and a digest of the whole."""
    if len(workload) <= _MAX_LENGTH:
        return workload
    digest = hashlib.sha256(workload.encode(errors="backslashreplace")).hexdigest()[:8]
    return f"{workload[: _MAX_LENGTH - 9]}~{digest}"


def workload_of(metadata: Mapping[str, Any]) -> str:
    """``Kind/name`` of the workload a pod belongs to, at most 253 characters.

    A valid ``workload`` annotation wins (``Workload/NAME``). Else the controlling owner: a ReplicaSet made by
    a Deployment (its name ends in the pod's ``pod-template-hash``) is the Deployment, a Job named by a CronJob
    is the CronJob. A pod nobody controls is its own workload, by ``generateName`` where it has one.
    """
    return _bounded(_workload_of(metadata))


def _workload_of(metadata: Mapping[str, Any]) -> str:
    wished = (metadata.get("annotations") or {}).get(POD_WORKLOAD)
    if isinstance(wished, str) and valid_workload_name(wished):
        return f"Workload/{wished}"
    owner = _controller(metadata)
    if owner is None:
        generated = metadata.get("generateName")
        name = generated.rstrip("-.") if isinstance(generated, str) and generated else metadata.get("name", "")
        return f"Pod/{name}"
    kind, name = owner
    if kind == "ReplicaSet":
        template = (metadata.get("labels") or {}).get("pod-template-hash")
        if isinstance(template, str) and template and name.endswith(f"-{template}"):
            return f"Deployment/{name.removesuffix(f'-{template}')}"
    if kind == "Job" and _CRONJOB_SUFFIX.search(name):
        return f"CronJob/{_CRONJOB_SUFFIX.sub('', name)}"
    return f"{kind}/{name}"
