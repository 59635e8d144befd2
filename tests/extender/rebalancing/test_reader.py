# SPDX-License-Identifier: Apache-2.0
"""Reading pods, Nodes and namespaces in full."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from extender.rebalancing.gain import Reason
from extender.rebalancing.reader import Round
from tests.extender.rebalancing.builders import ACT, misplaced

WALL = 1.8e9


class Objects:
    """A source with the misplaced pod on ``full``, and a node ``free``."""

    def __init__(self) -> None:
        self.pod: dict[str, Any] = {
            "metadata": {
                "name": "web-1", "namespace": "shop", "uid": "p", "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"traffic-footprint.io/rebalance": "allow"},
                "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
            },
            "spec": {"nodeName": "full", "containers": [{"name": "c"}]},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }  # fmt: skip
        self.there: list[dict[str, Any]] = []

    def pods_on(self, node: str) -> Iterable[dict[str, Any]]:
        return [self.pod] if node == "full" else self.there

    def node(self, name: str) -> dict[str, Any]:
        ready = [{"type": "Ready", "status": "True"}]
        return {"metadata": {"name": name}, "status": {"allocatable": {"pods": "9"}, "conditions": ready}}

    def namespace(self, _name: str) -> dict[str, Any]:
        return {"metadata": {}}


def test_a_pod_that_may_be_moved_goes_to_the_node_that_takes_it() -> None:
    reading = Round(Objects(), ACT, lambda: WALL)
    seen = reading.examine(misplaced(), ())
    assert (seen.refusal, seen.target, reading.doubts) == (None, "free", 0)


def test_a_constraint_of_the_wrong_shape_is_a_doubt_and_no_fault() -> None:
    objects = Objects()
    other = copy.deepcopy(objects.pod)
    other["metadata"]["uid"] = "other"
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": ["app"]}}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    other["spec"]["affinity"] = {"podAntiAffinity": required}
    objects.there = [other]
    reading = Round(objects, ACT, lambda: WALL)
    refusal = reading.examine(misplaced(), ()).refusal
    assert refusal is not None
    assert (refusal.reason, reading.doubts) == (Reason.IN_DOUBT, 1)
    assert "whether free takes it" in refusal.detail
