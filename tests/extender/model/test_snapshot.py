# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import pytest

from extender.model.ledger import BoundPod
from extender.model.snapshot import NodeFacts, NodeState, RunningPodSums, Snapshot, describe_load, view_node
from footprint.models import LinkRates
from footprint.staleness import LastRenewal
from tests.extender.builders import (
    A_MOUSE,
    AN_ELEPHANT,
    STALE_AFTER,
    M,
    cluster,
    elephant,
    footprint,
    mouse,
    pod_info,
    view,
)

BEAT = LastRenewal("1", 0.0)
BUSY = footprint(elephant("e", tx=100 * M), mouse("m"))


@pytest.mark.parametrize(
    ("facts", "now", "state"),
    [
        (NodeFacts("n", BUSY, "", BEAT), 0.0, NodeState.KNOWN),
        (NodeFacts("n", BUSY, "", BEAT), STALE_AFTER, NodeState.KNOWN),
        (NodeFacts("n", BUSY, "", BEAT), STALE_AFTER + 1, NodeState.STALE),
        (NodeFacts("n", BUSY, "", None), 0.0, NodeState.NO_LEASE),
        (NodeFacts("n", None, "", BEAT), 0.0, NodeState.NO_FOOTPRINT),
        (NodeFacts("n", None, "not-json: x", BEAT), 0.0, NodeState.MALFORMED),
        (NodeFacts("n", footprint(cap=0.0), "", BEAT), 0.0, NodeState.NO_CAPACITY),
    ],
)
def test_a_node_is_known_or_its_state_names_why_not(facts: NodeFacts, now: float, state: NodeState) -> None:
    seen = view_node(facts, now, STALE_AFTER)
    assert seen.state is state
    assert seen.known is (state is NodeState.KNOWN)
    assert bool(seen.detail) is not seen.known


def test_one_known_direction_is_enough() -> None:
    node = replace(BUSY, cap=LinkRates(200 * M, 0))
    assert view_node(NodeFacts("n", node, "", BEAT), 0.0, STALE_AFTER).utilisation == 0.5


def test_a_view_adds_measured_and_expected_load() -> None:
    bound = [BoundPod(pod_info("new"), AN_ELEPHANT), BoundPod(pod_info("web"), A_MOUSE)]
    seen = view("n", elephant("e", tx=20 * M), mouse("m"), bound=bound)
    assert (seen.link.tx, seen.link.elephants, seen.link.mice, seen.mouse_pods) == (170 * M, 2, 2.0, 2)
    assert seen.ledger.pods == 2


def test_pods_that_ended_since_the_footprint_was_written_no_longer_count() -> None:
    facts = NodeFacts(
        "n", footprint(elephant("e"), elephant("f", tx=5 * M), mouse("m")), "", BEAT, gone={"e", "m"}
    )
    link = view_node(facts, 0.0, STALE_AFTER).link
    assert (link.tx, link.elephants, link.mice) == (5 * M, 1, 0.0)


@pytest.mark.parametrize("gone", [set(), {"m"}, {"e"}, {"another"}, {"m", "e", "x"}])
def test_sums_that_are_known_already_make_the_same_view(gone: set[str]) -> None:
    node = footprint(*(mouse(f"m{number}", nf=number / 3) for number in range(9)), mouse("m"), elephant("e"))
    bound = (BoundPod(pod_info("new"), AN_ELEPHANT), BoundPod(pod_info("web"), A_MOUSE))
    facts = NodeFacts("n", node, "", BEAT, bound, gone)
    known = replace(facts, residents=RunningPodSums.of(node))
    assert view_node(known, 0.0, STALE_AFTER) == view_node(facts, 0.0, STALE_AFTER)


def test_a_view_says_when_time_alone_changes_it() -> None:
    bound = [BoundPod(pod_info("p"), AN_ELEPHANT, running_since=0.0)]
    assert view("n").changes_at == STALE_AFTER
    assert view("n", bound=bound).changes_at == 60.0


def test_the_load_reads_like_a_sentence() -> None:
    seen = view("n", *(elephant(f"e{i}", tx=54 * M) for i in range(3)))
    assert seen.load == "elephants use 81 percent of the link (3 pods, 162 Mbit/s of 200 Mbit/s)"
    assert describe_load(replace(seen.link, rx=500 * M, elephants=1)) == (
        "elephants use 100 percent of the link (1 pod, 200 Mbit/s of 200 Mbit/s)"
    )
    assert "no pod's own" in describe_load(replace(seen.link, elephants=0))


def test_a_node_the_watch_has_not_shown_is_named_so() -> None:
    assert cluster(view("a")).view("b").state is NodeState.UNSEEN


def test_waiting_is_counted_from_when_the_pod_was_first_seen() -> None:
    snapshot = Snapshot(waiting_since={"p": 5.0})
    assert snapshot.waited(pod_info("p"), 12.0) == 7.0
    assert snapshot.waited(pod_info("other"), 12.0) == 0.0
