# SPDX-License-Identifier: Apache-2.0
"""Real packets through the lab's fabric: reachability, capacity, queueing delay, what conntrack sees."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from lab.network import addresses, commands, netns, pods, services
from lab.network.pods import PodLink
from lab.network.services import ClusterService, EndpointSlice
from tests.lab.network.rig import Rig, result, rig, stopped

pytestmark = pytest.mark.netns

PORT = 8080
ATTEMPTS = 5


@pytest.fixture(scope="module")
def small() -> Iterator[Rig]:
    with rig(nodes=2, link="40M") as made:
        yield made


class Greeter:
    """Tells each TCP client which address it is seen as; datagrams likewise."""

    def __init__(self, namespace: str) -> None:
        with netns.entered(namespace):
            self._tcp = socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True)
            self._udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            self._udp.bind(("::", PORT))
        self._threads = [threading.Thread(target=self._greet), threading.Thread(target=self._echo)]
        for thread in self._threads:
            thread.start()

    def _greet(self) -> None:
        while True:
            try:
                connection, peer = self._tcp.accept()
            except OSError:
                return
            with connection:
                connection.sendall(peer[0].removeprefix("::ffff:").encode())

    def _echo(self) -> None:
        while True:
            data, peer = self._udp.recvfrom(100)
            if not data:
                return
            self._udp.sendto(peer[0].removeprefix("::ffff:").encode(), peer)

    def close(self) -> None:
        for end in (self._tcp, self._udp):
            with suppress(OSError):  # not connected, but it wakes the thread
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._tcp.close()
        self._udp.close()


def seen_as(namespace: str, address: str, port: int = PORT) -> str:
    """The address under which ``address`` sees a connection from ``namespace``."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.entered(namespace), socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        client.connect((address, port))
        return client.recv(100).decode()


def seen_as_udp(namespace: str, address: str, port: int = PORT) -> str:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.entered(namespace), socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(b"?", (address, port))
        return client.recv(100).decode()


@pytest.fixture(scope="module")
def trio(small: Rig) -> Iterator[tuple[PodLink, PodLink, PodLink]]:
    """A client and two greeters: the first on the client's node, the second on the other one."""
    made = small.pod(1), small.pod(1), small.pod(2)
    greeters = [Greeter(link.namespace) for link in made[1:]]
    yield made
    for greeter in greeters:
        greeter.close()
    for link in made:
        pods.destroy(link)


def test_pods_reach_each_other_under_their_own_addresses(trio: tuple[PodLink, ...]) -> None:
    client, near, far = trio
    for server in (near, far):
        assert seen_as(client.namespace, server.v4) == client.v4
        assert seen_as(client.namespace, server.v6) == client.v6
        assert seen_as_udp(client.namespace, server.v4) == client.v4
        assert seen_as_udp(client.namespace, server.v6) == client.v6


def test_pods_reach_the_outside_as_their_node(small: Rig, trio: tuple[PodLink, ...]) -> None:
    greeter = Greeter(small.fabric.outside_namespace)
    try:
        assert seen_as(trio[0].namespace, addresses.OUTSIDE_V4) == addresses.node_v4(1)
        assert seen_as(trio[0].namespace, addresses.OUTSIDE_V6) == addresses.node_v6(1)
    finally:
        greeter.close()


def test_nodes_and_the_control_plane_reach_pods(small: Rig, trio: tuple[PodLink, ...]) -> None:
    assert seen_as(small.node(1), trio[1].v4) == addresses.node_v4(1)
    assert seen_as(small.node(1), trio[2].v6) == addresses.node_v6(1)
    assert seen_as(small.fabric.cp_namespace, trio[2].v4) == addresses.CONTROL_PLANE_V4


def serve(small: Rig, *backends: PodLink) -> None:
    ports = (("", "tcp", 80), ("", "udp", 80))
    service = ClusterService(("d", "s"), ("10.96.0.5", "fd00:96::5"), ports)
    target = (("", "tcp", PORT), ("", "udp", PORT))
    slices = [
        EndpointSlice(("d", f"s{family}"), ("d", "s"), tuple(found), target)
        for family, found in ((4, [b.v4 for b in backends]), (6, [b.v6 for b in backends]))
    ]
    script = services.render([service], slices)
    for index in (1, 2):
        commands.nft(small.node(index), script)


def test_a_service_address_leads_to_its_pods_from_pods_and_nodes(small: Rig, trio: tuple[PodLink, ...]) -> None:
    client, near, far = trio
    serve(small, far)
    assert seen_as(client.namespace, "10.96.0.5", 80) == client.v4
    assert seen_as(client.namespace, "fd00:96::5", 80) == client.v6
    assert seen_as_udp(client.namespace, "10.96.0.5", 80) == client.v4
    assert seen_as_udp(client.namespace, "fd00:96::5", 80) == client.v6
    assert seen_as(small.node(1), "10.96.0.5", 80) == addresses.node_v4(1)
    serve(small, near)
    # A pod that reaches itself through its Service sees its node as the peer.
    assert seen_as(near.namespace, "10.96.0.5", 80) == addresses.node_v4(1)
    assert seen_as(near.namespace, "fd00:96::5", 80) == addresses.node_v6(1)


