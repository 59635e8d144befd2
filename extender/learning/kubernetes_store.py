# SPDX-License-Identifier: Apache-2.0
"""TrafficFootprints and the election's Lease in the Kubernetes API.

Enters: an API client. Leaves: records in a TrafficFootprintIndex as they change, and single requests. Guarantees
of the reflector hold. Without the resource, or the right to read it, the watch retries slowly and logs once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import structlog
from kubernetes.client import ApiClient

from extender.cluster.trafficfootprint_index import TrafficFootprintIndex
from extender.learning.store import StoreState
from extender.model.trafficfootprint import PLURAL, VERSION, Record, decode_record
from footprint.cluster.client import MERGE_PATCH, ApiError, request
from footprint.cluster.reflector import Reflector
from footprint.keys import FIELD_MANAGER, GROUP, LEARNER_LEASE

PATIENCE: Final = 30.0
"""Seconds between two looks whether the resource is there by now."""

_BASE: Final = f"/apis/{GROUP}/{VERSION}"
_QUERY: Final = {"fieldManager": FIELD_MANAGER}
_MISSING: Final[Mapping[int, StoreState]] = {
    HTTPStatus.NOT_FOUND: StoreState.ABSENT, HTTPStatus.FORBIDDEN: StoreState.FORBIDDEN,
}  # fmt: skip
_REMEDIES: Final = {
    StoreState.ABSENT: "kubectl apply -f manifests/base/crd.yaml",
    StoreState.FORBIDDEN: "kubectl apply -f manifests/base/extender-rbac.yaml",
}
_log = structlog.get_logger()


class FootprintWatch(Reflector[Record]):
    """All TrafficFootprints, if there are such things here."""

    def __init__(self, api: ApiClient, index: TrafficFootprintIndex, *, patience: float = PATIENCE) -> None:
        super().__init__(api, f"{_BASE}/{PLURAL}", decode=decode_record, sink=index)
        self._index, self._patience = index, patience
        self._stopping = threading.Event()
        self.state = StoreState.WAITING

    def run(self, stop: threading.Event) -> None:
        self._stopping = stop
        super().run(stop)

    def _list(self) -> None:
        super()._list()
        if self.state in _REMEDIES:
            _log.info("TrafficFootprints are followed now")
        self.state = StoreState.FOLLOWED

    def _failed(self, error: Exception, failures: int) -> None:
        missing = _MISSING.get(error.status) if isinstance(error, ApiError) else None
        if missing is None:
            super()._failed(error, failures)
            return
        self.errors += 1
        if missing is not self.state:
            _log.warning(
                "TrafficFootprints cannot be used: workloads are known while their pods are, as without --learn",
                state=missing.value, error=str(error), remedy=_REMEDIES[missing],
            )  # fmt: skip
        self.state, self._version = missing, None
        if missing is StoreState.ABSENT:
            self._index.replace([])
        self._stopping.wait(self._patience * (0.75 + random.random() / 2))  # noqa: S311 - spreads load


class KubernetesStore:
    """Requests; each raises ApiError."""

    def __init__(self, api: ApiClient, watch: FootprintWatch, *, namespace: str) -> None:
        self._api, self._watch = api, watch
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"

    @property
    def state(self) -> StoreState:
        return self._watch.state

    def create(self, obj: Mapping[str, Any]) -> None:
        path = f"{_BASE}/namespaces/{quote(obj['metadata']['namespace'], safe='')}/{PLURAL}"
        request(self._api, "POST", path, query=_QUERY, body=obj)

    def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        request(
            self._api, "PATCH", f"{self._path(namespace, name)}/status", query=_QUERY, body={"status": status},
            content_type=MERGE_PATCH,
        )  # fmt: skip

    def delete(self, record: Record) -> None:
        """Only the object as it was seen: what somebody wrote into it since keeps it."""
        preconditions = {"uid": record.uid, "resourceVersion": record.version}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        request(self._api, "DELETE", self._path(record.ns, record.name), body=body)

    def _path(self, namespace: str, name: str) -> str:
        return f"{_BASE}/namespaces/{quote(namespace, safe='')}/{PLURAL}/{quote(name, safe='')}"

    def read_lease(self) -> dict[str, Any]:
        return request(self._api, "GET", f"{self._leases}/{LEARNER_LEASE}")

    def write_lease(self, lease: Mapping[str, Any]) -> None:
        """Refused with 409 when the Lease changed since it was read."""
        request(self._api, "PUT", f"{self._leases}/{LEARNER_LEASE}", query=_QUERY, body=lease)

    def create_lease(self) -> None:
        lease = {
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEARNER_LEASE},
        }  # fmt: skip
        request(self._api, "POST", self._leases, query=_QUERY, body=lease)
