# SPDX-License-Identifier: Apache-2.0
"""What the learner needs of the API, and how that can be missing: no Kubernetes here."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from extender.model.trafficfootprint import Record


class StoreState(StrEnum):
    """Whether TrafficFootprints can be read; the values are metric labels. Only FOLLOWED lets anything be learned,
    and every other leaves the extender as it is without them."""

    WAITING = "waiting"  # not listed yet
    FOLLOWED = "followed"
    ABSENT = "absent"  # the cluster has no such resource: its definition is not installed
    FORBIDDEN = "forbidden"  # RBAC does not let this account list and watch them


class Store(Protocol):
    """Every call may raise ``footprint.cluster.client.ApiError``."""

    @property
    def state(self) -> StoreState: ...
    def create(self, obj: Mapping[str, Any]) -> None: ...
    def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None: ...
    def delete(self, record: Record) -> None: ...
    def read_lease(self) -> dict[str, Any]: ...
    def write_lease(self, lease: Mapping[str, Any]) -> None: ...
    def create_lease(self) -> None: ...
