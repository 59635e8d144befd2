# SPDX-License-Identifier: Apache-2.0
"""Nobody tells the agents what their links carry, as on most clouds: placement separates all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from footprint.cluster.client import MERGE_PATCH, request
from footprint.keys import NODE_LINK_CAPACITY, NODE_SUMMARY, POD_CLASS
from footprint.models import NodeFootprint
from lab.lab import Lab, LabConfig
from lab.network.addresses import OUTSIDE_V4
from lab.traffic import argv
from tests.cluster.conftest import logs_of
from tests.cluster.conftest import running as lab_running
from tests.cluster.support.workloads import created, eventually, footprint, get, pod, running

pytestmark = pytest.mark.cluster

BUSY, FREE, ODD = "node1", "node2", "node3"
LINK = 200e6
POLL_SECONDS = 150.0
"""The agent reads its Node every 72 seconds at the latest."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    yield from lab_running(LabConfig(nodes=3, link_stated=False, keep_dir=logs_of("test_unknown_capacity")))


def annotate(lab: Lab, node: str, text: str) -> None:
    """As ``kubectl annotate node`` does."""
    body = {"metadata": {"annotations": {NODE_LINK_CAPACITY: text}}}
    request(lab.api, "PATCH", f"/api/v1/nodes/{node}", body=body, content_type=MERGE_PATCH)


def bound(lab: Lab, name: str) -> str:
    """Where the pod was bound."""
    return eventually(f"{name} is bound", lambda: get(lab, "pod", name)["spec"].get("nodeName"), 30)  # type: ignore[no-any-return]


def shown(lab: Lab, node: str, **said: Any) -> NodeFootprint | None:
    """The footprint once it says this."""
    found = footprint(lab, node)
    return found if found and all(getattr(found, name) == value for name, value in said.items()) else None


def test_mice_avoid_a_link_that_queues_and_its_capacity_is_learned_and_can_be_stated(lab: Lab) -> None:
    annotate(lab, FREE, "150M")
    annotate(lab, ODD, "fast")
    lab.spawn_in("outside", argv("sink"), name="sink")
    assumed = eventually("a capacity is assumed", lambda: shown(lab, BUSY, by="assumed"), 60)
    assert assumed.cap.tx == 1e9, "five times what the link carries"

    elephant = pod("bulk", argv("elephant", f"{OUTSIDE_V4}:5001", "--connections", "2"), node=BUSY)
    with running(lab, elephant):
        eventually("the link is full", lambda: shown(lab, BUSY, full=("tx",)), 60)
        mice = [pod(f"mouse-{n}", ["sleep", "600"], annotations={POD_CLASS: "mouse"}) for n in range(6)]
        with created(lab, *mice) as names:
            nodes = {bound(lab, name) for name in names}
        assert BUSY not in nodes

        learned = eventually("the capacity is learned", lambda: shown(lab, BUSY, by="estimated"), 120)
        assert learned.cap.tx == pytest.approx(LINK, rel=0.1)
        assert learned.sure >= 0.5
        summary = get(lab, "node", BUSY)["metadata"]["annotations"][NODE_SUMMARY]
        assert "link full in tx" in summary

    assert eventually("it is stated", lambda: shown(lab, FREE, by="stated"), POLL_SECONDS).cap.tx == 150e6
    eventually(
        "what is not understood is named",
        lambda: (found := footprint(lab, ODD)) and "link-capacity-not-understood" in found.bad,
        POLL_SECONDS,
    )
