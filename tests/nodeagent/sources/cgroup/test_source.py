# SPDX-License-Identifier: Apache-2.0
"""What the source at sockets does in user space."""

from __future__ import annotations

import pytest

from nodeagent.sources.base import HOST, UNATTRIBUTED, Elephant
from nodeagent.sources.cgroup.source import joined


def elephant(*owners: str, port: int = 80) -> Elephant:
    return Elephant(owners, 6, "10.0.0.1:4000", f"10.0.0.2:{port}", bytes=1, rate=1.0, since=0.0)


@pytest.mark.parametrize(
    ("ends", "owners"),
    [
        (("a", "b"), ("a", "b")), (("a", "a"), ("a",)), (("a",), ("a",)), ((UNATTRIBUTED, "a"), ("a",)),
        ((UNATTRIBUTED, UNATTRIBUTED), (UNATTRIBUTED,)), ((HOST, "b"), (HOST, "b")),
    ],
)  # fmt: skip
def test_both_ends_of_a_flow_are_one_elephant(ends: tuple[str, ...], owners: tuple[str, ...]) -> None:
    [found] = joined(elephant(end) for end in ends)
    assert found.owners == owners


def test_other_flows_stay_apart_and_in_order() -> None:
    found = list(joined([elephant("a", port=2), elephant("a", port=1), elephant("b", port=2)]))
    assert [(one.destination, one.owners) for one in found] == [("10.0.0.2:2", ("a", "b")), ("10.0.0.2:1", ("a",))]
