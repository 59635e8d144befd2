# SPDX-License-Identifier: Apache-2.0
"""What the Node says of its links is read again, and stands where it cannot be read."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from footprint.cluster.client import ApiError
from footprint.keys import NODE_FOOTPRINT, NODE_LINK_CAPACITY
from nodeagent.node.capacity.stated import INSTANCE_TYPE
from nodeagent.publishing import node_metadata
from nodeagent.publishing.node_metadata import NodeMetadata, about_links


def node(annotation: str) -> dict[str, Any]:
    return {
        "annotations": {NODE_LINK_CAPACITY: annotation, NODE_FOOTPRINT: "x" * 65536},
        "labels": {INSTANCE_TYPE: "m5.large", "a": "b"},
    }


def test_only_what_concerns_links_is_kept() -> None:
    assert about_links(node("10G")) == {
        "annotations": {NODE_LINK_CAPACITY: "10G"},
        "labels": {INSTANCE_TYPE: "m5.large"},
    }
    assert len(about_links(node("1" * 10**6))["annotations"][NODE_LINK_CAPACITY]) == 4096
    assert about_links({"annotations": None, "labels": {INSTANCE_TYPE: 5}}) == {"annotations": {}, "labels": {}}


def test_an_answer_that_says_the_same_is_the_same_object() -> None:
    read = iter([node("10G"), node("10G"), node("25G")])
    found = NodeMetadata(lambda: next(read), {})
    before = found.current()
    found.refresh()
    first = found.current()
    assert first is not before
    found.refresh()
    assert found.current() is first
    found.refresh()
    assert found.current() == about_links(node("25G"))


def test_what_cannot_be_read_is_counted_and_the_last_answer_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    stop, asked = threading.Event(), threading.Event()
    answers: list[dict[str, Any] | Exception] = [ApiError(403, "no"), KeyError("?"), node("25G")]

    def read() -> dict[str, Any]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        asked.set()
        stop.set()
        return answer

    monkeypatch.setattr(node_metadata, "INTERVAL", 0.01)
    found = NodeMetadata(read, node("10G"))
    assert found.current() == about_links(node("10G"))
    found.start(stop)
    assert asked.wait(60)
    assert found.errors == 2
