# SPDX-License-Identifier: Apache-2.0
"""Tunnels at sockets: what a pod sends through the kernel's own tunnel counts at its socket, and nowhere else.

VXLAN here; the guests' kernels have the other tunnels (tests/kernel/guest/scenario_carriers.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodeagent.sources.cgroup import CgroupSource
from nodeagent.sources.ebpf.loader import Options
from tests.kernel.guest import carrying
from tests.kernel.guest.overlay import HERE, Overlay, overlay
from tests.kernel.guest.sources import AT_SOCKETS
from tests.nodeagent.sources.cgroup.test_packets import SIZES

pytestmark = pytest.mark.netns

OverlayWatched = carrying.Watched[Overlay]


@pytest.fixture(scope="module")
def watched(cgroup: Path) -> Iterator[OverlayWatched]:
    with overlay(HERE) as net:
        source = CgroupSource(options=Options(sizes=SIZES, pins=None), cgroup=cgroup)
        source.open()
        try:
            yield carrying.Watched(net, {AT_SOCKETS: source})
        finally:
            source.close()


@pytest.fixture
def fresh(watched: OverlayWatched) -> OverlayWatched:
    return carrying.Watched(watched.net, watched.sources)


@pytest.mark.parametrize("kind", HERE)
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_what_a_tunnel_carries_counts_at_the_pods_socket_alone(
    fresh: OverlayWatched, kind: str, *, known: bool
) -> None:
    fresh.set_carriers(known=known)
    carrying.counts_at_the_socket_alone(fresh, kind)


def test_a_transfer_in_a_tunnel_is_one_elephant_the_pods(fresh: OverlayWatched) -> None:
    carrying.elephant_is_the_pods(fresh, "vxlan")
