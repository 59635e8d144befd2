# SPDX-License-Identifier: Apache-2.0
"""Read a pod, the Nodes that may take it, and its namespace in full.

Enters: a source of objects and a misplaced pod. Leaves: whether it may be moved, and to which node. Guarantees:
never raises; whatever cannot be read or understood becomes a doubt, and is counted. Within one round each object
is read once, and nothing is kept between rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

import structlog
from kubernetes.client import ApiClient

from extender.rebalancing.config import RebalanceConfig
from extender.rebalancing.constraints import obstacle
from extender.rebalancing.eligibility import unmovable
from extender.rebalancing.gain import Misplaced, Reason
from extender.rebalancing.history import Wait
from extender.rebalancing.objects import Json, NodeInFull, PodInFull, node_in_full, pod_in_full
from extender.rebalancing.plan import Examined, first_fit
from footprint.cluster import paths
from footprint.cluster.client import ApiError, request
from footprint.cluster.listing import items
from footprint.declared import Rebalance, rebalance_of

RIGHTS: Final = "grant the rights of manifests/components/rebalancing"
"""What to do when something is forbidden."""
MAX_PODS: Final = 1000
"""Pods of one node that are read. A node with more is in doubt."""
_log = structlog.get_logger()

T = TypeVar("T")


class DoubtError(Exception):
    """Something could not be read or understood; the message is for people."""


class Source(Protocol):
    """Where objects come from, as JSON. May raise ApiError."""

    def pods_on(self, node: str) -> Iterable[Json]: ...
    def node(self, name: str) -> Json | None: ...
    def namespace(self, name: str) -> Json: ...


class ApiSource:
    """The API server. Pods and Nodes are listed by a field: that needs no further right."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def pods_on(self, node: str) -> Iterable[Json]:
        return self._list(paths.PODS, f"spec.nodeName={node}")

    def node(self, name: str) -> Json | None:
        return next(iter(self._list(paths.NODES, f"metadata.name={name}")), None)

    def namespace(self, name: str) -> Json:
        return request(self._api, "GET", paths.namespace(name))

    def _list(self, path: str, selector: str) -> Iterable[Json]:
        def get(query: Mapping[str, str]) -> dict[str, Any]:
            return request(self._api, "GET", path, query={**query, "fieldSelector": selector})

        return items(get)


class Round:
    """One round's reading. ``wall`` is seconds since 1970."""

    def __init__(self, source: Source, config: RebalanceConfig, wall: Callable[[], float]) -> None:
        self._source, self._config, self._wall = source, config, wall
        self._nodes: dict[str, NodeInFull] = {}
        self._pods: dict[str, list[PodInFull]] = {}
        self._namespaces: dict[str, Rebalance | None] = {}
        self.doubts = 0
        """Pods of which something could not be read or understood."""

    def examine(self, found: Misplaced, busy: Collection[str]) -> Examined:
        """Whether ``found`` may be moved now, and where it would fit (``plan.Examine``)."""
        try:
            return self._examine(found, busy)
        except DoubtError as error:
            self.doubts += 1
            return Examined(Wait(Reason.IN_DOUBT, str(error)))

    def _examine(self, found: Misplaced, busy: Collection[str]) -> Examined:
        here = self._pods_on(found.node)
        pod = next((pod for pod in here if pod.uid == found.pod.uid), None)
        if pod is None:
            raise DoubtError(f"it is not on {found.node} any more")
        wait = unmovable(
            pod, expected_node=found.node, namespace=self.namespace(pod.ns), node=self._node(found.node).rebalance,
            config=self._config,
        )  # fmt: skip
        age = max(0.0, self._wall() - pod.made_at)
        if wait is not None:
            return Examined(wait, age=age)
        fit = first_fit(found, busy, self._config.restart_cost, partial(self._obstacle, pod))
        return (
            Examined(Wait(Reason.CONSTRAINED, fit), age=age) if isinstance(fit, str) else Examined(None, *fit, age)
        )

    def _obstacle(self, pod: PodInFull, name: str) -> str | None:
        node, others = self._node(name), self._pods_on(name)
        return _understood(f"whether {name} takes it", lambda: obstacle(pod, node, others))

    def namespace(self, name: str) -> Rebalance | None:
        """What the Namespace says about moves. Raises DoubtError."""
        if name not in self._namespaces:
            what = f"namespace {name}"
            found = _read(what, lambda: self._source.namespace(name))
            self._namespaces[name] = _understood(
                what, lambda: rebalance_of((found.get("metadata") or {}).get("annotations"))
            )
        return self._namespaces[name]

    def _node(self, name: str) -> NodeInFull:
        if name not in self._nodes:
            found = _read(f"node {name}", lambda: self._source.node(name))
            if found is None:
                raise DoubtError(f"node {name} is gone")
            self._nodes[name] = _understood(f"node {name}", lambda: node_in_full(found))
        return self._nodes[name]

    def _pods_on(self, node: str) -> list[PodInFull]:
        if node not in self._pods:
            found = _read(f"pods of {node}", lambda: list(islice(self._source.pods_on(node), MAX_PODS + 1)))
            if len(found) > MAX_PODS:
                raise DoubtError(f"{node} has more than {MAX_PODS} pods")
            self._pods[node] = [_understood(f"a pod of {node}", partial(pod_in_full, one)) for one in found]
        return self._pods[node]


def _read(what: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except ApiError as error:
        _log.warning("not read, so nothing that needs it is moved", what=what, error=_remedy(error))
        raise DoubtError(f"{what} cannot be read: {_remedy(error)}") from error


def _understood(what: str, decode: Callable[[], T]) -> T:
    try:
        return decode()
    except Exception as error:  # objects may have any shape
        raise DoubtError(f"{what} is not understood: {type(error).__name__}: {error}") from error


def _remedy(error: ApiError) -> str:
    if error.status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAUTHORIZED):
        return f"{error}; {RIGHTS}"
    return str(error)
