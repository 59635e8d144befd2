# SPDX-License-Identifier: Apache-2.0
"""Tunnels of every kind, by the kernel's own devices: what they carry counts once, and is its pod's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.guest import carrying
from tests.kernel.guest.overlay import KINDS, ONE_FLOW, Overlay, overlay
from tests.kernel.guest.sources import AT_SOCKETS, SOURCES, opened

OverlayWatched = carrying.Watched[Overlay]


@pytest.fixture(scope="module")
def all_tunnels() -> Iterator[OverlayWatched]:
    names = (*SOURCES, AT_SOCKETS)
    with overlay() as net, opened(names, net.node, carrying.THRESHOLDS, net.locality()) as sources:
        yield carrying.Watched(net, sources)


@pytest.fixture
def watched(all_tunnels: OverlayWatched) -> OverlayWatched:
    return carrying.Watched(all_tunnels.net, {name: all_tunnels.sources[name] for name in SOURCES})


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_tunnel_carries_counts_once(
    all_tunnels: OverlayWatched, watched: OverlayWatched, kind: str
) -> None:
    at_sockets = carrying.Watched(all_tunnels.net, {AT_SOCKETS: all_tunnels.sources[AT_SOCKETS]})
    carrying.counts_once(watched, kind, at_sockets)


@pytest.mark.parametrize("kind", ["geneve", "wireguard", "esp"])
def test_a_transfer_in_a_tunnel_is_one_elephant_the_pods(watched: OverlayWatched, kind: str) -> None:
    carrying.elephant_is_the_pods(watched, kind)


@pytest.mark.parametrize("kind", ONE_FLOW)
def test_many_mice_in_one_tunnel_are_no_elephant_once_it_is_known(watched: OverlayWatched, kind: str) -> None:
    carrying.mice_stay_mice(watched, kind)


def test_the_hosts_own_elephant_beside_a_tunnel_stays_one(watched: OverlayWatched) -> None:
    carrying.hosts_elephant_stays_one(watched, "wireguard")


@pytest.mark.parametrize("kind", ["geneve", "wireguard", "gue", "esp-in-udp"])
def test_a_pod_cannot_hide_by_sending_to_a_tunnels_port(watched: OverlayWatched, kind: str) -> None:
    carrying.pods_elephant_to_the_tunnels_port_stays_the_pods(watched, kind)


@pytest.mark.parametrize("kind", ["geneve", "wireguard", "esp-in-udp"])
def test_a_tunnels_port_at_another_machine_is_no_tunnel(watched: OverlayWatched, kind: str) -> None:
    carrying.hosts_elephant_to_another_port_of_a_tunnel_stays_one(watched, kind)
