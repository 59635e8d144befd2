# SPDX-License-Identifier: Apache-2.0
"""The source at sockets against real packets: its figures against what nft counted of the same packets."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Carrier, Counters, Locality, LossKind
from nodeagent.sources.cgroup import CgroupSource, idle
from nodeagent.sources.cgroup import source as source_module
from nodeagent.sources.ebpf.kernel.maps import Sizes
from nodeagent.sources.ebpf.loader import Options
from tests.kernel.guest.measuring import LENIENT, PATIENCE, since
from tests.kernel.guest.network import (
    LOCALITY,
    MASQUERADED,
    NEAR_SERVICE4,
    NEAR_SERVICE6,
    NODE4,
    POD1_4,
    POD1_6,
    POD2_4,
    PORT,
    SERVER4,
    SERVER6,
    SERVICE4,
    SERVICE6,
    Network,
)
from tests.kernel.guest.traffic import Connection, Stream, exchange, packed, scatter, socket_in

pytestmark = pytest.mark.netns
SIZES = Sizes(flows=4096, addresses=64, slots=16, elephants=16, event_bytes=64 * 1024)


class Watch:
    """What a source counted since the watch began."""

    def __init__(self, source: CgroupSource, net: Network) -> None:
        self.source, self.net = source, net
        self._before, self._truth = source.read(time.monotonic()), net.counted()

    def owners(self) -> dict[str, Counters]:
        """Of the pods and the node. The server's own sockets are UNATTRIBUTED here: it is on the same machine."""
        self.net.quiet()
        found = since(self._before, self.source.read(time.monotonic()))
        return {owner: counters for owner, counters in found.items() if owner != UNATTRIBUTED}

    def unattributed(self) -> Counters:
        reading = self.source.read(time.monotonic())
        return since(self._before, reading).get(UNATTRIBUTED, Counters())

    def carried(self, link: str) -> tuple[int, int]:
        """IP bytes from and to whoever is behind the link, by the node's own rules."""
        now = self.net.counted()
        return tuple(now[f"{way}_{link}"] - self._truth[f"{way}_{link}"] for way in ("in", "out"))  # type: ignore[return-value]


@contextmanager
def watching(net: Network, cgroup: Path, locality: Locality = LOCALITY, **sizes: int) -> Iterator[Watch]:
    options = Options(sizes=replace(SIZES, **sizes), pins=None)
    source = CgroupSource(LENIENT, locality, options=options, cgroup=cgroup)
    source.open()
    try:
        net.quiet()
        yield Watch(source, net)
    finally:
        source.close()


@pytest.fixture(scope="module")
def running(net: Network, cgroup: Path) -> Iterator[CgroupSource]:
    """One source for the tests that do not ask what is in its map."""
    with watching(net, cgroup) as made:
        yield made.source


@pytest.fixture
def watch(running: CgroupSource, net: Network) -> Watch:
    running.set_locality(LOCALITY)
    running.set_thresholds(LENIENT)
    net.quiet()
    return Watch(running, net)


@pytest.fixture
def alone(net: Network, cgroup: Path) -> Iterator[Watch]:
    """A source whose map is empty."""
    with watching(net, cgroup) as made:
        yield made


def link_bytes(counters: Counters) -> tuple[int, int]:
    return counters.tx_bytes, counters.rx_bytes


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    return holds()


def talk(client: str, server: str, target: str, listen: str, *, up: int, down: int, port: int = PORT) -> None:
    with Connection(client, server, target, listen=listen, port=port) as connection:
        connection.send(up)
        connection.answer(down)
        connection.finish()


