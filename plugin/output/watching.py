# SPDX-License-Identifier: Apache-2.0
"""``-w``: rows that are printed once, and again when they change.

Enters: a collection of the API, and rows. Leaves: rows on standard output, until Ctrl-C. Guarantees: the
connection is made anew when it breaks; what changed meanwhile is printed once.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from footprint.cluster.sink import StateSink
from plugin.cluster import Cluster
from plugin.output.flags import Form
from plugin.output.listing import Kind, rendered
from plugin.terminal import quiet_logs, show, warn

Item = TypeVar("Item")
Row = TypeVar("Row")
_TROUBLE_SECONDS: Final = 5.0
"""Between two looks at whether the watch still works."""


def as_they_change(
    cluster: Cluster,
    path: str,
    *,
    decode: Callable[[dict[str, Any]], Item],
    key: Callable[[Item], str],
    query: Mapping[str, str],
    metadata_only: bool = False,
) -> Iterator[tuple[str, Item | None]]:
    """Each item by its key when it is first seen and when it changes; None once it is gone. Never ends."""
    events: queue.SimpleQueue[tuple[str, Item | None]] = queue.SimpleQueue()
    known = dict[str, None]()

    def put(item: Item) -> None:
        known[key(item)] = None
        events.put((key(item), item))

    def drop(name: str) -> None:
        known.pop(name, None)
        events.put((name, None))

    sink = StateSink[Item](key=key, put=put, drop=drop, known=known.keys)
    followed = cluster.follow(path, decode=decode, sink=sink, query=query, metadata_only=metadata_only)
    stop, errors = threading.Event(), 0
    with quiet_logs():
        followed.start(stop)
        try:
            while True:
                try:
                    yield events.get(timeout=_TROUBLE_SECONDS)
                except queue.Empty:
                    if followed.errors > errors and not followed.connected:
                        warn(f"the watch broke off, trying again: {followed.last_error}")
                    errors = followed.errors
        finally:
            stop.set()
            followed.interrupt()


class Changes(Generic[Row]):
    """What was printed of each row, so that only changes are printed again.

    An item of the collection may have several rows, such as the pods of a Node.
    """

    def __init__(self, kind: Kind[Row], form: Form) -> None:
        self._kind, self._form = kind, form
        self._printed: dict[str, dict[str, Any]] = {}
        self._widths: dict[str, int] = {}

    def begin(self, rows: Sequence[Row], item_of: Callable[[Row], str]) -> None:
        """The first table, in the order of ``rows``. ``item_of``: the key of a row's item."""
        self._widen(rows)
        self._show(rows, headers=self._form.headers)
        for row in rows:
            self._printed.setdefault(item_of(row), {})[self._identity(row)] = self._told(row)

    def item(self, key: str, rows: Iterable[Row]) -> None:
        """The rows of one item as they are now."""
        now = {self._identity(row): row for row in rows}
        before = self._printed.get(key, {})
        changed = [row for identity, row in now.items() if before.get(identity) != self._told(row)]
        self._printed[key] = {identity: self._told(row) for identity, row in now.items()}
        self._widen(changed)
        self._show(changed, headers=False)

    def _identity(self, row: Row) -> str:
        metadata = self._kind.as_object(row)["metadata"]
        return f"{metadata.get('namespace', '')}/{metadata['name']}"

    def _told(self, row: Row) -> Any:
        """What of a row counts as a change, which an age does not."""
        told = self._kind.as_object(row)
        return {name: value for name, value in told.items() if name not in ("ageSeconds", "heartbeat")}

    def _widen(self, rows: Sequence[Row]) -> None:
        for column in self._kind.columns:
            longest = max((len(column.text(row)) for row in rows), default=0)
            self._widths[column.head] = max(self._widths.get(column.head, len(column.head)), longest)

    def _show(self, rows: Sequence[Row], *, headers: bool) -> None:
        form = Form(self._form.name, self._form.template, headers)
        if form.is_table and rows:
            show(rendered(rows, self._kind, form, widths=self._widths), rows_whole=True)
        elif not form.is_table:
            for row in rows:  # as kubectl, each by itself
                show(rendered([row], self._kind, form, alone=True), end=form.end)
