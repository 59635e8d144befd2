# SPDX-License-Identifier: Apache-2.0
"""Whatever way a packet takes through the node: the right pod, the right direction, every byte once."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

import pytest

from nodeagent.sources.base import HOST, Counters
from tests.kernel.guest.measuring import Measuring
from tests.kernel.guest.network import (
    HOST_PORT,
    MASQUERADED,
    NEAR_SERVICE4,
    NEAR_SERVICE6,
    NODE4,
    NODE6,
    POD1_4,
    POD1_6,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SERVICE6,
    ZONED,
)  # fmt: skip
from tests.kernel.guest.traffic import Connection, exchange, speaks_sctp

SENT, ANSWERED = 1_500_000, 200_000
DATAGRAMS = (1, 300, 1400, 20)


@dataclass(frozen=True)
class Way:
    """From one namespace to an address, which a listener in another namespace answers."""

    client: str
    server: str
    target: str
    listen: str
    port: int = PORT
    listen_port: int = PORT


PATHS: Final = {
    "direct": (Way("pod1", "server", SERVER4, SERVER4), Way("pod1", "server", SERVER6, SERVER6)),
    "service": (Way("pod1", "server", SERVICE4, SERVER4), Way("pod1", "server", SERVICE6, SERVER6)),
    "masqueraded": (
        Way("pod1", "server", SERVER4, SERVER4, MASQUERADED, MASQUERADED),
        Way("pod1", "server", SERVER6, SERVER6, MASQUERADED, MASQUERADED),
    ),
    "masqueraded-service": (
        Way("pod1", "server", SERVICE4, SERVER4, MASQUERADED, MASQUERADED),
        Way("pod1", "server", SERVICE6, SERVER6, MASQUERADED, MASQUERADED),
    ),
    "zone": (
        Way("pod1", "server", SERVER4, SERVER4, ZONED, ZONED),
        Way("pod1", "server", SERVER6, SERVER6, ZONED, ZONED),
    ),
}  # fmt: skip
"""Pod 1 calls the server."""

INBOUND: Final = {
    "direct": (Way("server", "pod1", POD1_4, POD1_4), Way("server", "pod1", POD1_6, POD1_6)),
    "hostPort": (Way("server", "pod1", NODE4, POD1_4, HOST_PORT), Way("server", "pod1", NODE6, POD1_6, HOST_PORT)),
}
"""The server calls pod 1."""

NEIGHBOURS: Final = {
    "direct": (Way("pod2", "pod1", POD1_4, POD1_4), Way("pod2", "pod1", POD1_6, POD1_6)),
    "service": (Way("pod2", "pod1", NEAR_SERVICE4, POD1_4), Way("pod2", "pod1", NEAR_SERVICE6, POD1_6)),
}
HAIRPIN: Final = (Way("pod1", "pod1", NEAR_SERVICE4, POD1_4), Way("pod1", "pod1", NEAR_SERVICE6, POD1_6))


def carry(measuring: Measuring, way: Way, protocol: str) -> None:
    """Both directions of one flow."""
    client, server = getattr(measuring.net, way.client), getattr(measuring.net, way.server)
    if protocol == "udp":
        exchange(client, server, way.target, listen=way.listen, port=way.port, listen_port=way.listen_port,
                 sizes=DATAGRAMS)  # fmt: skip
        return
    number = socket.IPPROTO_SCTP if protocol == "sctp" else socket.IPPROTO_TCP
    if protocol == "sctp" and not speaks_sctp():
        pytest.skip("this kernel has no SCTP; the guests' kernels do")
    with Connection(client, server, way.target, listen=way.listen, port=way.port, listen_port=way.listen_port,
                    protocol=number) as connection:  # fmt: skip
        connection.send(SENT)
        connection.answer(ANSWERED)
        measuring.net.quiet()


def crossings(ways: dict[str, tuple[Way, Way]], *protocols: str) -> list[object]:
    """One case per path, family and protocol."""
    return [
        pytest.param(way, protocol, id=f"{protocol}-{'IPv6' if ':' in way.target else 'IPv4'}-{name}")
        for protocol in protocols
        for name, both in ways.items()
        for way in both
    ]


def figures(counters: Counters) -> tuple[int, int, int]:
    return counters.tx_bytes, counters.rx_bytes, counters.local_bytes


@pytest.mark.parametrize(("way", "protocol"), [
    *crossings(PATHS, "tcp"),
    *crossings({name: PATHS[name] for name in ("direct", "service", "masqueraded", "zone")}, "udp"),
    *crossings({name: PATHS[name] for name in ("direct", "service", "masqueraded")}, "sctp"),
])  # fmt: skip
def test_a_pod_that_calls_the_server_is_charged_what_its_interface_carried(
    measuring: Measuring, way: Way, protocol: str
) -> None:
    carry(measuring, way, protocol)
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-1"}
    assert figures(owners["uid-1"]) == (truth["in_pod1"], truth["out_pod1"], 0)
    assert owners["uid-1"].flows_born == 1
    assert truth["in_pod1"] > (sum(DATAGRAMS) if protocol == "udp" else SENT)


@pytest.mark.parametrize(("way", "protocol"), [*crossings(INBOUND, "tcp", "udp", "sctp")])
def test_a_pod_that_is_called_is_charged_what_its_interface_carried(
    measuring: Measuring, way: Way, protocol: str
) -> None:
    carry(measuring, way, protocol)
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-1"}
    assert figures(owners["uid-1"]) == (truth["in_pod1"], truth["out_pod1"], 0)
    assert truth["out_pod1"] > truth["in_pod1"]


@pytest.mark.parametrize(("way", "protocol"), [*crossings(NEIGHBOURS, "tcp", "udp", "sctp")])
def test_traffic_between_two_pods_of_the_node_is_local_to_both(
    measuring: Measuring, way: Way, protocol: str
) -> None:
    carry(measuring, way, protocol)
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-1", "uid-2"}
    for counters in owners.values():
        assert figures(counters) == (0, 0, truth["in_pod1"] + truth["out_pod1"])
    assert truth["out_uplink"] == 0


@pytest.mark.parametrize(("way", "protocol"), [*crossings({"hairpin": HAIRPIN}, "tcp", "udp")])
def test_a_pod_that_reaches_itself_through_its_service_is_charged_once(
    measuring: Measuring, way: Way, protocol: str
) -> None:
    carry(measuring, way, protocol)
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-1"}
    assert truth["in_pod1"] == truth["out_pod1"]  # each packet leaves the pod and comes back
    assert figures(owners["uid-1"]) == (0, 0, truth["in_pod1"])


@pytest.mark.parametrize("protocol", ["tcp", "udp", "sctp"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_a_pod_that_tracks_connections_itself_is_charged_once(
    measuring: Measuring, family: str, protocol: str
) -> None:
    server = SERVER4 if family == "IPv4" else SERVER6
    carry(measuring, Way("pod3", "server", server, server), protocol)
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-3"}
    assert figures(owners["uid-3"]) == (truth["in_pod3"], truth["out_pod3"], 0)
    assert owners["uid-3"].flows_born == 1


def test_traffic_between_a_pod_and_its_node_is_local(measuring: Measuring) -> None:
    carry(measuring, Way("node", "pod1", POD1_4, POD1_4), "tcp")
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {"uid-1"}
    assert figures(owners["uid-1"]) == (0, 0, truth["in_pod1"] + truth["out_pod1"])


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_the_nodes_own_traffic_belongs_to_the_host(measuring: Measuring, family: str) -> None:
    server = SERVER4 if family == "IPv4" else SERVER6
    carry(measuring, Way("node", "server", server, server), "tcp")
    truth, owners = measuring.truth(), measuring.owners()
    assert set(owners) == {HOST}
    assert figures(owners[HOST]) == (truth["out_uplink"], truth["in_uplink"], 0)