def test_connections_are_spread_over_all_endpoints(small: Rig, trio: tuple[PodLink, ...]) -> None:
    client, near, far = trio
    serve(small, near, far)
    for _ in range(40):
        seen_as(client.namespace, "10.96.0.5", 80)
    table = small.run(small.node(1), ["conntrack", "-L", "-d", "10.96.0.5", "-p", "tcp"])
    assert f"src={near.v4} dst={client.v4}" in table
    assert f"src={far.v4} dst={client.v4}" in table


def test_a_service_that_serves_nothing_refuses_at_once(small: Rig, trio: tuple[PodLink, ...]) -> None:
    serve(small, trio[2])
    for address, port in (("10.96.0.5", 81), ("10.96.0.77", 80), ("fd00:96::77", 80)):
        with pytest.raises(ConnectionRefusedError):
            seen_as(trio[0].namespace, address, port)


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_conntrack_on_the_node_counts_what_a_pod_sent(small: Rig, family: str) -> None:
    pod, payload = small.pod(1), 3_000_000
    sink = small.start(small.fabric.outside_namespace, "sink", "--port", "5001")
    outside = addresses.OUTSIDE_V4 if family == "v4" else f"[{addresses.OUTSIDE_V6}]"
    sent = result(small.start(pod.namespace, "elephant", f"{outside}:5001", "--bytes", str(payload)))
    received = stopped(sink)
    kind = ["-f", "ipv6"] if family == "v6" else []
    address = pod.v6 if family == "v6" else pod.v4
    table = small.run(small.node(1), ["conntrack", "-L", "-p", "tcp", "--orig-src", address, *kind])
    counted = re.findall(r"packets=(\d+) bytes=(\d+)", table)
    assert len(counted) == 2, table
    node = addresses.node_v6(1) if family == "v6" else addresses.node_v4(1)
    assert f"dst={node} " in table  # masked behind the node
    out_packets, out_bytes = map(int, counted[0])
    carried = sent["tcp"]["bytes_sent"]
    header = (40 if family == "v6" else 20) + 32
    # Merged (GSO) packets have one header each; the handshake's and the last packets' options differ a little.
    assert carried >= payload
    assert abs(out_bytes - carried - out_packets * header) <= 100
    assert out_packets <= sent["tcp"]["segments_out"] + 3
    assert sent["complete"]
    assert received["ended"] == 1
    pods.destroy(pod)


def test_the_link_gives_its_capacity_and_no_more(small: Rig) -> None:
    pod = small.pod(1)
    sink = small.start(small.fabric.outside_namespace, "sink", "--port", "5002")
    target = f"{addresses.OUTSIDE_V4}:5002"
    for direction in ([], ["--reverse"]):
        payload = 40e6 * 1448 / 1514  # bytes of each full frame
        for _ in range(ATTEMPTS):  # a busy machine may keep the sender from filling the link
            elephant = result(small.start(pod.namespace, "elephant", target, "--seconds", "5", *direction))
            assert elephant["goodput"] < 1.02 * payload, elephant
            if elephant["goodput"] > 0.90 * payload:
                break
        assert elephant["goodput"] > 0.90 * payload, elephant
    stopped(sink)
    pods.destroy(pod)


def test_a_mouse_waits_in_the_queue_that_an_elephant_fills(small: Rig) -> None:
    mouse, elephant = small.pod(1), small.pod(1)
    small.start(small.fabric.outside_namespace, "sink", "--port", "5003")
    small.start(small.fabric.outside_namespace, "mouse_server", "--port", "8003")
    target = f"{addresses.OUTSIDE_V4}:8003"
    idle = result(small.start(mouse.namespace, "mouse", target, "--seconds", "2", "--rate", "50"))
    burden = small.start(elephant.namespace, "elephant", f"{addresses.OUTSIDE_V4}:5003")
    loaded = result(
        small.start(mouse.namespace, "mouse", target, "--seconds", "5", "--rate", "50", "--warmup", "2")
    )
    stopped(burden)
    assert idle["lost"] == loaded["lost"] == 0
    assert loaded["latency_ms"]["p50"] > 5 * idle["latency_ms"]["p50"]
    for link in (mouse, elephant):
        pods.destroy(link)


def test_a_removed_pods_address_can_be_used_again_at_once(small: Rig) -> None:
    v4, v6 = addresses.pod_addresses(2, 100)
    for uid in ("aaaaaaaa", "bbbbbbbb"):
        link = pods.plan(small.fabric.lab_id, small.node(2), uid, v4, v6)
        pods.create(link)
        greeter = Greeter(link.namespace)
        assert seen_as(small.node(1), v4) == addresses.node_v4(1)
        greeter.close()
        pods.destroy(link)
        pods.destroy(link)
        assert not netns.exists(link.namespace)


def test_a_pod_that_cannot_be_wired_leaves_no_namespace(small: Rig) -> None:
    link = small.pod(1)
    twin = pods.PodLink(f"{link.namespace}x", link.node_namespace, "pother", link.v4, link.v6)
    with pytest.raises(commands.CommandError):
        pods.create(twin)  # its route is taken
    assert not netns.exists(twin.namespace)
    pods.destroy(link)