@pytest.mark.parametrize(
    ("target", "listen", "port"),
    [
        (SERVER4, SERVER4, PORT), (SERVER6, SERVER6, PORT), (SERVICE4, SERVER4, PORT), (SERVICE6, SERVER6, PORT),
        (SERVER4, SERVER4, MASQUERADED),
    ],
    ids=["IPv4", "IPv6", "IPv4 service", "IPv6 service", "masqueraded"],
)  # fmt: skip
def test_tcp_bytes_and_a_whole_life_are_what_the_rules_counted(
    watch: Watch, target: str, listen: str, port: int
) -> None:
    talk(watch.net.pod1, watch.net.server, target, listen, up=3_000_000, down=200_000, port=port)
    found = watch.owners()
    assert set(found) == {"uid-1"}
    assert link_bytes(found["uid-1"]) == watch.carried("pod1")
    counted = found["uid-1"]
    assert (counted.flows_born, counted.flows_ended, counted.mice_ended, counted.local_bytes) == (1, 1, 0, 0)
    assert counted.sizes[(3_200_000).bit_length()] == sum(counted.sizes) == sum(counted.lifetimes) == 1


STATISTICS = Path("/proc/sys/kernel/bpf_stats_enabled")


@pytest.fixture
def statistics() -> Iterator[None]:
    """The kernel counts the runs of programs, which an operator switches on, and never the agent."""
    before = STATISTICS.read_text()
    STATISTICS.write_text("1")
    yield
    STATISTICS.write_text(before)


@pytest.mark.usefixtures("statistics")
def test_the_kernels_counts_of_the_programs_are_in_readings_where_it_counts(alone: Watch) -> None:
    before = alone.source.read(time.monotonic())
    talk(alone.net.pod1, alone.net.server, SERVER4, SERVER4, up=3_000_000, down=200_000)
    after = alone.source.read(time.monotonic())
    for name in ("ingress", "egress"):
        assert after.programs[name].runs - before.programs[name].runs > 10
        assert after.programs[name].nanoseconds > before.programs[name].nanoseconds
    assert set(after.programs) == set(alone.source._session.programs.loaded)  # type: ignore[union-attr]


def test_readings_say_how_full_the_maps_are(alone: Watch) -> None:
    empty = alone.source.read(time.monotonic()).tables
    assert empty["flows"] == (0, SIZES.flows)
    assert empty["owners"].most == SIZES.slots
    assert empty["addresses"] == (len(LOCALITY.pods) + len(LOCALITY.node), SIZES.addresses)
    with Connection(alone.net.pod1, alone.net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        connection.send(1_000)
        connection.answer(1_000)
        assert until(lambda: alone.source.read(time.monotonic()).tables["flows"].entries == 2), "one of each end"
    assert until(lambda: alone.source.read(time.monotonic()).tables["flows"].entries == 0)


@pytest.mark.parametrize("target", [SERVER4, SERVER6, SERVICE4])
def test_udp_bytes_and_packets_are_what_the_rules_counted(watch: Watch, target: str) -> None:
    listen = SERVER6 if target == SERVER6 else SERVER4
    exchange(watch.net.pod1, watch.net.server, target, listen=listen, port=PORT, sizes=[10, 1000, 1400, 9000])
    found = watch.owners()["uid-1"]
    assert link_bytes(found) == watch.carried("pod1")
    assert (found.tx_packets, found.rx_packets, found.flows_born) == (4, 4, 1)


def test_a_pod_that_is_called_receives_what_the_initiator_sends(watch: Watch) -> None:
    talk(watch.net.server, watch.net.pod1, POD1_4, POD1_4, up=500_000, down=1_000)
    found = watch.owners()["uid-1"]
    assert link_bytes(found) == watch.carried("pod1")
    assert found.rx_bytes > 500_000 > found.tx_bytes
    assert (found.flows_born, found.flows_ended) == (1, 1)
    assert found.sizes[sum(watch.carried("pod1")).bit_length()] == 1  # the handshake is part of its size


@pytest.mark.parametrize(
    ("target", "listen"),
    [(POD1_4, POD1_4), (POD1_6, POD1_6), (NEAR_SERVICE4, POD1_4), (NEAR_SERVICE6, POD1_6)],
    ids=["IPv4", "IPv6", "IPv4 service", "IPv6 service"],
)
def test_traffic_between_two_pods_of_the_node_is_local_to_both(watch: Watch, target: str, listen: str) -> None:
    talk(watch.net.pod2, watch.net.pod1, target, listen, up=400_000, down=3_000)
    carried = sum(watch.carried("pod1"))
    local = Counters(local_bytes=carried)
    assert watch.owners() == {"uid-1": local, "uid-2": local}
    assert watch.carried("pod1") == watch.carried("pod2")[::-1]


def test_a_datagram_to_a_service_on_the_node_is_local_from_its_answer_on(watch: Watch) -> None:
    exchange(watch.net.pod2, watch.net.pod1, NEAR_SERVICE4, listen=POD1_4, port=PORT, sizes=[72, 172])
    found = watch.owners()
    assert found["uid-1"] == Counters(local_bytes=100 + 200 + 2 * 29)
    assert found["uid-2"].tx_bytes == 100  # nobody had answered yet
    assert found["uid-2"].local_bytes == 200 + 2 * 29


def test_the_nodes_traffic_with_its_pods_is_the_pods_local_and_the_rest_is_hosts(watch: Watch) -> None:
    talk(watch.net.node, watch.net.pod1, POD1_4, POD1_4, up=50_000, down=10)
    talk(watch.net.node, watch.net.server, SERVER4, SERVER4, up=50_000, down=10)
    found = watch.owners()
    assert found["uid-1"] == Counters(local_bytes=sum(watch.carried("pod1")))
    assert found.keys() == {"uid-1", HOST}
    assert link_bytes(found[HOST]) == watch.carried("uplink")[::-1]
    assert (found[HOST].flows_born, found[HOST].flows_ended, found[HOST].local_bytes) == (1, 1, 0)


POD_UID = "6f1f3a52-2b6e-4c0e-9d55-3b1f0a6f7c11"


@contextmanager
def sockets_in(cgroup: Path, *names: str) -> Iterator[Path]:
    """What this process makes meanwhile belongs to a cgroup below ``cgroup``, which goes at last."""
    inner = cgroup.joinpath(*names)
    inner.mkdir(parents=True)
    try:
        (inner / "cgroup.procs").write_text(str(os.getpid()))
        yield inner
    finally:
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))
        while inner != cgroup:
            inner.rmdir()
            inner = inner.parent


