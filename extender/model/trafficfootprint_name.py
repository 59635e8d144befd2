# SPDX-License-Identifier: Apache-2.0
"""The name of a workload's TrafficFootprint: the same on every replica, valid, short enough to read.

Enters: a workload's key. Leaves: a name such as ``cronjob-backup-3f9a0c41d2``: what a DNS name can hold of the
workload's name, and a hash of the whole. Two workloads that differ only in case or length get different names.
Pure.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from extender.model.pods import WorkloadKey

MAX_LENGTH: Final = 63
"""The limit of a label. An object's name may have 253 characters, but names stand in tables, logs and scripts."""

_HASH_LENGTH: Final = 10
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_WORKLOAD: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}/[A-Za-z0-9]([-A-Za-z0-9_.]{0,251}[A-Za-z0-9])?")
"""As in the custom resource's schema."""
_UNFIT: Final = re.compile(r"[^a-z0-9]+")


def nameable(key: WorkloadKey) -> bool:
    """Whether an object can stand for it. Footprints are data from nodes: they may hold anything."""
    namespace, workload = key
    return _NAMESPACE.fullmatch(namespace) is not None and valid_workload(workload)


def valid_workload(text: str) -> bool:
    """``Kind/name``, as the schema has it."""
    return _WORKLOAD.fullmatch(text) is not None


def object_name(workload: str) -> str:
    """Name of the object of a ``Kind/name``, within its namespace."""
    digest = hashlib.sha256(workload.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    readable = _UNFIT.sub("-", workload.lower()).strip("-")[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip("-")
    return f"{readable}-{digest}" if readable else f"w-{digest}"


def draw(key: WorkloadKey) -> float:
    """A number of [0, 1) derived from the workload's name: spreads work that would be due for all at once."""
    digest = hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4]) / 2**32
