# SPDX-License-Identifier: Apache-2.0
"""Kubeconfig files of the lab. They are JSON, which is YAML that needs no YAML writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(path: Path, *, server: str, ca: Path, user: dict[str, Any]) -> Path:
    """A kubeconfig for ``server`` at ``path``, readable by root alone; ``user`` is the credentials' part."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def certificate_user(certificate: Path, key: Path) -> dict[str, Any]:
    """Credentials of a client certificate."""
    return {"client-certificate": str(certificate), "client-key": str(key)}


def token_user(token: str) -> dict[str, Any]:
    """Credentials of a service account."""
    return {"token": token}