SLICES = ("kubepods.slice", "kubepods-burstable.slice", f"kubepods-burstable-pod{POD_UID.replace('-', '_')}.slice")


def test_a_pod_on_the_nodes_network_has_what_its_own_sockets_send(watch: Watch, cgroup: Path) -> None:
    net, shared = watch.net, replace(LOCALITY, sharing={POD_UID: POD_UID})
    before = watch.carried("uplink")
    with sockets_in(cgroup, *SLICES, "cri-containerd-1.scope"):
        watch.source.set_locality(shared)
        talk(net.node, net.server, SERVER4, SERVER4, up=300_000, down=20_000)
        talk(net.node, net.server, SERVER6, SERVER6, up=1_000, down=20_000)
        exchange(net.node, net.server, SERVER4, listen=SERVER4, port=PORT, sizes=[10, 1000])
        net.quiet()
        ours = watch.carried("uplink")
    talk(net.node, net.server, SERVER4, SERVER4, up=50_000, down=10)
    found = watch.owners()
    others = watch.carried("uplink")
    assert found.keys() == {POD_UID, HOST}
    assert link_bytes(found[POD_UID]) == (ours[1] - before[1], ours[0] - before[0])
    assert link_bytes(found[HOST]) == (others[1] - ours[1], others[0] - ours[0])
    assert (found[POD_UID].flows_born, found[POD_UID].flows_ended) == (3, 2)  # the datagrams are not idle yet


def test_a_pod_on_the_nodes_network_that_is_called_owns_its_connections(watch: Watch, cgroup: Path) -> None:
    net = watch.net
    with sockets_in(cgroup, "kubepods", f"pod{POD_UID}", "1"):
        watch.source.set_locality(replace(LOCALITY, sharing={POD_UID: POD_UID}))
        talk(net.server, net.node, NODE4, NODE4, up=300_000, down=20_000)
        talk(net.pod1, net.node, NODE4, NODE4, up=7_000, down=10)
        found = watch.owners()
    pod = found[POD_UID]
    assert link_bytes(pod) == watch.carried("uplink")[::-1]
    assert (pod.flows_born, pod.flows_ended, pod.mice_ended) == (1, 1, 0)
    assert pod.local_bytes == found["uid-1"].local_bytes == sum(watch.carried("pod1")) > 7_000
    assert found.keys() == {POD_UID, "uid-1"}


