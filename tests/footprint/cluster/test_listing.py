# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from footprint.cluster import paths
from footprint.cluster.listing import items, pages


def test_every_page_is_asked_for_with_the_same_query_and_the_servers_token() -> None:
    asked: list[Mapping[str, str]] = []

    def get(query: Mapping[str, str]) -> dict[str, Any]:
        asked.append(query)
        last = "continue" in query
        return {"items": [len(asked)], "metadata": {"resourceVersion": "7", "continue": "" if last else "next"}}

    assert [page.version for page in pages(get, {"labelSelector": "a=b"}, 1)] == ["7", "7"]
    assert asked == [
        {"labelSelector": "a=b", "limit": "1"}, {"labelSelector": "a=b", "limit": "1", "continue": "next"},
    ]  # fmt: skip
    asked.clear()
    found: list[Any] = list(items(get))
    assert found == [1, 2]


def test_a_response_without_items_is_an_empty_page() -> None:
    assert list(items(lambda _query: {"items": None, "metadata": None})) == []


def test_names_are_quoted_in_paths() -> None:
    assert paths.leases("a/b", "c?d") == "/apis/coordination.k8s.io/v1/namespaces/a%2Fb/leases/c%3Fd"
    assert paths.custom("g/v1", "things", "n", "x") == "/apis/g/v1/namespaces/n/things/x"
    assert (paths.custom("g/v1", "things"), paths.node("a")) == ("/apis/g/v1/things", "/api/v1/nodes/a")
