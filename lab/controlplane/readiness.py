# SPDX-License-Identifier: Apache-2.0
"""What the lab asks its API server: tokens, and whether nodes and accounts are ready.

Enters: the administrator's client. Leaves: tokens, booleans, reasons. Guarantees: while a lab starts, an API
server that is busy or restarting counts as "not yet", never as a failure. The caller's deadline decides.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from kubernetes.client import ApiClient

from footprint.cluster.client import ApiError, request

_TOKEN_SECONDS: Final = 24 * 3600  # longer than any lab lives
_NOT_READY: Final = "node.kubernetes.io/not-ready"


def reference(api: ApiClient, kind: str, path: str) -> dict[str, str]:
    """What a token can be bound to: the Node or Pod at ``path``. Raises ApiError."""
    metadata = request(api, "GET", path)["metadata"]
    return {"kind": kind, "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}


def token(api: ApiClient, namespace: str, account: str, bound: Mapping[str, str] | None = None) -> str:
    """A fresh token of a service account, by the TokenRequest API. Raises ApiError.

    ``bound`` is the ``reference`` of an object that the token names and without which it is void: a Node, or a
    Pod of that account, whose node it names as well.
    """
    spec: dict[str, Any] = {"expirationSeconds": _TOKEN_SECONDS}
    if bound is not None:
        spec["boundObjectRef"] = dict(bound)
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    response = request(api, "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token", body=body)
    return str(response["status"]["token"])


def nodes_ready(api: ApiClient, names: Collection[str]) -> bool:
    """Every one of ``names`` is registered, reports Ready and is open for pods."""
    try:
        nodes = request(api, "GET", "/api/v1/nodes")["items"]
    except ApiError as error:
        return _not_yet(error)
    return {node["metadata"]["name"] for node in nodes if is_ready(node)} >= set(names)


def unready_nodes(api: ApiClient, names: Collection[str]) -> list[str]:
    """A line for each of ``names`` that takes no pods, with the reason the API gives. Raises ApiError."""
    nodes = {node["metadata"]["name"]: node for node in request(api, "GET", "/api/v1/nodes")["items"]}
    return [
        f"node {name} {_why(nodes[name]) if name in nodes else 'is not registered'}"
        for name in names
        if name not in nodes or not is_ready(nodes[name])
    ]


def _why(node: Mapping[str, Any]) -> str:
    conditions = node.get("status", {}).get("conditions", [])
    ready: Mapping[str, Any] = next((c for c in conditions if c["type"] == "Ready"), {})
    if ready.get("status") == "True":
        return f"still has the taint {_NOT_READY}"
    return f"is NotReady: {ready.get('message') or 'it has not reported a status'}"


def pods_admitted(api: ApiClient, namespace: str = "default") -> bool:
    """The controller manager has made the account without which admission refuses the namespace's pods."""
    try:
        request(api, "GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    except ApiError as error:
        return _not_yet(error)
    return True


def is_ready(node: Mapping[str, Any]) -> bool:
    """Ready, and without the taint that admission gave it and the node controller takes away a moment later."""
    conditions = node.get("status", {}).get("conditions", [])
    taints = node.get("spec", {}).get("taints", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not any(t["key"] == _NOT_READY for t in taints)


def _not_yet(error: ApiError) -> bool:
    """False for what passes by itself (away, not found yet, busy); else the error."""
    if error.status in (0, 404, 429) or error.status >= 500:
        return False
    raise error
