# SPDX-License-Identifier: Apache-2.0
"""List a collection of the API, page by page.

Enters: a function that sends one GET. Leaves: pages or objects, as they arrive. Guarantees: at most one page is
held at a time; whatever the function raises passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

PAGE_SIZE: Final = 500
"""Objects in one response: kubectl's own default."""

Get = Callable[[Mapping[str, str]], Mapping[str, Any]]
"""Sends one GET with these query parameters and returns the List as JSON."""


class Page(NamedTuple):
    """One response to a list request."""

    items: list[Any]
    """Objects as JSON; a hostile server may send other things."""
    version: str
    """``resourceVersion`` of the whole collection; empty when the server states none."""


def pages(get: Get, query: Mapping[str, str] | None = None, page_size: int = PAGE_SIZE) -> Iterator[Page]:
    """The collection's pages, in order."""
    token = ""
    while True:
        found = get({**(query or {}), "limit": str(page_size), **({"continue": token} if token else {})})
        metadata = found.get("metadata") or {}
        token = str(metadata.get("continue") or "")
        yield Page(list(found.get("items") or ()), str(metadata.get("resourceVersion") or ""))
        if not token:
            return


def items(
    get: Get, query: Mapping[str, str] | None = None, page_size: int = PAGE_SIZE
) -> Iterator[dict[str, Any]]:
    """All objects that ``get`` returns."""
    for page in pages(get, query, page_size):
        yield from page.items
