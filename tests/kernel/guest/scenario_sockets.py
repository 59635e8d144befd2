# SPDX-License-Identifier: Apache-2.0
"""The source at sockets where the kernel has to have something: SCTP, and tunnels other than VXLAN."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from nodeagent.sources.base import Counters, LossKind
from tests.kernel.guest import carrying
from tests.kernel.guest.measuring import LENIENT, since
from tests.kernel.guest.network import LOCALITY, PORT, SERVER4, SERVER6, network
from tests.kernel.guest.overlay import KINDS, Overlay, overlay
from tests.kernel.guest.sources import AT_SOCKETS, opened
from tests.kernel.guest.traffic import Connection, speaks_sctp

OverlayWatched = carrying.Watched[Overlay]


@pytest.fixture(scope="module")
def all_tunnels() -> Iterator[OverlayWatched]:
    with overlay() as net, opened((AT_SOCKETS,), net.node, carrying.THRESHOLDS, net.locality()) as sources:
        yield carrying.Watched(net, sources)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_tunnel_carries_counts_at_the_pods_socket_alone(all_tunnels: OverlayWatched, kind: str) -> None:
    carrying.counts_at_the_socket_alone(carrying.Watched(all_tunnels.net, all_tunnels.sources), kind)


@pytest.mark.parametrize("target", [SERVER4, SERVER6])
def test_an_sctp_association_is_one_flow_of_its_pod(target: str) -> None:
    assert speaks_sctp()
    with network() as net, opened((AT_SOCKETS,), net.node, LENIENT, LOCALITY) as sources:
        source = sources[AT_SOCKETS]
        net.quiet()
        before, truth = source.read(time.monotonic()), net.counted()
        with Connection(
            net.pod1, net.server, target, listen=target, port=PORT, protocol=socket.IPPROTO_SCTP
        ) as association:
            association.send(300_000)
            association.answer(50_000)
        net.quiet()
        reading, now = source.read(time.monotonic()), net.counted()
        pod = since(before, reading).get("uid-1", Counters())
        sent, taken = now["in_pod1"] - truth["in_pod1"], now["out_pod1"] - truth["out_pod1"]
    assert sent > 300_000
    assert (pod.tx_bytes, pod.rx_bytes) == (sent, taken)
    assert (pod.flows_born, pod.flows_ended, pod.local_bytes) == (1, 0, 0)  # it ends by being idle
    assert not reading.lost.get(LossKind.UPDATES_FAILED)
