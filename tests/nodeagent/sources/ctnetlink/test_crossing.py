# SPDX-License-Identifier: Apache-2.0
"""Real packets through two conntrack zones of one node."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.guest import crossing
from tests.kernel.guest.carrying import THRESHOLDS, Watched
from tests.kernel.guest.sources import CTNETLINK, opened
from tests.kernel.guest.zoned import WAYS, Zoned, zoned

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def node() -> Iterator[Watched[Zoned]]:
    with zoned() as net, opened([CTNETLINK], net.node, THRESHOLDS, net.locality()) as sources:
        yield Watched(net, sources)


@pytest.fixture
def watched(node: Watched[Zoned]) -> Watched[Zoned]:
    return Watched(node.net, node.sources)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize("way", WAYS)
def test_a_connection_in_two_zones_counts_once(watched: Watched[Zoned], way: str, protocol: str) -> None:
    crossing.counts_once(watched, way, protocol)


def test_an_elephant_in_two_zones_is_one(watched: Watched[Zoned]) -> None:
    crossing.elephant_is_one(watched, "masqueraded in the first")


def test_what_goes_on_counts_on_when_the_other_zones_entry_ends(watched: Watched[Zoned]) -> None:
    crossing.what_goes_on_counts_on(watched, "nothing translated")
