# SPDX-License-Identifier: Apache-2.0
"""``cleanup``: removes what a release wrote beside its own objects: annotations on Nodes, Leases in its namespace.

Enters: the API server, and a selector of the pods to wait for. Leaves: the cluster without the annotations and the
Leases, and how many there were. Guarantees: running it again is safe. Only the three annotations and the named
Leases are touched. A pod that does not end in time (its node may be gone) is named, and the rest is cleaned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Protocol

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from extender.settings import PROGRAM
from footprint.cluster import paths
from footprint.cluster.client import MERGE_PATCH, ApiError, ClusterConfigError, connect, request
from footprint.cluster.listing import PAGE_SIZE, items
from footprint.keys import (
    DEFAULT_NAMESPACE,
    FIELD_MANAGER,
    NODE_ELEPHANT_SHARE,
    NODE_FOOTPRINT,
    NODE_SUMMARY,
    node_of_lease,
)
from footprint.service import fail

ANNOTATIONS: Final = (NODE_FOOTPRINT, NODE_SUMMARY, NODE_ELEPHANT_SHARE)
PAGE: Final = PAGE_SIZE
"""Objects in one page of a list."""
POLL_SECONDS: Final = 1.0
"""Seconds between two lists of the pods that are waited for."""

_log = structlog.get_logger()


class CleanupSettings(BaseSettings):
    """Remove the annotations and Leases that node agents leave behind, once the agents have ended.

    Run it after the agents are gone, and run it again whenever it names pods that were still there.
    """

    model_config = SettingsConfigDict(
        env_prefix="TRAFFIC_FOOTPRINT_", cli_kebab_case=True, cli_prog_name=f"{PROGRAM} cleanup"
    )

    kubeconfig: str | None = Field(None, description="Kubeconfig file; absent: the pod's service account.")
    namespace: str = Field(DEFAULT_NAMESPACE, description="Namespace of the Leases.", min_length=1)
    wait_for: str = Field(
        "",
        description="Label selector of pods in that namespace that must end first, such as app=agent. An agent "
        "that still runs would write again. Empty: do not wait.",
    )  # fmt: skip
    wait_seconds: float = Field(
        120.0, ge=0, le=3600, allow_inf_nan=False,
        description="Seconds to wait at most; after that, cleaning goes on although some pods are still there.",
    )  # fmt: skip
    lease: list[str] = Field(
        [], description="Name of a further Lease to delete, such as that of a leader election. May be repeated."
    )


class Ask(Protocol):
    """Sends a request to the API server, as ``footprint.cluster.client.request`` does. Raises ApiError."""

    def __call__(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]: ...  # fmt: skip


@dataclass(frozen=True)
class Cleaned:
    """What was found and removed."""

    nodes: int
    """Nodes that carried one of the annotations."""
    leases: int
    left: tuple[str, ...]
    """Pods that did not end in time."""


def cleanup(
    ask: Ask, settings: CleanupSettings, *, clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Cleaned:  # fmt: skip
    """Wait for the pods to end, then remove. Raises ApiError."""
    left = wait(ask, settings, clock, sleep)
    if left:
        _log.warning("pods did not end in time, cleaning anyway; run cleanup again when they are gone", pods=left)
    nodes = sum(_strip(ask, node) for node in listed(ask, paths.NODES))
    leases = paths.leases(settings.namespace)
    names = [item["metadata"]["name"] for item in listed(ask, leases)]
    ours = [name for name in names if node_of_lease(name) is not None or name in settings.lease]
    gone = sum(_unless_gone(lambda name=name: ask("DELETE", f"{leases}/{name}")) for name in ours)  # type: ignore[misc]
    return Cleaned(nodes, gone, tuple(left))


def wait(
    ask: Ask, settings: CleanupSettings, clock: Callable[[], float], sleep: Callable[[float], None]
) -> list[str]:
    """Names of the pods that are still there after ``wait_seconds``. Raises ApiError."""
    if not settings.wait_for:
        return []
    path, end = paths.pods(settings.namespace), clock() + settings.wait_seconds
    while True:
        pods = [p["metadata"]["name"] for p in listed(ask, path, {"labelSelector": settings.wait_for})]
        if not pods or clock() >= end:
            return pods
        sleep(POLL_SECONDS)


def listed(ask: Ask, path: str, query: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """All objects of the collection at ``path``, page by page. Raises ApiError."""
    return items(lambda asked: ask("GET", path, query=asked), query, PAGE)


def _strip(ask: Ask, node: Mapping[str, Any]) -> bool:
    """Remove the annotations from ``node``. False when it carried none."""
    metadata = node["metadata"]
    ours = [key for key in ANNOTATIONS if key in (metadata.get("annotations") or {})]
    if not ours:
        return False
    body = {"metadata": {"annotations": dict.fromkeys(ours)}}
    path, query = paths.node(metadata["name"]), {"fieldManager": FIELD_MANAGER}
    return _unless_gone(lambda: ask("PATCH", path, query=query, body=body, content_type=MERGE_PATCH))


def _unless_gone(act: Callable[[], object]) -> bool:
    """Call ``act``. False when somebody else removed the object first. Raises ApiError for anything else."""
    try:
        act()
    except ApiError as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return False
    return True


def sentence(cleaned: Cleaned) -> str:
    """What happened, in one line."""
    said = f"annotations removed from {cleaned.nodes} nodes, {cleaned.leases} leases deleted"
    left: Sequence[str] = cleaned.left
    return f"{said}; still running: {', '.join(left)}" if left else said


def run(settings: CleanupSettings) -> int:
    """Clean up by ``settings`` and print one line about it. Ends the program when that is not possible."""
    try:
        api = connect(settings.kubeconfig, user_agent=PROGRAM)
        print(sentence(cleanup(partial(request, api), settings)))
    except ClusterConfigError as error:
        fail(str(error))
    except ApiError as error:
        fail(f"not cleaned up, so annotations or Leases may remain: {error}", "run it again, which is safe")
    return 0
