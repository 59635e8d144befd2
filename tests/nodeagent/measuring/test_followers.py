# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import socket

import pytest

from nodeagent.measuring.followers import MOST, READINGS, Followers
from nodeagent.sources.base import HOST, Carrier, Elephant

NODE, PEER = socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2")
HERE = frozenset({NODE, socket.inet_aton("10.8.0.1")})
OUT, IN = ("192.0.2.1:40000", "192.0.2.2:1194"), ("192.0.2.2:40000", "192.0.2.1:1194")


class Node:
    """A device, and flows beside it; ``step`` is what one second adds."""

    def __init__(self, seed: int = 1) -> None:
        self.random = random.Random(seed)
        self.followers = Followers()
        self.size = self.packets = 0
        self.flows: dict[tuple[str, str], int] = {}
        self.owners: dict[tuple[str, str], tuple[str, ...]] = {}
        self.protocol = 17

    def device(self, size: int = 2_000_000, each: int = 1300) -> tuple[int, int]:
        self.size += size
        self.packets += size // each
        return size, size // each

    def flow(self, ends: tuple[str, str], size: float) -> None:
        self.flows[ends] = self.flows.get(ends, 0) + round(size)

    def read(self, device: str = "tun0") -> bool:
        elephants = [
            Elephant(self.owners.get(ends, (HOST,)), self.protocol, *ends, bytes=size, rate=2e7, since=0.0)
            for ends, size in self.flows.items()
        ]
        counters = (self.size, self.packets)
        return self.followers.advance(elephants, {device: (counters, counters)}, HERE)

    def carry(self, ends: tuple[str, str], readings: int, header: int = 57, jitter: float = 0.05) -> None:
        for _ in range(readings):
            size, packets = self.device(self.random.randrange(500_000, 4_000_000))
            self.flow(ends, (size + header * packets) * self.random.uniform(1 - jitter, 1 + jitter))
            self.read()


@pytest.mark.parametrize(
    ("ends", "carrier"), [(OUT, Carrier(17, 1194, False, PEER)), (IN, Carrier(17, 1194, True, PEER))]
)
@pytest.mark.parametrize("header", [20, 57, 120])
def test_a_flow_that_carries_what_the_device_does_is_its_tunnel(
    ends: tuple[str, str], carrier: Carrier, header: int
) -> None:
    node = Node()
    node.carry(ends, READINGS, header, jitter=0)
    assert node.followers.carriers == frozenset()
    node.carry(ends, 3, header, jitter=0)
    assert node.followers.carriers == {carrier}


def test_readings_that_are_not_taken_in_the_same_instant_do_no_harm() -> None:
    found = 0
    for seed in range(20):
        node = Node(seed)
        node.carry(OUT, 30, jitter=0.005)
        found += node.followers.carriers == {Carrier(17, 1194, False, PEER)}
    assert found >= 15


def test_it_stays_one_until_the_device_goes() -> None:
    node = Node()
    node.carry(OUT, READINGS + 3, jitter=0)
    node.flows.clear()
    assert not node.read()
    assert node.followers.carriers
    assert node.read("tun1")
    assert not node.followers.carriers


def test_a_transfer_as_fast_as_the_tunnel_is_not_mistaken_for_it() -> None:
    """A backup by QUIC at the rate of what the device carries: both fit, so neither is judged."""
    node = Node()
    for _ in range(100):
        size, packets = node.device(2_000_000)
        node.flow(OUT, size + 57 * packets)
        node.flow(("192.0.2.1:50000", "192.0.2.9:443"), size + 60 * packets)
        node.read()
    assert node.followers.carriers == frozenset()


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0, 1.05, 1.3, 5.0])
def test_a_transfer_at_a_pace_of_its_own_is_none(seed: int, share: float) -> None:
    node = Node(seed)
    for _ in range(100):
        size, _ = node.device(node.random.randrange(500_000, 4_000_000))
        node.flow(OUT, node.random.randrange(500_000, 4_000_000) * share)
        node.read()
        assert node.followers.carriers == frozenset(), size


def test_a_transfer_inside_the_tunnel_is_none() -> None:
    node = Node()
    for _ in range(50):
        size, _ = node.device(2_000_000)
        node.flow(("10.8.0.1:40000", "10.8.0.2:443"), size)
        node.read()
    assert node.followers.carriers == frozenset()


@pytest.mark.parametrize(
    ("owners", "ends"),
    [
        (("uid-1",), ("10.0.1.5:40000", "192.0.2.2:1194")),
        (("unattributed",), OUT),
        (("uid-1",), ("not an address", "")),
    ],
)
def test_a_pods_flow_is_none(owners: tuple[str, ...], ends: tuple[str, str]) -> None:
    node = Node()
    node.owners[ends] = owners
    node.carry(ends, 50, jitter=0)
    assert node.followers.carriers == frozenset()


def test_a_pod_on_the_nodes_network_may_run_a_tunnel() -> None:
    node = Node()
    node.owners[OUT] = ("uid-1",)
    node.carry(OUT, 50, jitter=0)
    assert node.followers.carriers == {Carrier(17, 1194, False, PEER)}


def test_another_protocol_and_a_flow_without_an_end_here_are_none() -> None:
    node = Node()
    node.protocol = 132
    node.carry(OUT, 50, jitter=0)
    assert node.followers.carriers == frozenset()
    node = Node()
    node.carry(("192.0.2.7:1", "[2001:db8::1]:2"), 50, jitter=0)
    assert node.followers.carriers == frozenset()


def test_what_is_compared_is_bounded() -> None:
    node = Node()
    for flow in range(10 * MOST):
        node.flow((f"192.0.2.1:{flow}", "192.0.2.2:443"), 1000)
    node.device()
    node.read()
    assert len(node.followers._pairs) == MOST


@pytest.mark.parametrize("seed", range(10))
def test_a_device_that_goes_on_while_flows_are_read_is_followed_all_the_same(seed: int) -> None:
    """As on a busy machine: the flow is read somewhere between the two looks at the device."""
    node, chance = Node(seed), random.Random(seed)
    followers, carried = Followers(), 0
    for _ in range(READINGS + 4):
        size, packets = node.device()
        carried += size + 57 * packets
        before = (node.size, node.packets)
        late = chance.randrange(300_000)
        size, packets = node.device(late)
        part = chance.random()
        seen = carried + round((size + 57 * packets) * part)
        carried += size + 57 * packets
        elephant = Elephant((HOST,), 17, *OUT, bytes=seen, rate=2e7, since=0.0)
        followers.advance([elephant], {"tun0": (before, (node.size, node.packets))}, HERE)
    assert followers.carriers == {Carrier(17, 1194, False, PEER)}
