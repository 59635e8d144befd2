# SPDX-License-Identifier: Apache-2.0
"""Flows as such: their births, ends, sizes and owners over time."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle, islice

from nodeagent.sources.base import HISTOGRAM_BUCKETS, UNATTRIBUTED, Counters, Locality
from tests.kernel.guest.measuring import THRESHOLDS, Measuring
from tests.kernel.guest.network import (
    FORBIDDEN,
    LOCALITY,
    NEAR_SERVICE4,
    POD1_4,
    POD1_6,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SERVICE6,
    SILENT_PORTS,
)  # fmt: skip
from tests.kernel.guest.traffic import Connection, packed, scatter

IP_UDP4, IP_UDP6 = 28, 48
"""Bytes of headers that conntrack counts."""
SILENT = SILENT_PORTS[0]
SHORT_FLOWS = 20_000


def to_server(measuring: Measuring) -> Connection:
    return Connection(measuring.net.pod1, measuring.net.server, SERVER4, listen=SERVER4, port=PORT)


def histogram(values: list[int]) -> list[int]:
    """The log2 histogram of ``values``, as the source interface defines it."""
    found = [0] * HISTOGRAM_BUCKETS
    for value in values:
        found[value.bit_length()] += 1
    return found


def test_a_first_packet_to_a_service_address_belongs_to_the_pod_that_sent_it(measuring: Measuring) -> None:
    for service in (SERVICE4, SERVICE6):
        scatter(measuring.net.pod1, service, ports=[SILENT], sizes=[500])
    owners = measuring.owners()
    assert set(owners) == {"uid-1"}
    assert owners["uid-1"] == Counters(tx_bytes=1000 + IP_UDP4 + IP_UDP6, tx_packets=2, flows_born=2)


def test_a_first_packet_to_a_neighbour_through_a_service_address_is_local_to_both(measuring: Measuring) -> None:
    scatter(measuring.net.pod2, NEAR_SERVICE4, ports=[SILENT], sizes=[500])
    expected = Counters(local_bytes=500 + IP_UDP4)
    assert measuring.owners() == {"uid-1": expected, "uid-2": expected}


def test_packets_that_a_policy_dropped_are_no_traffic(measuring: Measuring) -> None:
    scatter(measuring.net.pod1, SERVER4, ports=[FORBIDDEN] * 3, sizes=[500] * 3)
    scatter(measuring.net.pod1, SERVER6, ports=[FORBIDDEN] * 3, sizes=[500] * 3)
    truth = measuring.truth()
    assert truth["in_pod1"] == 3 * (1000 + IP_UDP4 + IP_UDP6)
    assert truth["out_uplink"] == 0
    assert measuring.owners() == {}


def test_a_new_pod_with_an_old_address_gets_only_its_own_flows(measuring: Measuring) -> None:
    with to_server(measuring) as old:
        old.send(100_000)
        measuring.net.quiet()
        measuring.read()  # some sources learn of a flow only now
        pods = dict(LOCALITY.pods) | {packed(POD1_4): "uid-new", packed(POD1_6): "uid-new"}
        measuring.set_locality(replace(LOCALITY, pods=pods))
        old.send(50_000)
        measuring.net.quiet()
        early = measuring.truth()
        with to_server(measuring) as new:
            new.send(30_000)
            measuring.net.quiet()
            truth = measuring.truth()
            owners = measuring.owners()
    assert set(owners) == {"uid-1", "uid-new"}
    assert (owners["uid-1"].tx_bytes, owners["uid-1"].rx_bytes) == (early["in_pod1"], early["out_pod1"])
    assert owners["uid-new"].tx_bytes == truth["in_pod1"] - early["in_pod1"]
    assert owners["uid-new"].flows_born == 1


def test_an_unknown_pods_flow_moves_to_the_pod_once_that_is_known(measuring: Measuring) -> None:
    measuring.set_locality(Locality(node=LOCALITY.node))
    with to_server(measuring) as connection:
        connection.send(100_000)
        early = measuring.truth()
        assert set(measuring.owners()) == {UNATTRIBUTED}
        measuring.set_locality(LOCALITY)
        connection.send(50_000)
        truth = measuring.truth()
        owners = measuring.owners()
    assert owners[UNATTRIBUTED].tx_bytes == early["in_pod1"]
    assert owners["uid-1"].tx_bytes == truth["in_pod1"] - early["in_pod1"]
    assert owners["uid-1"].rx_bytes == truth["out_pod1"] - early["out_pod1"]


def test_histograms_of_ended_flows_equal_the_sizes_sent(measuring: Measuring) -> None:
    sizes = [1, 4, 5, 36, 100, 101, 228, 484, 485, 996, 1400] * 3
    scatter(measuring.net.pod1, SERVER4, ports=range(SILENT, SILENT + len(sizes)), sizes=sizes)
    small = measuring.truth()
    with to_server(measuring) as connection:
        connection.send(400_000)
        measuring.net.quiet()
        connection.reset()
    large = sum(measuring.truth()[way] - small[way] for way in ("in_pod1", "out_pod1"))
    measuring.net.flush()
    owners = measuring.owners()["uid-1"]
    assert owners.sizes == histogram([size + IP_UDP4 for size in sizes] + [large])
    assert (owners.flows_born, owners.flows_ended) == (len(sizes) + 1, len(sizes) + 1)
    assert large > THRESHOLDS.mouse_bytes
    assert owners.mice_ended == len(sizes)


def test_a_lifetime_is_the_time_from_a_flows_first_packet_to_its_end(measuring: Measuring) -> None:
    begun = time.monotonic()
    with to_server(measuring) as connection:
        opened = time.monotonic()
        connection.send(1000)
        time.sleep(1.5)
        flushed = time.monotonic()
        measuring.net.flush()
        ended = time.monotonic()
        found = measuring.each()
        connection.reset()
    shortest, longest = round((flushed - opened) * 1000), round((ended - begun) * 1000) + 1
    for owners in found.values():
        (bucket,) = [index for index, count in enumerate(owners["uid-1"].lifetimes) if count]
        assert shortest.bit_length() <= bucket <= longest.bit_length()


def test_twenty_thousand_short_flows_are_all_counted_or_counted_as_lost(measuring: Measuring) -> None:
    sizes = list(islice(cycle((10, 120, 1000)), SHORT_FLOWS))
    for first in range(0, SHORT_FLOWS, 2500):
        ports = range(SILENT + first, SILENT + first + 2500)
        scatter(measuring.net.pod1, SERVER4, ports=ports, sizes=sizes[first : first + 2500])
        measuring.read()
    truth = measuring.truth()
    measuring.net.flush()
    assert truth["in_pod1"] == sum(sizes) + SHORT_FLOWS * IP_UDP4
    for name, (pod, lost) in measuring.ended(SHORT_FLOWS).items():
        assert 0 <= SHORT_FLOWS - pod.flows_born <= lost, name
        assert 0 <= SHORT_FLOWS - pod.flows_ended <= lost, name
        assert 0 <= truth["in_pod1"] - pod.tx_bytes <= lost * (1000 + IP_UDP4), name
        if not lost:
            assert pod.sizes == histogram([size + IP_UDP4 for size in sizes]), name
            assert pod.mice_ended == SHORT_FLOWS, name
