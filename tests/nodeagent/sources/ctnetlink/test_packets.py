# SPDX-License-Identifier: Apache-2.0
"""The ctnetlink source against real packets: its figures against what nft counted of the same packets."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.network import netns
from nodeagent.sources.base import HOST, UNATTRIBUTED, Counters, FlowThresholds, Locality, LossKind
from nodeagent.sources.ctnetlink import CtnetlinkSource
from tests.nodeagent.sources.ctnetlink.network import (
    NODE4,
    NODE6,
    POD2_4,
    POD2_6,
    POD4,
    POD6,
    SERVER4,
    SERVER6,
    SERVICE4,
    SERVICE6,
    SERVICE_LOCAL4,
    Network,
    TcpPair,
    network,
    udp_exchange,
)  # fmt: skip

pytestmark = pytest.mark.netns


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


NODE_ADDRESSES = frozenset(
    packed(address)
    for address in ("127.0.0.1", "::1", NODE4, NODE6, "10.99.1.1", "10.99.2.1", "fd99:1::1", "fd99:2::1")
)
LOCALITY = Locality(
    pods={packed(POD4): "uid-1", packed(POD6): "uid-1", packed(POD2_4): "uid-2", packed(POD2_6): "uid-2"},
    node=NODE_ADDRESSES,
)


@pytest.fixture
def net() -> Iterator[Network]:
    with network() as made:
        yield made


@contextmanager
def measuring(
    net: Network, locality: Locality = LOCALITY, thresholds: FlowThresholds | None = None, *, limit: int = 1000
) -> Iterator[CtnetlinkSource]:
    source = CtnetlinkSource(thresholds, locality, limit=limit)
    with netns.entered(net.node):
        source.open()
    try:
        yield source
    finally:
        source.close()


def owners_of(source: CtnetlinkSource) -> dict[str, Counters]:
    return dict(source.read(time.monotonic()).owners)


def link_bytes(counters: Counters) -> tuple[int, int]:
    return counters.tx_bytes, counters.rx_bytes


@pytest.mark.parametrize(
    ("target", "listen", "port"),
    [
        (SERVER4, SERVER4, 8000),
        (SERVER6, SERVER6, 8000),
        (SERVICE4, SERVER4, 8000),
        (SERVICE6, SERVER6, 8000),
        (SERVER4, SERVER4, 8001),
        (SERVICE4, SERVER4, 8001),
    ],
    ids=["IPv4", "IPv6", "IPv4 service", "IPv6 service", "masqueraded", "masqueraded service"],
)
def test_tcp_bytes_equal_what_the_rules_counted(net: Network, target: str, listen: str, port: int) -> None:
    with measuring(net) as source, TcpPair(net.pod, net.server, target, listen=listen, port=port) as pair:
        pair.send(3_000_000)
        pair.answer(200_000)
        net.settled()
        found = owners_of(source)
        assert link_bytes(found["uid-1"]) == net.counted()
        assert found["uid-1"].tx_bytes > 3_000_000
        assert found["uid-1"].local_bytes == 0
        assert found["uid-1"].flows_born == 1
        assert set(found) <= {"uid-1", HOST, UNATTRIBUTED}


@pytest.mark.parametrize(
    ("target", "listen"),
    [(SERVER4, SERVER4), (SERVER6, SERVER6), (SERVICE4, SERVER4)],
    ids=["IPv4", "IPv6", "service"],
)
def test_udp_bytes_equal_what_the_rules_counted(net: Network, target: str, listen: str) -> None:
    sizes = [10, 1000, 1400, 1]
    with measuring(net) as source:
        udp_exchange(net.pod, net.server, target, listen=listen, sizes=sizes)
        header = 48 if ":" in target else 28
        found = owners_of(source)["uid-1"]
        assert link_bytes(found) == (sum(sizes) + 4 * header, 4 + 4 * header)
        assert link_bytes(found) == net.counted()
        assert (found.tx_packets, found.rx_packets) == (4, 4)


def test_a_pod_that_is_called_from_outside_receives_what_the_initiator_sends(net: Network) -> None:
    with measuring(net) as source, TcpPair(net.server, net.pod, POD4, listen=POD4) as pair:
        pair.send(500_000)
        net.settled()
        found = owners_of(source)["uid-1"]
        assert link_bytes(found) == net.counted()
        assert found.rx_bytes > 500_000 > found.tx_bytes


def test_traffic_between_two_pods_of_the_node_is_local_to_both(net: Network) -> None:
    with measuring(net) as source, TcpPair(net.pod2, net.pod, SERVICE_LOCAL4, listen=POD4) as pair:
        pair.send(400_000)
        net.settled()
        found = owners_of(source)
        assert found["uid-1"].local_bytes == found["uid-2"].local_bytes == sum(net.counted())
        assert link_bytes(found["uid-1"]) == link_bytes(found["uid-2"]) == (0, 0)


def test_a_pod_that_reaches_itself_through_its_service_is_charged_once(net: Network) -> None:
    with measuring(net) as source, TcpPair(net.pod, net.pod, SERVICE_LOCAL4, listen=POD4) as pair:
        pair.send(100_000)
        net.settled()
        found = owners_of(source)["uid-1"]
        assert found.local_bytes == sum(net.counted()) / 2  # the rules saw each packet leave and come back
        assert link_bytes(found) == (0, 0)


def test_traffic_between_a_pod_and_its_node_is_local(net: Network) -> None:
    with measuring(net) as source, TcpPair(net.node, net.pod, POD4, listen=POD4) as pair:
        pair.send(100_000)
        found = owners_of(source)
        assert found["uid-1"].local_bytes > 100_000
        assert link_bytes(found["uid-1"]) == (0, 0)
        assert HOST not in found


def test_the_nodes_own_traffic_belongs_to_the_host(net: Network) -> None:
    with measuring(net) as source, TcpPair(net.node, net.server, SERVER6, listen=SERVER6) as pair:
        pair.send(100_000)
        found = owners_of(source)
        assert found[HOST].tx_bytes > 100_000 > found[HOST].rx_bytes > 0


def test_an_unknown_pods_traffic_is_unattributed_until_the_pod_is_known(net: Network) -> None:
    strangers = Locality(node=NODE_ADDRESSES)
    with measuring(net, strangers) as source, TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
        pair.send(300_000)
        early = net.settled()
        assert link_bytes(owners_of(source)[UNATTRIBUTED]) == early
        source.set_locality(LOCALITY)
        pair.send(200_000)
        counted = net.settled()
        found = owners_of(source)
        assert link_bytes(found[UNATTRIBUTED]) == early
        assert link_bytes(found["uid-1"]) == (counted[0] - early[0], counted[1] - early[1])


def test_two_hundred_connections_shorter_than_the_reading_interval_are_all_counted(net: Network) -> None:
    with measuring(net) as source:
        _set_timeouts(net)  # else closed connections stay in the table for two minutes
        for _ in range(200):
            with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
                pair.send(1000)
                pair.answer(1000)
        found = _until_ended(source, 200)
        assert link_bytes(found) == net.counted()
        assert (found.flows_born, found.flows_ended, found.mice_ended) == (200, 200, 200)
        assert sum(found.sizes) == sum(found.lifetimes) == 200


def _set_timeouts(net: Network) -> None:
    with netns.entered(net.node):
        for state in ("time_wait", "close", "last_ack", "close_wait", "fin_wait"):
            Path(f"/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{state}").write_text("1")


def _until_ended(source: CtnetlinkSource, flows: int) -> Counters:
    deadline = time.monotonic() + 20
    while True:
        found = owners_of(source)["uid-1"]
        if found.flows_ended >= flows or time.monotonic() > deadline:
            return found
        time.sleep(0.3)


def test_connections_that_came_and_went_between_two_readings_are_known_by_their_ending(net: Network) -> None:
    with measuring(net) as source:
        for size in (1000, 2000, 300_000):
            with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
                pair.send(size)
                time.sleep(0.05)
        _flush(net)
        found = owners_of(source)["uid-1"]
        assert link_bytes(found) == net.counted()
        assert (found.flows_born, found.flows_ended, found.mice_ended) == (3, 3, 2)


def _flush(net: Network) -> None:
    with netns.entered(net.node):
        subprocess.run(["conntrack", "-F"], check=True, capture_output=True)


def test_the_same_ports_used_again_at_once_are_a_new_flow_and_nothing_is_counted_twice(net: Network) -> None:
    with measuring(net) as source:
        for round_ in range(5):
            with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4, source_port=40_000) as pair:
                pair.send(50_000 * (round_ + 1))
                time.sleep(0.05)
                owners_of(source)
                pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            time.sleep(0.05)
            _flush(net)
        found = owners_of(source)["uid-1"]
        assert link_bytes(found) == net.counted()
        assert found.flows_born == found.flows_ended == 5


def test_bytes_before_opening_are_not_counted_and_a_second_epoch_starts_from_zero(net: Network) -> None:
    with measuring(net) as source, TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
        pair.send(100_000)
        net.settled()
        first = source.read(time.monotonic())
        before = net.counted()
        source.close()
        with netns.entered(net.node):
            source.open()
        pair.send(70_000)
        net.settled()
        second = source.read(time.monotonic())
        after = net.counted()
        assert second.epoch == first.epoch + 1
        assert link_bytes(second.owners["uid-1"]) == (after[0] - before[0], after[1] - before[1])
        assert second.owners["uid-1"].flows_born == 0


def test_connections_older_than_accounting_are_counted_as_lost_measurements(net: Network) -> None:
    with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair, measuring(net) as source:
        pair.send(100_000)
        source.read(time.monotonic())
        lost = source.read(time.monotonic()).lost
        assert lost == {LossKind.NO_COUNTERS: 1}


def test_an_elephant_that_already_runs_is_seen_after_opening(net: Network) -> None:
    with measuring(net):  # switches accounting on
        pass
    thresholds = FlowThresholds(rate_window=0.2)
    with TcpPair(net.pod, net.server, SERVICE4, listen=SERVER4) as pair:
        pair.send(12 * 2**20)
        with measuring(net, thresholds=thresholds) as source:
            assert source.read(time.monotonic()).elephants == ()
            time.sleep(0.2)
            pair.send(4 * 2**20)
            (elephant,) = source.read(time.monotonic()).elephants
            assert elephant.owners == ("uid-1",)
            assert elephant.source.startswith(f"{POD4}:")
            assert elephant.destination == f"{SERVER4}:8000"
            assert elephant.bytes > 16 * 2**20
            before = owners_of(source)["uid-1"]
            assert before.tx_elephant_bytes == 0  # carried before it was known to be one
            pair.send(2**20)
            after = owners_of(source)["uid-1"]
            assert after.tx_elephant_bytes == after.tx_bytes - before.tx_bytes > 2**20


def test_a_full_flow_table_is_counted_and_the_rest_still_measured(net: Network) -> None:
    with measuring(net, limit=1) as source, TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as one:
        one.send(1000)
        source.read(time.monotonic())
        with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4, port=8002) as two:
            two.send(1000)
            reading = source.read(time.monotonic())
            assert reading.flows == 1
            assert reading.lost[LossKind.FLOWS_EVICTED] >= 1


def test_an_overrun_of_the_event_buffer_is_counted_and_the_next_reading_is_sound(net: Network) -> None:
    source = CtnetlinkSource(locality=LOCALITY, event_buffer=2304)
    with netns.entered(net.node):
        source.open()
    try:
        for _ in range(40):
            with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
                pair.send(100)
        _flush(net)
        with TcpPair(net.pod, net.server, SERVER4, listen=SERVER4) as pair:
            pair.send(100_000)
            reading = source.read(time.monotonic())
        assert reading.lost[LossKind.EVENTS_OVERRUN] >= 1
        assert reading.flows == 1
        assert reading.owners["uid-1"].tx_bytes > 100_000
    finally:
        source.close()