def test_a_cgroup_that_is_found_later_has_its_flows_from_then_on(watch: Watch, cgroup: Path) -> None:
    """The agent may hear of a pod before the kubelet has made its cgroup."""
    net = watch.net
    watch.source.set_locality(replace(LOCALITY, sharing={POD_UID: POD_UID}))
    with (
        sockets_in(cgroup, "kubepods", f"pod{POD_UID}"),
        Connection(net.node, net.server, SERVER4, listen=SERVER4, port=PORT) as connection,
    ):
        connection.send(10_000)
        watch.owners()
        before = watch.carried("uplink")
        watch.source._groups._look_from = 0.0
        watch.source.read(time.monotonic())
        connection.send(20_000)
        found = watch.owners()
        now = watch.carried("uplink")
    assert link_bytes(found[HOST]) == before[::-1]
    assert link_bytes(found[POD_UID]) == (now[1] - before[1], now[0] - before[0])


def test_a_program_that_runs_a_tunnel_carries_what_others_own(watch: Watch, cgroup: Path) -> None:
    """As OpenVPN does, in a pod on the node's network."""
    net = watch.net
    carrier = Carrier(socket.IPPROTO_UDP, 1194, here=False, remote=packed(SERVER4))
    with sockets_in(cgroup, "kubepods", f"pod{POD_UID}"):
        shared = replace(LOCALITY, sharing={POD_UID: POD_UID}, carriers=frozenset({carrier}))
        watch.source.set_locality(shared)
        exchange(net.node, net.server, SERVER4, listen=SERVER4, port=1194, sizes=[1000, 1400])
        exchange(net.node, net.server, SERVER4, listen=SERVER4, port=1195, sizes=[500])
        found = watch.owners()
    assert (found[CARRIER].tx_bytes, found[CARRIER].flows_born) == (2400 + 2 * 28, 0)
    assert (found[POD_UID].tx_bytes, found[POD_UID].flows_born) == (528, 1)


def test_loopback_is_left_out(watch: Watch) -> None:
    talk(watch.net.pod1, watch.net.pod1, "127.0.0.1", "127.0.0.1", up=100_000, down=10)
    assert watch.owners() == {}


def test_mice_and_an_elephant_are_born_end_and_leave_nothing_behind(alone: Watch) -> None:
    net, source = alone.net, alone.source
    elephant = Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT + 3)
    with Stream(elephant, 3_000_000) as stream:
        for _ in range(150):
            talk(net.pod1, net.server, SERVER4, SERVER4, up=200, down=1_000)
        assert until(lambda: {e.owners for e in source.read(time.monotonic()).elephants} == {("uid-1",)})
        [seen] = source.read(time.monotonic()).elephants
        stream.stop()
        elephant.finish()
    assert (seen.owners, seen.local, seen.protocol) == (("uid-1",), False, socket.IPPROTO_TCP)
    assert (seen.source.partition(":")[0], seen.destination) == (POD1_4, f"{SERVER4}:{PORT + 3}")
    assert until(lambda: alone.owners()["uid-1"].flows_ended == 151)
    found = alone.owners()["uid-1"]
    assert (found.flows_born, found.mice_ended, sum(found.sizes)) == (151, 150, 151)
    assert link_bytes(found) == alone.carried("pod1")
    assert 0 < found.tx_elephant_bytes < found.tx_bytes
    reading = source.read(time.monotonic())
    assert (reading.elephants, reading.flows, reading.lost) == ((), 0, {})


