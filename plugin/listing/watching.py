# SPDX-License-Identifier: Apache-2.0
"""``-w``: what is printed once, and then again when it changes.

Enters: a cluster, and a function that makes rows of a Node. Leaves: rows on standard output, until Ctrl-C.
Guarantees: the connection is made anew when it breaks; what changed meanwhile is printed once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from footprint.cluster import paths
from footprint.cluster.sink import StateSink
from plugin.cluster import Cluster
from plugin.listing.gathering import Node, beating, with_heartbeat
from plugin.output.flags import Form
from plugin.output.listing import Kind, rendered
from plugin.published import Published, published
from plugin.terminal import quiet_logs, show, warn

Row = TypeVar("Row")
_HEARTBEATS_SECONDS: Final = 20.0
"""Between two readings of the heartbeats."""
_TROUBLE_SECONDS: Final = 5.0
"""Between two looks at whether the watch still works."""


def nodes_as_they_change(
    cluster: Cluster, lease_namespace: str, query: Mapping[str, str]
) -> Iterator[tuple[str, Node | None]]:
    """Each node when it is first seen and when it changes; None once it is gone. Never ends."""
    events: queue.SimpleQueue[tuple[str, Published | None]] = queue.SimpleQueue()
    known = dict[str, None]()

    def put(one: Published) -> None:
        known[one.name] = None
        events.put((one.name, one))

    def drop(name: str) -> None:
        known.pop(name, None)
        events.put((name, None))

    sink = StateSink[Published](key=lambda one: one.name, put=put, drop=drop, known=known.keys)
    followed = cluster.follow(paths.NODES, decode=published, sink=sink, query=query, metadata_only=True)
    stop, errors = threading.Event(), 0
    beats, read_at = None, -_HEARTBEATS_SECONDS
    with quiet_logs():
        followed.start(stop)
        try:
            while True:
                try:
                    name, one = events.get(timeout=_TROUBLE_SECONDS)
                except queue.Empty:
                    if followed.errors > errors and not followed.connected:
                        warn(f"the watch broke off, trying again: {followed.last_error}")
                    errors = followed.errors
                    continue
                if time.monotonic() - read_at >= _HEARTBEATS_SECONDS:
                    beats, read_at = beating(cluster, lease_namespace, []), time.monotonic()
                yield name, with_heartbeat(one, beats) if one is not None else None
        finally:
            stop.set()
            followed.interrupt()


class Changes(Generic[Row]):
    """What was printed of each row, so that only changes are printed again."""

    def __init__(self, kind: Kind[Row], form: Form, unchanging: Callable[[Row], Any]) -> None:
        """``unchanging``: what of a row counts as a change, which an age does not."""
        self._kind, self._form, self._told = kind, form, unchanging
        self._printed: dict[str, dict[str, Any]] = {}
        self._widths: dict[str, int] = {}

    def begin(self, rows: Sequence[Row], node_of: Callable[[Row], str]) -> None:
        """The first table, in the order of ``rows``."""
        self._widen(rows)
        self._show(rows, headers=self._form.headers)
        for row in rows:
            self._printed.setdefault(node_of(row), {})[self._kind.reference(row)] = self._told(row)

    def node(self, name: str, rows: Iterable[Row]) -> None:
        """The rows of one node as they are now."""
        before, now = self._printed.get(name, {}), {self._kind.reference(row): row for row in rows}
        changed = [row for key, row in now.items() if before.get(key) != self._told(row)]
        self._printed[name] = {key: self._told(row) for key, row in now.items()}
        self._widen(changed)
        self._show(changed, headers=False)

    def _widen(self, rows: Sequence[Row]) -> None:
        for column in self._kind.columns:
            longest = max((len(column.text(row)) for row in rows), default=0)
            self._widths[column.head] = max(self._widths.get(column.head, len(column.head)), longest)

    def _show(self, rows: Sequence[Row], *, headers: bool) -> None:
        if not rows:
            return
        form = Form(self._form.name, self._form.template, headers)
        if form.is_table:
            show(rendered(rows, self._kind, form, widths=self._widths), rows_whole=True)
        else:
            for row in rows:  # as kubectl, each by itself
                show(rendered([row], self._kind, form, alone=True), end=form.end)


def unaged(told: dict[str, Any]) -> dict[str, Any]:
    """An object without what changes by the clock alone."""
    return {key: value for key, value in told.items() if key not in ("ageSeconds", "heartbeat")}
