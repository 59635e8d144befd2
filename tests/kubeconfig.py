# SPDX-License-Identifier: Apache-2.0
"""Kubeconfigs for tests: one cluster, one user, one context."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

AWAY = "http://127.0.0.1:1"
"""A server that refuses every connection."""


def kubeconfig(
    path: Path,
    server: str = AWAY,
    *,
    user: Mapping[str, str] = MappingProxyType({}),
    ca: Path | None = None,
    namespace: str = "",
    name: str = "c",
) -> Path:
    """Write a kubeconfig for ``server`` to ``path``. ``user``: credentials. ``name``: of cluster and context."""
    cluster = {"server": server} | ({"certificate-authority": str(ca)} if ca else {})
    context = {"cluster": name, "user": "u"} | ({"namespace": namespace} if namespace else {})
    path.write_text(
        json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": name,
            "clusters": [{"name": name, "cluster": cluster}], "users": [{"name": "u", "user": dict(user)}],
            "contexts": [{"name": name, "context": context}],
        })
    )  # fmt: skip
    return path
