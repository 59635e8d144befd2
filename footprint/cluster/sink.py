# SPDX-License-Identifier: Apache-2.0
"""A watched collection kept elsewhere by key.

Enters: the reflector's lists and events. Leaves: calls that put and drop single items. Guarantees: after a
complete list, what the list did not have is dropped; a list that breaks off drops nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class StateSink(Generic[T]):
    """``put`` takes an item as it is now, ``drop`` the key of one that is gone, ``known`` lists all kept keys."""

    def __init__(
        self,
        *,
        key: Callable[[T], str],
        put: Callable[[T], None],
        drop: Callable[[str], None],
        known: Callable[[], Collection[str]],
    ) -> None:
        self._key, self._put, self._drop, self._known = key, put, drop, known

    def replace(self, items: Sequence[T]) -> None:
        """Take in a whole list."""
        self.replace_paged([items])

    def replace_paged(self, pages: Iterable[Sequence[T]]) -> None:
        """Take in a list page by page, then drop what no page had. Raises what reading a page raises."""
        listed: set[str] = set()
        for page in pages:
            for item in page:
                self._put(item)
                listed.add(self._key(item))
        for gone in set(self._known()) - listed:
            self._drop(gone)

    def upsert(self, item: T) -> None:
        """Take in one item."""
        self._put(item)

    def delete(self, item: T) -> None:
        """The item is gone."""
        self._drop(self._key(item))
