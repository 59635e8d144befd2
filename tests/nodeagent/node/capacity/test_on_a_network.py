# SPDX-License-Identifier: Apache-2.0
"""A real shaped link: its queue makes it full, and what it carries then is its capacity."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from footprint.keys import NODE_LINK_CAPACITY
from footprint.models import LinkRates, NodeFootprint
from lab.network import commands, netns, shaping
from nodeagent.node.capacity import ethtool
from nodeagent.node.capacity.links import NOT_UNDERSTOOD, LinkCapacities, LinkState, Load
from nodeagent.node.capacity.queues import read_queues
from nodeagent.node.capacity.signals import anatomy
from tests.nodeagent.sources.ctnetlink.network import SERVER4, Network, TcpPair, network

pytestmark = pytest.mark.netns

RATE = 20e6
PATIENCE = 90.0


@pytest.fixture
def net() -> Iterator[Network]:
    """The node's uplink carries RATE, behind one queue."""
    with network() as made:
        commands.tc_batch(made.node, shaping.shape("uplink", RATE))
        yield made


def followed(net: Network, links: LinkCapacities, until: Callable[[LinkState], bool]) -> LinkState:
    """The first state that ``until`` likes, at a reading every half second."""
    deadline = time.monotonic() + PATIENCE
    with netns.entered(net.node):
        while True:
            now = time.monotonic()
            state = links.advance({"uplink": Load()}, now)["uplink"]
            if until(state) or now > deadline:
                return state
            time.sleep(0.5)


@contextmanager
def sending(pair: TcpPair) -> Iterator[None]:
    """The pod sends for as long as the block lasts."""
    stop = threading.Event()

    def send() -> None:
        while not stop.is_set():
            pair.send(500_000)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_link_that_queues_is_full_and_teaches_its_capacity_and_then_is_not(net: Network) -> None:
    links = LinkCapacities(assumed=1e9)
    state = followed(net, links, lambda s: s.capacity.by == "assumed")
    assert (state.capacity.rates, state.full) == (LinkRates(1e9, 1e9), ())
    with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
        with sending(pair):
            state = followed(net, links, lambda s: s.capacity.by == "estimated")
        assert (state.capacity.by, state.full) == ("estimated", ("tx",))
        assert state.capacity.sure >= 0.5
        assert state.capacity.rates.tx == pytest.approx(RATE, rel=0.15)
        assert state.capacity.rates.rx == state.capacity.rates.tx, "links are alike in both directions"
        assert followed(net, links, lambda s: not s.full).full == ()
    restored = LinkCapacities(assumed=1e9)
    cap = state.capacity
    restored.restore("uplink", NodeFootprint("t", cap.rates, up="uplink", by=cap.by, sure=cap.sure))
    again = followed(net, restored, lambda _: True).capacity
    assert again.by == "estimated"
    assert again.rates.tx == pytest.approx(cap.rates.tx, rel=0.03)


def test_what_the_node_states_counts_at_once_and_what_is_malformed_is_named(net: Network) -> None:
    said: list[Mapping[str, Any]] = [{}]
    links = LinkCapacities(assumed=1e9, node=lambda: said[0])
    assert followed(net, links, lambda _: True).capacity.by == "assumed"
    said[0] = {"annotations": {NODE_LINK_CAPACITY: "uplink=40M"}}
    capacity = followed(net, links, lambda _: True).capacity
    assert (capacity.by, capacity.rates) == ("stated", LinkRates(40e6, 40e6))
    said[0] = {"annotations": {NODE_LINK_CAPACITY: "fast"}}
    assert followed(net, links, lambda _: True).capacity.by == "assumed"
    assert (links.reasons, links.problems) == ((NOT_UNDERSTOOD,), 1)
    said[0] = {}
    followed(net, links, lambda _: True)
    assert links.reasons == ()


def test_an_interface_that_went_away_keeps_what_was_assumed_and_is_not_full(net: Network) -> None:
    links = LinkCapacities(assumed=1e9)
    with netns.entered(net.node):
        state = links.advance({"gone0": Load()}, 1.0)["gone0"]
    assert (state.capacity.by, state.full) == ("assumed", ())


def test_counters_by_name_and_queues_are_the_namespaces_own(net: Network) -> None:
    with netns.entered(net.node):
        link = anatomy("uplink")
        assert ethtool.names("uplink"), "a veth has counters of its own"
        place = {name: at for at, name in enumerate(ethtool.names("uplink"))}
        assert ethtool.values("uplink", place).keys() == place.keys()
        assert ethtool.names("lo") == ()
        assert ethtool.values("lo", {"peer_ifindex": 0}) == {}
        queue = read_queues({link.index})[link.index]
        assert (queue.kind, queue.paced, link.speed) == ("htb", False, 0.0)
