# SPDX-License-Identifier: Apache-2.0
"""The cluster that a verdict rests on: a live one, or one saved in a file.

Enters: an API server, or the path of a saved ``kubectl get nodes,pods,leases -A -o json``. Leaves: the same
objects, decoded. Reads only. Raises ApiError and StateFileError.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

from extender.cluster.offline import SavedCluster, read_objects
from extender.model.trafficfootprint import API_VERSION, KIND, PLURAL
from footprint.cluster import paths
from footprint.cluster.client import ApiError
from plugin.cluster import Cluster


def from_file(path: Path, *, learn: bool) -> SavedCluster:
    """A saved cluster. Without ``learn`` it has no TrafficFootprints. Raises StateFileError."""
    return SavedCluster(read_objects(path), learn=learn)


def from_api(cluster: Cluster, *, lease_namespace: str, learn: bool) -> SavedCluster:
    """The cluster as it is now. Raises ApiError."""
    return SavedCluster(objects(cluster, lease_namespace=lease_namespace, learn=learn), learn=learn)


def objects(cluster: Cluster, *, lease_namespace: str, learn: bool) -> list[dict[str, Any]]:
    """The objects that a saved cluster is made of. Raises ApiError."""
    collections = {"Node": paths.NODES, "Lease": paths.leases(lease_namespace), "Pod": paths.PODS}
    # Lists leave their items' kind out.
    found: list[dict[str, Any]] = [
        {**item, "kind": kind} for kind, path in collections.items() for item in cluster.items(path)
    ]
    if learn:
        found += _traffic_footprints(cluster)
    return found


def _traffic_footprints(cluster: Cluster) -> list[dict[str, Any]]:
    """TrafficFootprints; none where there is no such kind, or no right to read it. So does the extender."""
    try:
        return [{**item, "kind": KIND} for item in cluster.items(paths.custom(API_VERSION, PLURAL))]
    except ApiError as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
            raise
        return []
