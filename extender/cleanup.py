# SPDX-License-Identifier: Apache-2.0
"""Take off a cluster what a release wrote beside its own objects: annotations on Nodes, Leases in its namespace.

Enters: the API, and whom to wait for. Leaves: the cluster without them, and how many there were. Guarantees: safe
to repeat; only the three annotations and the Leases by name are touched; whoever is waited for in vain (a pod on
a node that is gone) is named, and does not keep the rest from being cleaned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from extender.settings import PROGRAM
from footprint.cluster.client import MERGE_PATCH, ApiError
from footprint.keys import (
    DEFAULT_NAMESPACE,
    FIELD_MANAGER,
    NODE_ELEPHANT_SHARE,
    NODE_FOOTPRINT,
    NODE_SUMMARY,
    node_of_lease,
)

ANNOTATIONS: Final = (NODE_FOOTPRINT, NODE_SUMMARY, NODE_ELEPHANT_SHARE)
PAGE: Final = 500
"""Objects asked for at once."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the pods that are waited for."""

_log = structlog.get_logger()


class CleanupSettings(BaseSettings):
    """Remove the annotations and Leases that node agents leave behind, once they have ended."""

    model_config = SettingsConfigDict(
        env_prefix="TRAFFIC_FOOTPRINT_", cli_kebab_case=True, cli_prog_name=f"{PROGRAM} cleanup"
    )

    kubeconfig: str | None = Field(None, description="Kubeconfig file; absent: the pod's service account.")
    namespace: str = Field(DEFAULT_NAMESPACE, description="Namespace of the Leases.", min_length=1)
    wait_for: str = Field(
        "",
        description="Label selector of pods in that namespace that must have ended before: an agent that still "
        "runs would write again. Empty: do not wait.",
    )  # fmt: skip
    wait_seconds: float = Field(
        120.0, ge=0, le=3600, allow_inf_nan=False,
        description="Seconds after which to go on although some of them are still there.",
    )  # fmt: skip
    lease: list[str] = Field(
        [], description="Further Leases to delete beside the agents', such as those of elections; may be repeated."
    )


class Ask(Protocol):
    """A request to the API server (``footprint.cluster.client.request`` with a client). Raises ApiError."""

    def __call__(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]: ...  # fmt: skip


@dataclass(frozen=True)
class Cleaned:
    """What was there."""

    nodes: int
    """Nodes that carried an annotation of ours."""
    leases: int
    left: tuple[str, ...]
    """Pods that were waited for in vain."""


def cleanup(
    ask: Ask, settings: CleanupSettings, *, clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Cleaned:  # fmt: skip
    """Wait, then remove. Raises ApiError."""
    left = wait(ask, settings, clock, sleep)
    if left:
        _log.warning("still there, cleaning all the same; clean again when they are gone", pods=left)
    nodes = sum(_bare(ask, node) for node in listed(ask, "/api/v1/nodes"))
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
    names = [item["metadata"]["name"] for item in listed(ask, leases)]
    ours = [name for name in names if node_of_lease(name) is not None or name in settings.lease]
    gone = sum(_unless_gone(lambda name=name: ask("DELETE", f"{leases}/{name}")) for name in ours)  # type: ignore[misc]
    return Cleaned(nodes, gone, tuple(left))


def wait(
    ask: Ask, settings: CleanupSettings, clock: Callable[[], float], sleep: Callable[[float], None]
) -> list[str]:
    """Pods that are still there after ``wait_seconds``; none: all have ended. Raises ApiError."""
    if not settings.wait_for:
        return []
    path, end = f"/api/v1/namespaces/{settings.namespace}/pods", clock() + settings.wait_seconds
    while True:
        pods = [p["metadata"]["name"] for p in listed(ask, path, {"labelSelector": settings.wait_for})]
        if not pods or clock() >= end:
            return pods
        sleep(LOOK_SECONDS)


def listed(ask: Ask, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """All objects of a collection, page by page. Raises ApiError."""
    token = ""
    while True:
        page = ask(
            "GET", path, query={**(query or {}), "limit": str(PAGE), **({"continue": token} if token else {})}
        )
        yield from page.get("items") or ()
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return


def _bare(ask: Ask, node: Mapping[str, Any]) -> bool:
    """Whether ``node`` carried annotations of ours, which it does not any more."""
    metadata = node["metadata"]
    ours = [key for key in ANNOTATIONS if key in (metadata.get("annotations") or {})]
    if not ours:
        return False
    body = {"metadata": {"annotations": dict.fromkeys(ours)}}
    path, query = f"/api/v1/nodes/{metadata['name']}", {"fieldManager": FIELD_MANAGER}
    return _unless_gone(lambda: ask("PATCH", path, query=query, body=body, content_type=MERGE_PATCH))


def _unless_gone(act: Callable[[], object]) -> bool:
    """False when the object went away by itself. Raises ApiError for anything else."""
    try:
        act()
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


def sentence(cleaned: Cleaned) -> str:
    """For people."""
    said = f"annotations removed from {cleaned.nodes} nodes, {cleaned.leases} leases deleted"
    left: Sequence[str] = cleaned.left
    return f"{said}; still running: {', '.join(left)}" if left else said