def test_a_local_elephant_is_one_of_both_its_owners(alone: Watch) -> None:
    net, source = alone.net, alone.source
    with Stream(Connection(net.pod2, net.pod1, POD1_4, listen=POD1_4, port=PORT + 2), 3_000_000):
        assert until(lambda: any(len(e.owners) == 2 for e in source.read(time.monotonic()).elephants))
        [seen] = source.read(time.monotonic()).elephants
    assert (sorted(seen.owners), seen.local) == (["uid-1", "uid-2"], True)
    assert (seen.source.partition(":")[0], seen.destination) == (POD2_4, f"{POD1_4}:{PORT + 2}")


def test_the_kernel_wakes_whoever_waits_when_an_elephant_begins(alone: Watch) -> None:
    with Stream(Connection(alone.net.pod1, alone.net.server, SERVER4, listen=SERVER4, port=PORT), 3_000_000):
        assert alone.source.wait(PATIENCE)


def test_a_connection_from_before_is_entered_with_what_its_socket_carried(net: Network, cgroup: Path) -> None:
    with Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        connection.send(300_000)
        connection.answer(50_000)
        with watching(net, cgroup) as watch:
            connection.answer(10)
            net.quiet()
            connection.close()
            found = watch.owners()["uid-1"]
    assert link_bytes(found) == watch.carried("pod1")
    assert (found.flows_born, found.flows_ended, found.mice_ended) == (0, 1, 0)
    assert found.sizes[(350_000).bit_length()] == 1


def test_what_the_full_map_gave_up_comes_back_with_its_size(net: Network, cgroup: Path) -> None:
    with (
        watching(net, cgroup, flows=64) as watch,
        Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection,
    ):
        connection.send(300_000)
        scatter(net.pod1, SERVER4, ports=range(10_000, 10_600), sizes=[1] * 600)
        connection.send(10)
        connection.close()
        found = watch.owners()["uid-1"]
        assert link_bytes(found) == watch.carried("pod1")
        assert (found.flows_born, found.flows_ended, found.mice_ended) == (601, 1, 0)
        assert watch.source.read(time.monotonic()).lost[LossKind.FLOWS_EVICTED] > 400


