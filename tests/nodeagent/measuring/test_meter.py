# SPDX-License-Identifier: Apache-2.0
"""One reading, as the agent and the terminal view both take it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from footprint.keys import NODE_LINK_CAPACITY
from footprint.models import LinkRates
from nodeagent.measuring import meter
from nodeagent.measuring.aggregation import Aggregator
from nodeagent.measuring.meter import REFRESH, Meter
from nodeagent.node.capacity.links import NOT_UNDERSTOOD, LinkCapacities
from nodeagent.node.link import Link, LinkError
from nodeagent.node.pods import LocalPod
from tests.nodeagent.steady_source import SteadySource

NODE, POD, OTHER = b"\x0a\0\0\1", b"\x0a\0\0\2", b"\x0a\0\0\3"
LINK = Link(None, LinkRates(1e9, 1e9))


class Source(SteadySource):
    """One that a reading may not wait for."""

    def wait(self, timeout: float) -> bool:
        raise AssertionError(timeout)


class Pods:
    """Whoever knows the pods; ``address`` is their only one's."""

    def __init__(self) -> None:
        self.address, self._told = POD, b""

    def changed(self) -> bool:
        before, self._told = self._told, self.address
        return before != self.address

    def living_here(self, node: frozenset[bytes]) -> Mapping[str, LocalPod]:
        assert NODE in node
        return {"u": LocalPod("u", "d", "p", "Pod/p", addresses=(self.address,))}


@pytest.fixture
def links() -> list[Link | LinkError]:
    """What looking for the link gives, in turn; the last one again and again."""
    return [LINK]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, links: list[Link | LinkError]) -> tuple[Meter, Source, Pods]:
    def find_link() -> Link:
        found = links.pop(0) if len(links) > 1 else links[0]
        if isinstance(found, LinkError):
            raise found
        return found

    monkeypatch.setattr(meter, "node_addresses", lambda: frozenset({NODE}))
    source, pods = Source("u"), Pods()
    return Meter(source, pods=pods, aggregator=Aggregator("steady"), find_link=find_link), source, pods


def test_the_source_is_told_the_pods_when_they_change_and_at_each_refresh(
    made: tuple[Meter, Source, Pods],
) -> None:
    metering, source, pods = made
    assert [metering.measure(now).pods_refreshed for now in (100.0, 101.0, 102.0)] == [True, False, False]
    pods.address = OTHER
    assert metering.measure(103.0).pods_refreshed
    assert metering.measure(100.0 + REFRESH).pods_refreshed
    assert [dict(locality.pods) for locality in source.localities] == [{POD: "u"}, {OTHER: "u"}, {OTHER: "u"}]


def test_a_footprint_needs_two_intervals(made: tuple[Meter, Source, Pods]) -> None:
    metering, _, _ = made
    first, second, third = (metering.measure(now).footprint for now in (100.0, 101.0, 102.0))
    assert (first, second) == (None, None)
    assert third is not None
    assert [pod.tx for pod in third.pods] == [pytest.approx(8e6)]


def test_a_link_that_cannot_be_found_again_stays_as_it_was(
    made: tuple[Meter, Source, Pods], links: list[Link | LinkError]
) -> None:
    metering, _, _ = made
    assert metering.measure(100.0).link == LINK
    links[:] = [LinkError("gone"), Link("eth1", LinkRates(1e8, 1e8))]
    assert metering.measure(100.0 + REFRESH).link == LINK
    assert metering.measure(100.0 + 2 * REFRESH).link.interface == "eth1"


def test_addresses_that_cannot_be_read_stay_as_they_were(
    made: tuple[Meter, Source, Pods], monkeypatch: pytest.MonkeyPatch
) -> None:
    metering, source, _ = made
    metering.measure(100.0)

    def refuse() -> frozenset[bytes]:
        raise OSError("no netlink")

    monkeypatch.setattr(meter, "node_addresses", refuse)
    assert metering.measure(100.0 + REFRESH).pods_refreshed
    assert source.localities[-1].node == frozenset({NODE})


def test_what_is_known_of_each_links_capacity_is_told_and_what_is_not_understood_is_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meter, "node_addresses", lambda: frozenset({NODE}))
    said = {"annotations": {NODE_LINK_CAPACITY: "lo=400M,1G"}}
    node: list[dict[str, Any]] = [said]
    other = Link("gone0", LinkRates())
    metering = Meter(
        Source("u"),
        pods=Pods(),
        aggregator=Aggregator("steady"),
        find_link=lambda: Link("lo", LinkRates(), others=(other,)),
        capacities=LinkCapacities(assumed=5e9, node=lambda: node[0]),
    )
    told = [metering.measure(now).footprint for now in (100.0, 101.0, 102.0)][-1]
    assert told is not None
    assert {(link.name, link.by, link.cap.tx) for link in told.uplinks} == {
        ("lo", "stated", 4e8),
        ("gone0", "stated", 1e9),
    }
    node[0] = {"annotations": {NODE_LINK_CAPACITY: "fast"}}
    told = metering.measure(103.0).footprint
    assert told is not None
    assert {(link.by, link.cap.tx) for link in told.uplinks} == {("assumed", 5e9)}
    assert NOT_UNDERSTOOD in told.bad
