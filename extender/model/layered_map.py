# SPDX-License-Identifier: Apache-2.0
"""An immutable mapping whose next version is cheap to make.

Enters: a mapping and its changes. Leaves: the next version; the version before stays as it was. Guarantees:
changing known keys copies at most ``MAX_CHANGED`` entries, except once in so many changes, when it copies all.
Copying all entries every time is slow once they have left the processor's caches.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Final, TypeVar

V = TypeVar("V")

MAX_CHANGED: Final = 256


class Layered(Mapping[str, V]):
    """Immutable; see the module."""

    __slots__ = ("_base", "_changed")

    def __init__(self, base: Mapping[str, V] | None = None) -> None:
        self._base: dict[str, V] = dict(base or {})
        self._changed: dict[str, V] = {}
        """Newer values of keys of the base."""

    def after(self, changed: Mapping[str, V], gone: set[str] | frozenset[str] = frozenset()) -> Layered[V]:
        """The next version: with ``changed``, new or not, and without ``gone``."""
        following: Layered[V] = Layered()
        if gone or len(self._changed) + len(changed) > MAX_CHANGED or not changed.keys() <= self._base.keys():
            following._base = {k: v for k, v in {**self._whole(), **changed}.items() if k not in gone}
        else:
            following._base, following._changed = self._base, {**self._changed, **changed}
        return following

    def _whole(self) -> dict[str, V]:
        return {**self._base, **self._changed} if self._changed else self._base

    def __getitem__(self, key: str) -> V:
        return self._changed[key] if key in self._changed else self._base[key]

    def __contains__(self, key: object) -> bool:
        return key in self._base

    def __iter__(self) -> Iterator[str]:
        return iter(self._base)

    def __len__(self) -> int:
        return len(self._base)

    def items(self) -> ItemsView[str, V]:
        return self._whole().items()

    def values(self) -> ValuesView[V]:
        return self._whole().values()
