# SPDX-License-Identifier: Apache-2.0
"""Paths of the API server's resources.

Enters: names as they are. Leaves: URL paths, each name quoted. The one place that spells API groups of Kubernetes.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

NODES: Final = "/api/v1/nodes"
PODS: Final = "/api/v1/pods"
LEASE_API: Final = "coordination.k8s.io/v1"
"""``apiVersion`` of a Lease."""
EVENT_API: Final = "events.k8s.io/v1"


def _named(collection: str, name: str | None) -> str:
    return collection if name is None else f"{collection}/{quote(name, safe='')}"


def node(name: str) -> str:
    """One Node."""
    return _named(NODES, name)


def namespace(name: str) -> str:
    """One Namespace."""
    return _named("/api/v1/namespaces", name)


def pods(namespace: str) -> str:
    """The Pods of one namespace."""
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"


def eviction(namespace: str, pod: str) -> str:
    """Where a pod's eviction is asked for."""
    return f"{_named(pods(namespace), pod)}/eviction"


def leases(namespace: str, name: str | None = None) -> str:
    """The Leases of ``namespace``, or the one called ``name``."""
    return _named(f"/apis/{LEASE_API}/namespaces/{quote(namespace, safe='')}/leases", name)


def events(namespace: str) -> str:
    """The Events of one namespace."""
    return f"/apis/{EVENT_API}/namespaces/{quote(namespace, safe='')}/events"


def custom(api_version: str, plural: str, namespace: str | None = None, name: str | None = None) -> str:
    """A custom resource: all objects, those of ``namespace``, or the one called ``name``."""
    if namespace is None:
        return f"/apis/{api_version}/{plural}"
    return _named(f"/apis/{api_version}/namespaces/{quote(namespace, safe='')}/{plural}", name)
