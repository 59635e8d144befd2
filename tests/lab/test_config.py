# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from lab.config import LabConfig
from lab.errors import LabError


def test_nodes_are_numbered_from_one() -> None:
    specs = LabConfig(nodes=3, link="1G").node_specs
    assert [(n.name, n.index, n.link) for n in specs] == [
        ("node1", 1, "1G"),
        ("node2", 2, "1G"),
        ("node3", 3, "1G"),
    ]


def test_the_process_of_the_nodes_is_told_capacity_and_size_of_each_node() -> None:
    (node,) = LabConfig(nodes=1, node_cpu="4", node_memory="8Gi").node_descriptions()
    assert node == {"name": "node1", "index": 1, "link": "200M", "cpu": "4", "memory": "8Gi"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nodes": 0}, "0 nodes: a lab has 1 to"),
        ({"nodes": 100_000}, "100000 nodes: a lab has 1 to"),
        ({"link": "fast"}, "'fast' is not a bandwidth.*use --link 200M"),
        ({"link": "0M"}, "outside the range.*use --link 200M"),
        ({"node_cpu": "many"}, "'many' is not a Kubernetes quantity"),
        ({"node_memory": ""}, "'' is not a Kubernetes quantity"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_the_remedy(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(LabError, match=message):
        LabConfig(**settings)  # type: ignore[arg-type]  # wrong on purpose