def test_a_flood_of_syns_counts_bytes_and_takes_no_room(alone: Watch) -> None:
    net = alone.net
    with (
        socket_in(net.pod1, POD1_4, socket.SOCK_STREAM) as listener,
        socket_in(net.server, POD1_4, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw,
    ):
        listener.bind((POD1_4, PORT))
        listener.listen()
        for port in range(20_000, 20_200):
            raw.sendto(syn(SERVER4, POD1_4, port, PORT), (POD1_4, 0))
        found = alone.owners()["uid-1"]
        assert found.rx_bytes >= 200 * 40
        assert (found.flows_born, found.flows_ended) == (0, 0)
        assert alone.source.read(time.monotonic()).flows == 0


def syn(source: str, target: str, source_port: int, port: int) -> bytes:
    header = struct.pack("!HHIIBBHHH", source_port, port, 1, 0, 5 << 4, 2, 1000, 0, 0)
    pseudo = packed(source) + packed(target) + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header))
    total = sum(struct.unpack(f"!{(len(pseudo) + len(header)) // 2}H", pseudo + header))
    total = (total & 0xFFFF) + (total >> 16)
    return header[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + header[18:]


def test_a_raw_socket_charges_nobody_with_the_datagrams_it_forges(alone: Watch) -> None:
    net = alone.net
    with socket_in(net.pod2, SERVER4, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        payload = struct.pack("!HHHH", 1000, 10_000, 508, 0) + bytes(500)
        forged = struct.pack("!BBHHHBBH", 0x45, 0, 0, 1, 0, 64, socket.IPPROTO_UDP, 0)
        raw.sendto(forged + packed(POD1_4) + packed(SERVER4) + payload, (SERVER4, 0))
    assert alone.owners() == {}
    assert alone.unattributed().tx_bytes == 528
    assert alone.source.read(time.monotonic()).flows == 0


def test_an_address_that_changes_hands_takes_no_flow_with_it(watch: Watch) -> None:
    net = watch.net
    with (
        socket_in(net.server, SERVER4, socket.SOCK_DGRAM) as other,
        socket_in(net.pod1, SERVER4, socket.SOCK_DGRAM) as caller,
    ):
        other.bind((SERVER4, 10_001))
        caller.connect((SERVER4, 10_001))
        caller.send(b"x" * 72)
        watch.owners()
        watch.source.set_locality(replace(LOCALITY, pods={**LOCALITY.pods, packed(POD1_4): "uid-9"}))
        caller.send(b"x" * 172)
        found = watch.owners()
    assert found["uid-1"].tx_bytes == 100
    assert (found["uid-1"].flows_ended, found["uid-1"].mice_ended) == (1, 1)
    assert (found["uid-9"].tx_bytes, found["uid-9"].flows_born) == (200, 1)


def test_two_processors_on_one_flow_lose_nothing(alone: Watch) -> None:
    """One socket, and a thread on each processor that sends by it; the first datagrams meet in an empty map."""
    processors = sorted(os.sched_getaffinity(0))[:2]
    if len(processors) < 2:
        pytest.skip("one processor")
    net, each, size = alone.net, 300, 500
    for port in range(10_000, 10_010):
        before, began = alone.carried("pod1"), alone.owners().get("uid-1", Counters())
        with socket_in(net.pod1, SERVER4, socket.SOCK_DGRAM) as caller:
            caller.connect((SERVER4, port))
            together = threading.Barrier(len(processors))

            def send(
                processor: int, caller: socket.socket = caller, together: threading.Barrier = together
            ) -> None:
                os.sched_setaffinity(threading.get_native_id(), {processor})
                together.wait()
                for _ in range(each):
                    caller.send(b"x" * size)

            workers = [threading.Thread(target=send, args=(processor,)) for processor in processors]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
        found, now = alone.owners()["uid-1"], alone.carried("pod1")
        assert found.tx_bytes - began.tx_bytes == now[0] - before[0] == len(workers) * (each) * (size + 28)
        assert found.tx_packets - began.tx_packets == len(workers) * (each)
        assert found.flows_born - began.flows_born == 1
    reading = alone.source.read(time.monotonic())
    assert (reading.flows, reading.lost) == (10, {})


def test_a_pod_that_becomes_known_has_its_flows_from_then_on(net: Network, cgroup: Path) -> None:
    with (
        watching(net, cgroup, Locality()) as watch,
        Connection(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT) as connection,
    ):
        connection.send(10_000)
        assert watch.owners() == {}
        before = watch.carried("pod1")
        watch.source.set_locality(LOCALITY)
        connection.send(20_000)
        found = watch.owners()["uid-1"]
        carried = watch.carried("pod1")
        assert link_bytes(found) == (carried[0] - before[0], carried[1] - before[1])


def test_idle_datagrams_end_as_conntracks_would(alone: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "SWEEP_EVERY", 0.0)
    net = alone.net
    exchange(net.pod1, net.server, SERVER4, listen=SERVER4, port=PORT, sizes=[100])
    scatter(net.pod1, SERVER4, ports=range(10_000, 10_100), sizes=range(1, 101))
    assert alone.owners()["uid-1"].flows_ended == 0
    monkeypatch.setattr(idle, "UNANSWERED", 0.05)
    assert until(lambda: alone.owners()["uid-1"].flows_ended == 100)
    assert alone.source.read(time.monotonic()).flows == 2  # both ends of the one that was answered
    monkeypatch.setattr(idle, "ANSWERED", 0.05)
    assert until(lambda: alone.owners()["uid-1"].flows_ended == 101)
    found = alone.owners()["uid-1"]
    assert (found.flows_born, found.mice_ended, sum(found.sizes)) == (101, 101, 101)


def test_thresholds_change_without_losing_anything(watch: Watch) -> None:
    with Connection(watch.net.pod1, watch.net.server, SERVER4, listen=SERVER4, port=PORT) as connection:
        connection.send(100_000)
        watch.source.set_thresholds(replace(LENIENT, mouse_bytes=50_000))
    counted = watch.owners()["uid-1"]
    assert (counted.flows_ended, counted.mice_ended) == (1, 0)
    assert link_bytes(counted) == watch.carried("pod1")
