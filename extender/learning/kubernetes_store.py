# SPDX-License-Identifier: Apache-2.0
"""Write TrafficFootprints and the Leases of elections.

Enters: an API client. Leaves: single requests. Guarantees: each call sends one request, never repeats it, and
raises ApiError when it fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kubernetes.client import ApiClient

from extender.model.trafficfootprint import API_VERSION, PLURAL, Record
from footprint.cluster import paths
from footprint.cluster.client import MERGE_PATCH, request
from footprint.keys import FIELD_MANAGER, LEARNER_LEASE

_QUERY: Final = {"fieldManager": FIELD_MANAGER}


class KubernetesLease:
    """A ``LeaseStore`` in the Kubernetes API: the Lease ``name``."""

    def __init__(self, api: ApiClient, *, namespace: str, name: str) -> None:
        self._api, self._namespace, self._lease = api, namespace, name

    def read_lease(self) -> dict[str, Any]:
        return request(self._api, "GET", paths.leases(self._namespace, self._lease))

    def write_lease(self, lease: Mapping[str, Any]) -> None:
        """The server refuses with 409 when the Lease changed since it was read."""
        request(self._api, "PUT", paths.leases(self._namespace, self._lease), query=_QUERY, body=lease)

    def create_lease(self) -> dict[str, Any]:
        """Make the Lease, held by nobody, and return it. The server refuses with 409 when it is there already."""
        lease = {"apiVersion": paths.LEASE_API, "kind": "Lease", "metadata": {"name": self._lease}}
        return request(self._api, "POST", paths.leases(self._namespace), query=_QUERY, body=lease)


class KubernetesStore(KubernetesLease):
    """A ``Store`` in the Kubernetes API."""

    def __init__(self, api: ApiClient, *, namespace: str) -> None:
        super().__init__(api, namespace=namespace, name=LEARNER_LEASE)

    def create(self, obj: Mapping[str, Any]) -> None:
        path = paths.custom(API_VERSION, PLURAL, obj["metadata"]["namespace"])
        request(self._api, "POST", path, query=_QUERY, body=obj)

    def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        path = f"{paths.custom(API_VERSION, PLURAL, namespace, name)}/status"
        body = {"status": status}
        request(self._api, "PATCH", path, query=_QUERY, body=body, content_type=MERGE_PATCH)

    def delete(self, record: Record) -> None:
        """Delete the object as it was seen. The server refuses with 409 when somebody changed it since."""
        preconditions = {"uid": record.uid, "resourceVersion": record.version}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        request(self._api, "DELETE", paths.custom(API_VERSION, PLURAL, record.ns, record.name), body=body)
