# SPDX-License-Identifier: Apache-2.0
"""Every node's DNAT rules, kept equal to the cluster's Services and EndpointSlices.

Enters: two reflectors' calls. Leaves: one nft transaction for each node, DEBOUNCE_SECONDS after the last change of
a burst. Guarantees: rules that are in force already are not applied again, and a refused transaction is retried.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from lab.errors import LabError
from lab.network import commands, services

DEBOUNCE_SECONDS = 0.05
RETRY_SECONDS = 1.0

_log = structlog.get_logger()


class Keyed(Protocol):
    """Something the API names."""

    @property
    def key(self) -> Hashable: ...


K = TypeVar("K", bound=Keyed)


class Collection(Generic[K]):
    """Sink of one reflector: what is there now, and a call when that changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._items: dict[Hashable, K] = {}

    def replace(self, items: Sequence[K]) -> None:
        self._items = {item.key: item for item in items}
        self._changed()

    def upsert(self, item: K) -> None:
        if self._items.get(item.key) != item:
            self._items = {**self._items, item.key: item}
            self._changed()

    def delete(self, item: K) -> None:
        self._items = {key: kept for key, kept in self._items.items() if key != item.key}
        self._changed()

    def items(self) -> list[K]:
        """As of now; safe from any thread, as the mapping is replaced, never changed."""
        return list(self._items.values())


class ServiceProxy:
    """Keeps the nodes' Service rules up to date; ``run`` blocks until ``stop``."""

    def __init__(self, namespaces: Sequence[str]) -> None:
        self._namespaces = namespaces
        self._change = threading.Event()
        self.services: Collection[services.ClusterService] = Collection(self._change.set)
        self.slices: Collection[services.EndpointSlice] = Collection(self._change.set)
        self._in_force: dict[str, str] = {}

    def run(self, stop: threading.Event) -> None:
        """Apply changes until ``stop``; wake it with ``wake`` after setting that."""
        while not stop.is_set():
            self._change.wait()
            if stop.wait(DEBOUNCE_SECONDS):
                return
            self._change.clear()
            script = services.render(self.services.items(), self.slices.items())
            if not self._apply(script):
                self._change.set()
                stop.wait(RETRY_SECONDS)

    def wake(self) -> None:
        """Make ``run`` look at its stop event."""
        self._change.set()

    def _apply(self, script: str) -> bool:
        for namespace in self._namespaces:
            if self._in_force.get(namespace) == script:
                continue
            try:
                commands.nft(namespace, script)
            except LabError as error:
                _log.warning("service rules not applied, trying again", namespace=namespace, error=str(error))
                return False
            self._in_force[namespace] = script
        return True
