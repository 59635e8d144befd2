# SPDX-License-Identifier: Apache-2.0
"""A flow's life in the kernel, packet by packet: the program's helpers on real maps, past this kernel's verifier.

The entries are made up in a map and the helpers run by BPF_PROG_RUN, for nothing needs to be hooked that way.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from lab.bench.bpf.synthetic import FOREIGN, NAMESPACE, Synthetic, What
from nodeagent.sources.base import Carrier, FlowThresholds
from nodeagent.sources.ebpf.btf.kernel import DIRECTORY, VMLINUX
from nodeagent.sources.ebpf.compiling.hooks import Mode
from nodeagent.sources.ebpf.kernel import bpf
from nodeagent.sources.ebpf.kernel.layout import EVENT_BECAME, EVENT_CEASED, Config, ElephantEvent, Seed
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.kernel.ring import RingBuffer
from nodeagent.sources.ebpf.values import carrier_key, configure, endpoint, seed_key, wide
from nodeagent.sources.tuples import FlowTuples

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="loading programs needs root"),
    pytest.mark.skipif(not (DIRECTORY / VMLINUX).exists(), reason="this kernel publishes no BTF"),
]

POD, NEIGHBOUR, PEER, NODE = (socket.inet_aton(a) for a in ("10.0.0.1", "10.0.0.2", "192.0.2.9", "10.0.0.254"))
POD6, PEER6 = (socket.inet_pton(socket.AF_INET6, a) for a in ("fd00::1", "2001:db8::9"))
TAG, OTHER, NEXT = 1 << 12 | 2, 1 << 12 | 3, 2 << 12 | 2
NOBODYS = 99 << 12 | 2
"""A tag of the pod's slot that no flow has."""
RING = 16 * 4096
SIZES = Sizes(flows=1024, addresses=64, slots=16, seeds=16, elephants=4, event_bytes=RING)
MIB = 2**20


class Node:
    """What happens to the flows of a node with two pods."""

    def __init__(self, synthetic: Synthetic) -> None:
        self.synthetic, self.maps = synthetic, synthetic.maps
        self._fields = {"netns": NAMESPACE, "generation": 1, "seeded": 1}
        self.configure()
        for slot, tag in ((0, 0), (1, 1), (2, TAG), (3, OTHER)):
            self.maps.give_slot(slot, tag)
        for address, tag in ((POD, TAG), (POD6, TAG), (NEIGHBOUR, OTHER), (NODE, 1)):
            self.maps.write_address(wide(address), tag)

    def configure(self, **fields: int) -> None:
        self._fields |= fields
        config = Config(**self._fields)
        configure(config, FlowThresholds(), 0.004)
        self.synthetic.configure(config)

    def packet(self, size: int, *, entry: int = 0, direction: int = 0, namespace: int = 0) -> None:
        self.synthetic.run(What.ACCOUNT, entry, size=size, direction=direction, namespace=namespace)

    def birth(self, entry: int = 0) -> None:
        """As the kernel does it: confirmed, then put into the table."""
        self.synthetic.confirm(entry)
        self.synthetic.run(What.BIRTH, entry)

    def death(self, entry: int = 0) -> None:
        self.synthetic.run(What.DEATH, entry)

    def counted(self, slot: int) -> dict[str, int]:
        """What is not zero."""
        names = (
            "tx_bytes", "rx_bytes", "tx_packets", "rx_packets", "tx_elephant_bytes", "rx_elephant_bytes",
            "local_bytes", "flows_born", "flows_ended", "mice_ended",
        )  # fmt: skip
        return {name: value for name, value in zip(names, self.maps.counters(slot)[1], strict=True) if value}

    def at_once(
        self, packets: int, size: int, meanwhile: Callable[[], object] = lambda: None, *, again: bool = False
    ) -> None:
        """Two processors count as many packets of entry 0 each, at the same time."""
        cpus = sorted(os.sched_getaffinity(0))

        def count(cpu: int) -> None:
            os.sched_setaffinity(0, {cpu})  # of this thread
            self.synthetic.run(What.ACCOUNT, 0, size=size, repeat=packets)

        with ThreadPoolExecutor(2) as both:
            running = [both.submit(count, cpu) for cpu in (cpus[0], cpus[-1])]
            meanwhile()
            while again and not all(done.done() for done in running):
                meanwhile()
            for done in running:
                done.result()

    def sizes(self, slot: int) -> dict[int, int]:
        return {bucket: count for bucket, count in enumerate(self.maps.histograms(slot).sizes) if count}

    def stat(self, name: str) -> int:
        return self.maps.stats()[f"STAT_{name}"]


