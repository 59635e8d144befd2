# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extender.model.cost import LinkLoad
from extender.model.demand import Demand, Origin
from extender.model.mice_free_links import KnownLinks, MiceFreeLinks
from extender.model.pods import PodInfo
from extender.model.snapshot import NodeState, NodeView
from footprint.classes import TrafficClass
from footprint.declared import Declared
from tests.extender.builders import A_MOUSE, LINK, M, pod_info

E = TrafficClass.ELEPHANT


def mice_free_links(*pods: PodInfo, learned: Demand | None = None) -> MiceFreeLinks:
    taken = MiceFreeLinks(100 * M)
    for pod in pods:
        taken.put(pod)
    taken.update({("default", "Job/bulk"): learned} if learned else {}, [("default", "Job/bulk")])
    return taken


def bulk(rate: float, pods: int = 1) -> Demand:
    return Demand(E, rate * M, 0.0, 0.0, Origin.LEARNED, pods)


PODS = [pod_info(f"p{i}") for i in range(3)]


@pytest.mark.parametrize(
    ("pods", "learned", "links", "expected"),
    [
        (PODS, bulk(190), 20, 6),  # three that fill a link each, twice
        (PODS, bulk(60), 20, 2),  # 3 * 60/180 = 1, twice
        (PODS[:1], bulk(60), 20, 1),  # 2/3 rounded up
        ([], bulk(190, pods=4), 20, 8),  # four were measured lately
        (PODS, bulk(190), 4, 2),  # never more than half of the links
        (PODS, bulk(190), 1, 0),
        (PODS, A_MOUSE, 20, 0),
        (PODS, None, 20, 0),
        ([pod_info("d", declared=Declared(cls=E))], None, 20, 2),  # declared, 100 of 180 M: 1.1 rounded up
    ],
)
def test_links_are_kept_for_twice_the_elephants_that_are_known(
    pods: list[PodInfo], learned: Demand | None, links: int, expected: int
) -> None:
    assert mice_free_links(*pods, learned=learned).links_to_keep(LINK, links) == expected


def test_ended_and_deleted_pods_need_no_link() -> None:
    declared = Declared(cls=E)
    taken = mice_free_links(pod_info("a", declared=declared), pod_info("b", declared=declared))
    taken.put(pod_info("a", declared=declared, phase="Succeeded"))
    taken.drop(pod_info("b", declared=declared))
    taken.update({}, ())
    assert taken.links_to_keep(LINK, 20) == 0


def test_without_a_capacity_nothing_is_kept() -> None:
    assert mice_free_links(*PODS, learned=bulk(190)).links_to_keep(0.0, 20) == 0


def link_of(name: str, capacity: float) -> NodeView:
    return NodeView(name, NodeState.KNOWN, link=LinkLoad(capacity, capacity))


@pytest.mark.parametrize("stated", [1.0, 1e6, 1e15])
def test_one_node_that_states_an_absurd_capacity_changes_no_link_to_keep(stated: float) -> None:
    expected = mice_free_links(*PODS, learned=bulk(190))
    links = KnownLinks()
    for number in range(10):
        links.swap(None, link_of(f"n{number}", LINK))
    links.swap(None, link_of("liar", LINK))
    before = links.to_keep(expected)
    links.swap(link_of("liar", LINK), link_of("liar", stated))
    assert links.to_keep(expected) == before > 0


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([1.0, LINK, 1e9, 1e15])), max_size=40))
def test_links_are_counted_as_if_all_were_counted_again(changes: list[tuple[int, float]]) -> None:
    links, there = KnownLinks(), dict[int, NodeView]()
    for node, capacity in changes:
        after = link_of(str(node), capacity)
        links.swap(there.get(node), after)
        there[node] = after
    again = KnownLinks()
    for view in there.values():
        again.swap(None, view)
    assert links == again
    capacities = sorted(view.link.cap_tx for view in there.values())
    assert links.typical_capacity == (capacities[(len(capacities) - 1) // 2] if capacities else 0.0)
    copied = links.copy()
    copied.swap(None, link_of("x", 5.0))
    assert links == again
