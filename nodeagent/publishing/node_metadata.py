# SPDX-License-Identifier: Apache-2.0
"""What people and provisioners wrote on this Node, read again now and then.

Enters: a function that reads the Node's metadata. Leaves: the annotation and labels about its links, at most a
minute old. Guarantees: one object, never a watch of Nodes; failures are counted, and the last answer stands.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from footprint.cluster.client import ApiError
from footprint.keys import NODE_LINK_CAPACITY
from nodeagent.node.capacity.stated import INSTANCE_TYPE, PROVISIONERS

INTERVAL: Final = 60.0
"""Seconds between reads, on average. The API server answers them from its cache."""
JITTER: Final = 0.2
"""Part of the interval, random: agents that started together do not ask together."""
_KEPT: Final = frozenset({NODE_LINK_CAPACITY, INSTANCE_TYPE, *PROVISIONERS})
_LONGEST: Final = 4096
"""Characters of a value that are kept; what reads them takes a quarter of that."""

_log = structlog.get_logger()


def about_links(metadata: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The annotations and labels of a Node that say something of its links."""
    kept: dict[str, dict[str, str]] = {}
    for where in ("annotations", "labels"):
        found = metadata.get(where)
        texts = found.items() if isinstance(found, dict) else ()
        kept[where] = {k: v[:_LONGEST] for k, v in texts if k in _KEPT and isinstance(v, str)}
    return kept


class NodeMetadata:
    """The last answer, and the thread that asks. ``read`` raises ApiError."""

    def __init__(self, read: Callable[[], Mapping[str, Any]], first: Mapping[str, Any]) -> None:
        self._read = read
        self._kept = about_links(first)
        self.errors = 0

    def start(self, stop: threading.Event) -> None:
        """Ask until ``stop``."""
        threading.Thread(target=self._run, args=(stop,), name="node metadata", daemon=True).start()

    def current(self) -> Mapping[str, Any]:
        """The same object for as long as nothing changed."""
        return self._kept

    def refresh(self) -> None:
        """Ask once. Raises ApiError."""
        found = about_links(self._read())
        if found != self._kept:
            self._kept = found

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(INTERVAL * (1 + JITTER * random.uniform(-1, 1))):  # noqa: S311 - spreads load
            try:
                self.refresh()
            except ApiError as error:
                self.errors += 1
                _log.debug("Node not read, what it stated before stands", error=str(error))
            except Exception:  # the thread lives on: without it no annotation would be seen any more
                self.errors += 1
                _log.exception("Node not read, what it stated before stands")
