# SPDX-License-Identifier: Apache-2.0
"""Whether a namespace exists, for what would otherwise be an empty table."""

from __future__ import annotations

from http import HTTPStatus

from footprint.cluster import paths
from footprint.commands import BadSettingError
from plugin.cluster import Cluster, RefusedError


def check_namespace(cluster: Cluster, namespace: str) -> None:
    """Raises BadSettingError for a namespace that there is not. One that may not be read passes."""
    try:
        cluster.read(paths.namespace(namespace), metadata_only=True)
    except RefusedError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise BadSettingError(
                f"there is no namespace {namespace!r}", "name another with -n, or use -A for all"
            ) from error
        if error.status != HTTPStatus.FORBIDDEN:
            raise
