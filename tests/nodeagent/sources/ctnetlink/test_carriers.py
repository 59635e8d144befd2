# SPDX-License-Identifier: Apache-2.0
"""Real VXLAN between network namespaces. The kernels of the tier ``kernel`` have the other tunnels and sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.guest import carrying
from tests.kernel.guest.overlay import HERE, Overlay, overlay
from tests.kernel.guest.sources import CTNETLINK, opened

pytestmark = pytest.mark.netns

OverlayWatched = carrying.Watched[Overlay]


@pytest.fixture(scope="module")
def watched() -> Iterator[OverlayWatched]:
    with overlay(HERE) as net, opened([CTNETLINK], net.node, carrying.THRESHOLDS, net.locality()) as sources:
        yield carrying.Watched(net, sources)


@pytest.fixture
def fresh(watched: OverlayWatched) -> OverlayWatched:
    return carrying.Watched(watched.net, watched.sources)


@pytest.mark.parametrize("kind", HERE)
def test_what_a_tunnel_carries_counts_once(fresh: OverlayWatched, kind: str) -> None:
    carrying.counts_once(fresh, kind)


def test_a_transfer_in_a_tunnel_is_one_elephant_the_pods(fresh: OverlayWatched) -> None:
    carrying.elephant_is_the_pods(fresh, "vxlan")


def test_many_mice_in_one_tunnel_are_no_elephant_once_it_is_known(fresh: OverlayWatched) -> None:
    carrying.mice_stay_mice(fresh, "vxlan-one-flow")


def test_the_hosts_own_elephant_beside_a_tunnel_stays_one(fresh: OverlayWatched) -> None:
    carrying.hosts_elephant_stays_one(fresh, "vxlan")


def test_a_pod_cannot_hide_by_sending_to_a_tunnels_port(fresh: OverlayWatched) -> None:
    carrying.pods_elephant_to_the_tunnels_port_stays_the_pods(fresh, "vxlan")


def test_a_tunnels_port_at_another_machine_is_no_tunnel(fresh: OverlayWatched) -> None:
    carrying.hosts_elephant_to_another_port_of_a_tunnel_stays_one(fresh, "vxlan")
