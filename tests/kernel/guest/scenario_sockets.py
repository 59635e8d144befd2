# SPDX-License-Identifier: Apache-2.0
"""The source at sockets where the kernel has to have something: SCTP. Tunnels: ``scenario_carriers``."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from nodeagent.sources.base import Counters, FlowSource, LossKind
from tests.kernel.guest.measuring import LENIENT, since
from tests.kernel.guest.network import LOCALITY, PORT, SERVER4, SERVER6, Network, network
from tests.kernel.guest.sources import AT_SOCKETS, opened
from tests.kernel.guest.traffic import Connection, speaks_sctp


@pytest.fixture(scope="module")
def watched() -> Iterator[tuple[Network, FlowSource]]:
    assert speaks_sctp()
    with network() as net, opened((AT_SOCKETS,), net.node, LENIENT, LOCALITY) as sources:
        yield net, sources[AT_SOCKETS]


@pytest.mark.parametrize("target", [SERVER4, SERVER6])
def test_an_sctp_association_is_one_flow_of_its_pod(watched: tuple[Network, FlowSource], target: str) -> None:
    net, source = watched
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
