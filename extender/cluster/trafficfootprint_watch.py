# SPDX-License-Identifier: Apache-2.0
"""Follow TrafficFootprints into their index, where the cluster has such a resource.

Enters: an API client. Leaves: records in a TrafficFootprintIndex, and ``state``. Guarantees: those of the
reflector. Without the resource, or the right to read it, the watch tries again at long intervals, and logs
once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final

import structlog
from kubernetes.client import ApiClient

from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.model.trafficfootprint import API_VERSION, PLURAL, Record, decode_record
from footprint.cluster import paths
from footprint.cluster.client import ApiError
from footprint.cluster.reflector import Reflector

RETRY_SECONDS: Final = 30.0
"""Seconds between two attempts while the resource is missing."""


class ResourceState(StrEnum):
    """Whether TrafficFootprints can be read; the values are metric labels.

    The learner works in FOLLOWED only. In every other state the extender behaves as with --no-learn.
    """

    WAITING = "waiting"  # not listed yet
    FOLLOWED = "followed"
    ABSENT = "absent"  # the cluster has no such resource: its definition is not installed
    FORBIDDEN = "forbidden"  # RBAC does not let this account list and watch them


_MISSING: Final[Mapping[int, ResourceState]] = {
    HTTPStatus.NOT_FOUND: ResourceState.ABSENT, HTTPStatus.FORBIDDEN: ResourceState.FORBIDDEN,
}  # fmt: skip
_REMEDIES: Final = {
    ResourceState.ABSENT: "kubectl apply -f manifests/base/crd.yaml",
    ResourceState.FORBIDDEN: "kubectl apply -f manifests/base/extender-rbac.yaml",
}
_log = structlog.get_logger()


class TrafficFootprintWatch(Reflector[Record]):
    """All TrafficFootprints of the cluster."""

    def __init__(
        self, api: ApiClient, index: TrafficFootprintIndex, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        super().__init__(api, paths.custom(API_VERSION, PLURAL), decode=decode_record, sink=index)
        self._index, self._retry_seconds = index, retry_seconds
        self._stopping = threading.Event()
        self.state = ResourceState.WAITING

    @property
    def followed(self) -> bool:
        """The cluster's TrafficFootprints are known."""
        return self.state is ResourceState.FOLLOWED

    def run(self, stop: threading.Event) -> None:
        self._stopping = stop
        super().run(stop)

    def _list(self) -> None:
        super()._list()
        if self.state in _REMEDIES:
            _log.info("TrafficFootprints are followed now")
        self.state = ResourceState.FOLLOWED

    def _failed(self, error: Exception, failures: int) -> None:
        missing = _MISSING.get(error.status) if isinstance(error, ApiError) else None
        if missing is None:
            super()._failed(error, failures)
            return
        self.errors += 1
        if missing is not self.state:
            _log.warning(
                "TrafficFootprints cannot be read: the extender works as with --no-learn",
                state=missing.value, error=str(error), remedy=_REMEDIES[missing],
            )  # fmt: skip
        self.state, self._version = missing, None
        if missing is ResourceState.ABSENT:
            self._index.replace([])
        self._stopping.wait(self._retry_seconds * (0.75 + random.random() / 2))  # noqa: S311 - spreads load
