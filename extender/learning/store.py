# SPDX-License-Identifier: Apache-2.0
"""The requests that learning sends, without Kubernetes: tests keep objects in memory instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from extender.model.trafficfootprint import Record


class LeaseStore(Protocol):
    """The one Lease of an election. Every call may raise ``footprint.cluster.client.ApiError``."""

    def read_lease(self) -> dict[str, Any]: ...
    def write_lease(self, lease: Mapping[str, Any]) -> None: ...
    def create_lease(self) -> dict[str, Any]: ...


class Store(LeaseStore, Protocol):
    """Every call may raise ``footprint.cluster.client.ApiError``."""

    def create(self, obj: Mapping[str, Any]) -> None: ...
    def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None: ...
    def delete(self, record: Record) -> None: ...