@pytest.fixture(params=list(Mode), ids=str)
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    try:
        synthetic = Synthetic(16, SIZES, request.param)
    except PermissionError:
        pytest.skip("this kernel does not let programs be loaded")
    with closing(synthetic):
        yield Node(synthetic)


def test_a_flow_is_charged_to_its_pod_from_its_first_packet_to_its_last(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    assert node.counted(2) == {}  # its tuples are not final yet
    node.birth()
    assert node.counted(2) == {"tx_bytes": 60, "tx_packets": 1, "flows_born": 1}
    node.packet(1000, direction=1)
    node.packet(40)
    node.death()
    assert node.counted(2) == {
        "tx_bytes": 100, "tx_packets": 2, "rx_bytes": 1000, "rx_packets": 1, "flows_born": 1, "flows_ended": 1,
        "mice_ended": 1,
    }  # fmt: skip
    assert node.sizes(2) == {11: 1}
    assert node.counted(0) == node.counted(1) == {}
    assert node.stat("FLOWS_MET") == node.stat("FLOWS_BURIED") == 1


def test_without_a_birth_hook_the_second_packet_settles_it(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    node.synthetic.connect(0, POD, PEER, confirmed=True)
    node.packet(40)
    assert node.counted(2) == {"tx_bytes": 100, "tx_packets": 2, "flows_born": 1}


def test_without_a_birth_hook_a_flow_of_one_packet_is_settled_at_its_end(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    node.synthetic.connect(0, POD, PEER, confirmed=True)
    node.death()
    assert node.counted(2) == {
        "tx_bytes": 60, "tx_packets": 1, "flows_born": 1, "flows_ended": 1, "mice_ended": 1
    }  # fmt: skip


def test_a_first_packet_that_was_dropped_is_nobodys(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    node.death()
    assert [node.counted(slot) for slot in range(4)] == [{}, {}, {}, {}]
    assert node.stat("UNCONFIRMED") == 1


def test_translation_before_the_birth_decides_not_the_first_packet(node: Node) -> None:
    service = socket.inet_aton("10.96.0.10")
    node.synthetic.connect(0, PEER, service, confirmed=False)
    node.packet(60)
    node.synthetic.connect(0, PEER, service, reply_source=POD, confirmed=False)
    node.birth()
    assert node.counted(2) == {"rx_bytes": 60, "rx_packets": 1, "flows_born": 1}


def test_ipv6_is_charged_alike(node: Node) -> None:
    node.synthetic.connect(0, POD6, PEER6, confirmed=False)
    node.packet(60)
    node.birth()
    assert node.counted(2) == {"tx_bytes": 60, "tx_packets": 1, "flows_born": 1}


def test_two_pods_of_the_node_have_local_bytes_each_and_nothing_else(node: Node) -> None:
    node.synthetic.connect(0, POD, NEIGHBOUR, confirmed=False)
    node.packet(60)
    node.birth()
    node.packet(40, direction=1)
    node.death()
    assert node.counted(2) == node.counted(3) == {"local_bytes": 100}


@pytest.mark.parametrize("protocol", [1, 58])
def test_icmp_has_bytes_but_is_no_flow(node: Node, protocol: int) -> None:
    node.synthetic.connect(0, POD, PEER, protocol=protocol, confirmed=False)
    node.packet(84)
    node.birth()
    node.death()
    assert node.counted(2) == {"tx_bytes": 84, "tx_packets": 1}
    assert node.sizes(2) == {}


def test_another_namespaces_entry_is_not_counted(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER)
    for _ in range(2):  # before its own namespace is known, and after
        node.packet(1000, namespace=FOREIGN)
        node.synthetic.connect(1, POD, PEER, confirmed=False)
        node.packet(60, entry=1)
        node.death(1)
    assert node.counted(2) == {}
    assert node.stat("FLOWS_MET") == 2


def test_a_pod_that_becomes_known_gets_the_flow_from_then_on(node: Node) -> None:
    late = socket.inet_aton("10.0.0.7")
    node.synthetic.connect(0, late, PEER, confirmed=False)
    node.packet(60)
    node.birth()
    assert node.counted(0) == {"tx_bytes": 60, "tx_packets": 1, "flows_born": 1}
    node.maps.write_address(wide(late), TAG)
    node.configure(generation=2)
    node.packet(40)
    assert node.counted(2) == {"tx_bytes": 40, "tx_packets": 1}
    assert node.counted(0) == {"tx_bytes": 60, "tx_packets": 1, "flows_born": 1}


def test_an_address_that_changes_hands_leaves_the_old_flow_where_it_was(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    node.birth()
    node.maps.write_address(wide(POD), OTHER)
    node.configure(generation=2)
    node.packet(40)
    assert node.counted(2) == {"tx_bytes": 100, "tx_packets": 2, "flows_born": 1}
    assert node.counted(3) == {}


def test_a_slot_that_serves_another_pod_inherits_nothing(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    node.birth()
    node.maps.give_slot(2, NEXT)
    node.packet(40)
    node.death()
    assert node.counted(2) == {}
    assert node.sizes(2) == {}
    assert node.counted(0) == {"tx_bytes": 40, "tx_packets": 1, "flows_ended": 1, "mice_ended": 1}
    assert node.stat("LOST_OWNER") == 2


def test_an_elephant_is_told_when_it_begins_and_when_it_ends(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, ports=(40_000, 5201), confirmed=False)
    node.packet(60)
    node.birth()
    with closing(RingBuffer(node.maps.fds["events"], RING)) as ring:
        for _ in range(11 * MIB // 65_536):
            node.packet(65_536)
        assert ring.wait(0)
        (began,) = map(ElephantEvent.from_buffer_copy, ring.records())
        assert (began.kind, began.protocol) == (EVENT_BECAME, 6)
        assert (
            endpoint(began.initiator, began.initiator_port),
            endpoint(began.responder, began.responder_port),
        ) == (
            "10.0.0.1:40000",
            "192.0.2.9:5201",
        )
        assert 10 * MIB <= began.bytes[0] < 10 * MIB + 65_536
        assert 0 <= time.monotonic() - began.time_ns / 1e9 < 60
        assert [event.flow for event in node.maps.elephants()] == [began.flow]
        node.death()
        (ended,) = map(ElephantEvent.from_buffer_copy, ring.records())
        assert (ended.kind, ended.flow) == (EVENT_CEASED, began.flow)
        assert list(node.maps.elephants()) == []
    counted = node.counted(2)
    assert 0 < counted["tx_elephant_bytes"] < counted["tx_bytes"] - 9 * MIB
    assert "mice_ended" not in counted


def test_a_full_ring_and_a_full_table_of_elephants_are_counted(node: Node) -> None:
    for entry in range(6):  # the table takes four, and rounds nothing up
        node.synthetic.connect(entry, POD, PEER, ports=(40_000 + entry, 80))
        node.packet(60, entry=entry)
        for _ in range(11):
            node.packet(MIB, entry=entry)
    assert len(list(node.maps.elephants())) == 4
    assert node.stat("LOST_ELEPHANT") == 2
    began = 0
    while not node.stat("LOST_EVENT"):
        began += 1
        assert began < RING // 80, "the ring never filled"
        node.death()
        node.packet(60)
        node.packet(11 * MIB)


def test_a_connection_that_existed_brings_its_history_but_no_bytes(node: Node) -> None:
    tuples = FlowTuples(6, POD, PEER, PEER, POD, 40_000, 80, 80, 40_000)
    node.maps.write_seed(seed_key(tuples), Seed((9 * MIB, 100), time.monotonic_ns()))
    node.synthetic.connect(0, POD, PEER)
    node.packet(1000)
    assert node.counted(2) == {"tx_bytes": 1000, "tx_packets": 1}
    for _ in range(2):
        node.packet(MIB)
    assert len(list(node.maps.elephants())) == 1
    node.death()
    assert node.sizes(2) == {24: 1}  # all of it: 11 MiB
    assert node.stat("LOST_FLOW_EVICTED") == 0


def test_a_connection_of_unknown_history_ends_but_has_no_size_and_is_no_mouse(node: Node) -> None:
    tuples = FlowTuples(6, POD, PEER, PEER, POD, 40_000, 80, 80, 40_000)
    for met in (True, False):
        node.maps.write_seed(seed_key(tuples), Seed(born_ns=time.monotonic_ns(), unsized=1))
        node.synthetic.connect(0, POD, PEER)
        if met:
            node.packet(1000)
        node.death()
    node.synthetic.connect(0, POD, PEER)
    node.packet(1000)  # evicted before
    node.death()
    assert node.counted(2) == {"tx_bytes": 2000, "tx_packets": 2, "flows_ended": 3}
    assert node.sizes(2) == {}
    assert node.stat("LOST_FLOW_EVICTED") == 1


@pytest.mark.parametrize("protocol", [1, 58])
def test_icmp_from_before_the_start_was_not_lost_for_it_is_never_seeded(node: Node, protocol: int) -> None:
    node.synthetic.connect(0, POD, PEER, protocol=protocol)
    node.packet(84)
    node.synthetic.connect(1, POD, PEER, protocol=protocol)
    node.death(1)
    assert node.counted(2) == {"tx_bytes": 84, "tx_packets": 1}
    assert node.stat("LOST_FLOW_EVICTED") == 0


def test_a_rules_pattern_that_is_freed_was_no_connection(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER)
    node.synthetic.confirm(0, template=True)
    node.death()
    assert node.stat("LOST_FLOW_EVICTED") == 0
    assert node.counted(2) == {}


def test_a_flow_that_another_processor_met_in_this_moment_is_neither_refused_nor_lost(node: Node) -> None:
    node.configure(seeded=0)
    node.synthetic.connect(0, POD, PEER)
    node.packet(1000)
    node.configure(seeded=1)
    node.synthetic.run(What.MEET)
    assert node.stat("FLOWS_MET") == 1
    assert node.stat("LOST_FLOW_REFUSED") == node.stat("LOST_FLOW_EVICTED") == 0
    node.packet(100)
    assert node.counted(2) == {"tx_bytes": 1100, "tx_packets": 2}


@pytest.mark.parametrize("heard", [True, False], ids=["by its first packet", "by its birth"])
def test_a_flow_whose_end_was_missed_is_noticed_and_nothing_of_it_inherited(node: Node, heard: bool) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.packet(60)
    node.birth()
    for _ in range(11):
        node.packet(MIB)
    old = node.counted(2)
    assert len(list(node.maps.elephants())) == 1
    node.synthetic.connect(0, NEIGHBOUR, PEER, ports=(41_000, 80), confirmed=False)
    if heard:
        node.packet(70)
    node.birth()
    node.packet(1000)
    assert list(node.maps.elephants()) == []
    node.death()
    sent = {"tx_bytes": 1070, "tx_packets": 2} if heard else {"tx_bytes": 1000, "tx_packets": 1}
    assert node.counted(3) == sent | {"flows_born": 1, "flows_ended": 1, "mice_ended": 1}
    assert node.counted(2) == old
    assert node.stat("LOST_END") == 1
    assert node.stat("FLOWS_MET") == node.stat("FLOWS_BURIED") == 2
    assert node.stat("LOST_FLOW_EVICTED") == 0


def test_an_elephant_at_an_address_where_an_evicted_one_stood_is_told_anew(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER)
    node.packet(11 * MIB)
    (old,) = node.maps.elephants()
    bpf.map_delete(node.maps.fds["flows"], old.flow.to_bytes(8, "little"))
    node.death()
    node.synthetic.connect(0, NEIGHBOUR, PEER, ports=(41_000, 80), confirmed=False)
    node.packet(11 * MIB)
    (new,) = node.maps.elephants()
    assert endpoint(new.initiator, new.initiator_port) == "10.0.0.2:41000"
    assert new.time_ns > old.time_ns


def test_births_that_no_packet_preceded_are_told_apart(node: Node) -> None:
    for entry, heard in ((0, True), (1, False), (2, True)):
        node.synthetic.connect(entry, POD, PEER, ports=(40_000 + entry, 80), confirmed=False)
        if heard:
            node.packet(60, entry=entry)
        node.birth(entry)
    assert (node.stat("BIRTHS"), node.stat("BIRTHS_UNHEARD")) == (3, 1)
    assert node.stat("LOST_FLOW_EVICTED") == 0


def test_two_processors_that_count_one_flow_tell_of_its_elephant_once(node: Node) -> None:
    packets, size = 5_000, 2_000  # becomes one in the middle
    with closing(RingBuffer(node.maps.fds["events"], RING)) as ring:
        for _ in range(40):
            node.synthetic.connect(0, POD, PEER, confirmed=False)
            node.birth()
            node.at_once(packets, size)
            node.death()
            told = [ElephantEvent.from_buffer_copy(record).kind for record in ring.records()]
            assert told == [EVENT_BECAME, EVENT_CEASED]
    assert node.counted(2)["tx_bytes"] == 40 * 2 * packets * size
    assert list(node.maps.elephants()) == []


def test_nothing_is_lost_while_addresses_come_and_two_processors_count_one_flow(node: Node) -> None:
    packets, size = 600_000, 200
    generations = iter(range(2, 1_000_000))
    node.synthetic.connect(0, POD, NEIGHBOUR, confirmed=False)
    node.birth()
    node.at_once(packets, size, lambda: node.configure(generation=next(generations)), again=True)
    assert node.counted(2) == node.counted(3) == {"local_bytes": 2 * packets * size}
    assert len(list(node.maps.elephants())) == 1
    node.death()
    assert list(node.maps.elephants()) == []


def test_a_slot_given_away_while_two_processors_count_for_it_begins_with_nothing(node: Node) -> None:
    packets, size, sent = 50_000, 100, 0
    for generation in range(2, 42):
        tag = generation << 12 | 2
        node.maps.give_slot(2, tag)
        node.maps.write_address(wide(POD), tag)
        node.synthetic.connect(0, POD, PEER, confirmed=False)
        node.birth()
        node.at_once(packets, size, lambda: node.maps.give_slot(2, NOBODYS))
        sent += 2 * packets * size
        assert node.counted(2) == {}
        node.death()
    assert node.counted(0)["tx_bytes"] <= sent


def test_an_idle_connection_that_existed_ends_as_one(node: Node) -> None:
    tuples = FlowTuples(6, POD, PEER, PEER, POD, 40_000, 80, 80, 40_000)
    node.maps.write_seed(seed_key(tuples), Seed((400, 100), time.monotonic_ns()))
    node.synthetic.connect(0, POD, PEER)
    node.death()
    assert node.counted(2) == {"flows_ended": 1, "mice_ended": 1}
    assert node.sizes(2) == {9: 1}


def test_a_flow_whose_state_was_evicted_is_counted_on_and_the_loss_is_told(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER)
    node.packet(1000)
    assert node.stat("LOST_FLOW_EVICTED") == 1
    assert node.counted(2) == {"tx_bytes": 1000, "tx_packets": 1}
    node.synthetic.connect(1, POD, PEER)
    node.death(1)
    assert node.stat("LOST_FLOW_EVICTED") == 2


def test_an_entry_that_a_program_put_there_is_born(node: Node) -> None:
    node.synthetic.connect(0, POD, PEER, confirmed=False)
    node.birth()
    assert node.counted(2) == {"flows_born": 1}


def test_nothing_counts_before_the_configuration_is_there(node: Node) -> None:
    node.configure(netns=0)
    node.synthetic.connect(0, POD, PEER)
    node.packet(1000)
    assert node.stat("FLOWS_MET") == 0


TUNNEL = Carrier(17, 8472, False, PEER)


@pytest.fixture
def tunnels(node: Node) -> Node:
    """The pod's slot is not the carriers' here."""
    node.maps.give_slot(2, 2)
    for address, tag in ((POD, OTHER), (NODE, 1)):
        node.maps.write_address(wide(address), tag)
    node.maps.write_carrier(carrier_key(TUNNEL))
    return node


@pytest.mark.parametrize("sent", [True, False])
def test_a_tunnel_has_bytes_and_nothing_else(tunnels: Node, sent: bool) -> None:
    tunnels.maps.write_carrier(carrier_key(TUNNEL._replace(here=True)))
    ends = (NODE, PEER) if sent else (PEER, NODE)
    tunnels.synthetic.connect(0, *ends, ports=(40_000, 8472), protocol=17, confirmed=False)
    tunnels.packet(60)
    tunnels.birth()
    for _ in range(12):
        tunnels.packet(MIB)
    assert list(tunnels.maps.elephants()) == []
    tunnels.death()
    way = "tx" if sent else "rx"
    assert tunnels.counted(2) == {f"{way}_bytes": 12 * MIB + 60, f"{way}_packets": 13}
    assert tunnels.sizes(2) == {}
    assert tunnels.counted(1) == tunnels.counted(3) == {}


@pytest.mark.parametrize(
    ("source", "peer", "port", "owner"),
    [(POD, PEER, 8472, 3), (NODE, NEIGHBOUR, 8472, 1), (NODE, PEER, 8473, 1)],
    ids=["a pod's", "to another machine", "to another port"],
)
def test_what_is_no_tunnel_stays_its_owners_elephant(
    tunnels: Node, source: bytes, peer: bytes, port: int, owner: int
) -> None:
    tunnels.maps.forget_address(wide(NEIGHBOUR))
    tunnels.synthetic.connect(0, source, peer, ports=(40_000, port), protocol=17, confirmed=False)
    tunnels.packet(60)
    tunnels.birth()
    for _ in range(12):
        tunnels.packet(MIB)
    assert len(list(tunnels.maps.elephants())) == 1
    assert tunnels.counted(2) == {}
    assert tunnels.counted(owner)["tx_bytes"] == 12 * MIB + 60


def test_a_tunnel_that_becomes_known_is_the_hosts_elephant_no_longer(tunnels: Node) -> None:
    tunnels.maps.forget_carrier(carrier_key(TUNNEL))
    tunnels.synthetic.connect(0, NODE, PEER, ports=(40_000, 8472), protocol=17)
    for _ in range(12):
        tunnels.packet(MIB)
    assert len(list(tunnels.maps.elephants())) == 1
    tunnels.maps.write_carrier(carrier_key(TUNNEL))
    tunnels.configure(generation=2)
    with closing(RingBuffer(tunnels.maps.fds["events"], RING)) as ring:
        began = list(ring.records())
        tunnels.packet(MIB)
        (ceased,) = map(ElephantEvent.from_buffer_copy, ring.records())
    assert (len(began), ceased.kind) == (1, EVENT_CEASED)
    for _ in range(12):
        tunnels.packet(MIB)
    assert list(tunnels.maps.elephants()) == []
    assert tunnels.counted(1)["tx_bytes"] == 12 * MIB
    assert tunnels.counted(2) == {"tx_bytes": 13 * MIB, "tx_packets": 13}
    tunnels.maps.forget_carrier(carrier_key(TUNNEL))
    tunnels.configure(generation=3)
    tunnels.packet(MIB)
    assert tunnels.counted(1)["tx_bytes"] == 13 * MIB


SERVICE, MASQUERADE = socket.inet_aton("10.96.0.10"), socket.inet_aton("10.0.0.254")
CROSSINGS = {
    "nothing translated": ({}, {}),
    "service in the first": ({"destination": SERVICE, "reply_source": PEER}, {}),
    "service in the second": ({"destination": SERVICE}, {"destination": SERVICE, "reply_source": PEER}),
    "masqueraded in the second": ({}, {"reply_destination": MASQUERADE}),
    "masqueraded in the first": ({"reply_destination": MASQUERADE}, {"source": MASQUERADE}),
}


def crossing(node: Node, entry: int, zone: int, ends: dict[str, bytes], *, confirmed: bool = False) -> None:
    node.synthetic.connect(
        entry, ends.get("source", POD), ends.get("destination", PEER), reply_source=ends.get("reply_source"),
        reply_destination=ends.get("reply_destination"), zone=zone, confirmed=confirmed,
    )  # fmt: skip


@pytest.mark.parametrize("way", CROSSINGS)
@pytest.mark.parametrize("dies", [0, 1])
def test_a_connection_in_two_zones_counts_once(node: Node, way: str, dies: int) -> None:
    for entry, ends in enumerate(CROSSINGS[way]):
        node.maps.expect_zones()  # as the seeder does for a node that has zones
        crossing(node, entry, entry, ends)
        node.packet(60, entry=entry)
        node.birth(entry)
    for entry in (0, 1):
        for _ in range(12):
            node.packet(MIB, entry=entry)
    assert len(list(node.maps.elephants())) == 1
    assert node.counted(2)["tx_bytes"] == 12 * MIB + 60
    for entry in (dies, 1 - dies):
        node.death(entry)
    assert (node.counted(2)["flows_born"], node.counted(2)["flows_ended"]) == (1, 1)
    assert [node.counted(slot) for slot in (0, 1, 3)] == [{}, {}, {}]
    assert list(node.maps._keys("zones", 40)) == []


def test_a_pods_entry_counts_though_the_nodes_came_first(node: Node) -> None:
    node.maps.write_address(wide(MASQUERADE), 1)
    first, second = CROSSINGS["masqueraded in the first"]
    crossing(node, 1, 1, second)
    node.packet(60, entry=1)
    node.birth(1)
    crossing(node, 0, 0, first)
    node.packet(60)
    node.birth()
    for entry in (0, 1):
        node.packet(1000, entry=entry)
    assert node.counted(1) == {"tx_bytes": 60, "tx_packets": 1, "flows_born": 1}
    assert node.counted(2) == {"tx_bytes": 1000, "tx_packets": 1}


@pytest.mark.parametrize("dies", [0, 1])
def test_when_one_zones_entry_ends_the_other_counts_on(node: Node, dies: int) -> None:
    node.maps.expect_zones()
    for entry in (0, 1):
        crossing(node, entry, entry, {})
        node.packet(60, entry=entry)
        node.birth(entry)
        node.packet(1000, entry=entry)
    node.death(dies)
    rest = 1 - dies
    time.sleep(1.2)  # longer than a window
    node.packet(500, entry=rest)
    assert node.counted(2)["tx_bytes"] == 1560
    node.death(rest)
    assert (node.counted(2)["flows_born"], node.counted(2)["flows_ended"]) == (1, 1)


def test_an_entry_that_an_answer_began_is_the_same_connections(node: Node) -> None:
    node.maps.expect_zones()
    crossing(node, 0, 0, {})
    node.packet(60)
    node.birth()
    node.synthetic.connect(1, PEER, POD, ports=(80, 40_000), zone=1, confirmed=False)
    node.packet(1000, entry=1)
    node.birth(1)
    assert node.counted(2) == {"tx_bytes": 60, "tx_packets": 1, "flows_born": 1}


def test_the_same_ends_in_one_zone_are_two_connections(node: Node) -> None:
    node.maps.expect_zones()
    for entry, ends in enumerate(({}, {"destination": SERVICE, "reply_source": PEER})):
        crossing(node, entry, 1, ends)
        node.packet(60, entry=entry)
        node.birth(entry)
    assert node.counted(2) == {"tx_bytes": 120, "tx_packets": 2, "flows_born": 2}


def test_connections_that_existed_in_two_zones_count_once_with_their_history(node: Node) -> None:
    node.maps.expect_zones()
    for zone in (0, 1):
        tuples = FlowTuples(6, POD, PEER, PEER, POD, 40_000, 80, 80, 40_000, zone)
        node.maps.write_seed(seed_key(tuples), Seed((9 * MIB, 100), time.monotonic_ns()))
        crossing(node, zone, zone, {}, confirmed=True)
        node.packet(1000, entry=zone)
    assert node.counted(2) == {"tx_bytes": 1000, "tx_packets": 1}
    assert node.stat("LOST_FLOW_EVICTED") == 0
