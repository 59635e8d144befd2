# SPDX-License-Identifier: Apache-2.0
"""The heartbeat: one Lease per node, renewed while what is published is what is measured.

Enters: ``may_renew``, which says whether measuring and publishing are alive. Leaves: a Lease whose renewTime
changes. Guarantees: never a Node write. No renewal comes before this process's first write: a renewal would
declare an earlier process's annotation to be fresh.
"""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import structlog
from kubernetes.client import ApiClient

from footprint.cluster import paths
from footprint.cluster.client import MERGE_PATCH, ApiError, request
from footprint.cluster.events import micro_time
from footprint.cluster.reflector import backoff
from footprint.cluster.repeats import Repeats
from footprint.keys import FIELD_MANAGER, lease_name
from footprint.staleness import stale_after
from nodeagent.publishing.node_writer import explain, node_path, unforeseen

_JITTER: Final = 0.1
"""Part of the period by which renewals are early, random each time, so that agents spread out."""

_log = structlog.get_logger()


def lease_spec(node: str, renew: float, moment: datetime) -> dict[str, Any]:
    """What every renewal says."""
    return {
        "holderIdentity": node,
        "leaseDurationSeconds": math.ceil(stale_after(renew)),
        "renewTime": micro_time(moment),
    }


def new_lease(node: str, node_uid: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A Lease that is deleted along with its Node."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid}
    return {
        "apiVersion": paths.LEASE_API,
        "kind": "Lease",
        "metadata": {"name": lease_name(node), "namespace": namespace, "ownerReferences": [owner]},
        "spec": {**spec, "acquireTime": spec["renewTime"]},
    }


class Heartbeat:
    """The thread that renews."""

    def __init__(
        self, api: ApiClient, *, node: str, namespace: str, renew: float, may_renew: Callable[[], bool]
    ) -> None:
        self._api, self._node, self._namespace = api, node, namespace
        self._renew, self._may_renew = renew, may_renew
        self._path = paths.leases(namespace)
        self._withholding, self._repeats = False, Repeats()
        self.renewals = 0
        self.errors = 0
        self.withheld = 0
        """Renewals left out because what is published is not what is measured."""

    def start(self, published: threading.Event, stop: threading.Event) -> None:
        """Renew from the moment ``published`` is set until ``stop`` is."""
        threading.Thread(target=self._run, args=(published, stop), name="heartbeat", daemon=True).start()

    def _run(self, published: threading.Event, stop: threading.Event) -> None:
        while not published.wait(0.5):
            if stop.is_set():
                return
        failures = 0
        while not stop.is_set():
            pause = self._renew * (1 - _JITTER * random.random())  # noqa: S311 - spreads load, guards nothing
            try:
                self.beat()
                failures = 0
            except Exception as error:  # the thread lives on: a node without heartbeats counts as unknown
                failures += 1
                self._failed(error, failures)
                pause = min(backoff(failures), pause)
            stop.wait(pause)

    def beat(self) -> None:
        """One renewal, if it is due one. Raises ApiError."""
        if not self._may_renew():
            self.withheld += 1
            if not self._withholding:
                _log.warning("heartbeat withheld: readings stopped, or the Node write is overdue", node=self._node)
            self._withholding = True
            return
        self._withholding = False
        spec = lease_spec(self._node, self._renew, datetime.now(UTC))
        query = {"fieldManager": FIELD_MANAGER}
        try:
            request(
                self._api, "PATCH", f"{self._path}/{lease_name(self._node)}", query=query, body={"spec": spec},
                content_type=MERGE_PATCH,
            )  # fmt: skip
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            uid = request(self._api, "GET", node_path(self._node))["metadata"]["uid"]
            lease = new_lease(self._node, uid, self._namespace, spec)
            request(self._api, "POST", self._path, query=query, body=lease)
            _log.info("lease created", lease=lease_name(self._node), namespace=self._namespace)
        self.renewals += 1

    def _failed(self, error: Exception, failures: int) -> None:
        self.errors += 1
        if self._repeats.tells(failures, error):
            absent = isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND
            hint = f"; create it with `kubectl create namespace {self._namespace}`" if absent else ""
            _log.warning(
                "lease not renewed", lease=lease_name(self._node), namespace=self._namespace, failures=failures,
                error=explain(error, "create and patch", "leases") + hint, **unforeseen(error),
            )  # fmt: skip
