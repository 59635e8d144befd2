# SPDX-License-Identifier: Apache-2.0
"""Connections that cross two conntrack zones of the node count once, whichever zone translates addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.kernel.guest import crossing
from tests.kernel.guest.carrying import THRESHOLDS, Watched
from tests.kernel.guest.sources import SOURCES, opened
from tests.kernel.guest.zoned import WAYS, Zoned, zoned


@pytest.fixture(scope="module")
def node() -> Iterator[Watched[Zoned]]:
    # An agent finds a node's zones when it starts. Connections from before the very first one of another zone are
    # not told apart.
    with zoned() as net, ExitStack() as stack:
        # It stands until all have started: the entries of datagrams expire meanwhile.
        with crossing.connection(net, "nothing translated") as first:
            first.send(1)
            sources = stack.enter_context(opened(SOURCES, net.node, THRESHOLDS, net.locality()))
        yield Watched(net, sources)


@pytest.fixture
def watched(node: Watched[Zoned]) -> Watched[Zoned]:
    return Watched(node.net, node.sources)


@pytest.mark.parametrize(
    ("way", "protocol"),
    [*((way, "tcp") for way in WAYS), ("nothing translated", "udp"), ("service in the first", "udp")],
)
def test_a_connection_in_two_zones_counts_once(watched: Watched[Zoned], way: str, protocol: str) -> None:
    crossing.counts_once(watched, way, protocol)


def test_an_elephant_in_two_zones_is_one(watched: Watched[Zoned]) -> None:
    crossing.elephant_is_one(watched, "masqueraded in the first")


def test_what_goes_on_counts_on_when_the_other_zones_entry_ends(watched: Watched[Zoned]) -> None:
    crossing.what_goes_on_counts_on(watched, "nothing translated")
