# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy

import pytest

from footprint.classes import TrafficClass
from footprint.codec import decode, encode, quantised
from footprint.models import LinkRates, NodeFootprint, PodFootprint
from nodeagent.measuring.aggregation import ENDED_LIMIT, ENDED_PER_WORKLOAD, LOSS_MEMORY, Aggregator
from nodeagent.node.pods import LocalPod
from nodeagent.sources.base import CARRIER, HOST, UNATTRIBUTED, Counters, Elephant, LossKind, Reading

LINK = LinkRates(200e6, 200e6)
MBIT = 125_000  # bytes


def pod(uid: str = "u1", phase: str = "Running", workload: str = "Job/j", host_network: bool = False) -> LocalPod:
    return LocalPod(
        uid=uid, ns="d", name=uid, workload=workload, phase=phase, addresses=(b"\n\0\0\1",),
        host_network=host_network,
    )  # fmt: skip


def pods(*infos: LocalPod) -> dict[str, LocalPod]:
    return {info.uid: info for info in infos}


def elephant(*owners: str, local: bool = False, since: float = 0.0) -> Elephant:
    return Elephant(owners, 6, "a:1", "b:2", bytes=10**8, rate=1e8, since=since, local=local)


class Node:
    """A source whose traffic the test dictates: bytes per second, at irregular moments if it likes."""

    def __init__(self, retention: float = 900.0) -> None:
        self.aggregator = Aggregator("test", retention=retention)
        self.now, self.epoch = 100.0, 1
        self.owners: dict[str, Counters] = {}
        self.lost: dict[LossKind, int] = {}
        self.known = pods(pod())

    def send(self, owner: str, tx: int = 0, rx: int = 0, etx: int = 0, local: int = 0) -> None:
        counters = self.owners.setdefault(owner, Counters())
        counters.tx_bytes += tx
        counters.rx_bytes += rx
        counters.tx_elephant_bytes += etx
        counters.local_bytes += local

    def read(self, elephants: Iterable[Elephant] = ()) -> NodeFootprint | None:
        # Sources never change what they handed out, and this one goes on counting.
        reading = Reading(self.now, self.epoch, deepcopy(self.owners), tuple(elephants), self.lost)
        return self.aggregator.advance(reading, self.known, LINK)

    def after(self, seconds: float, elephants: Iterable[Elephant] = ()) -> NodeFootprint | None:
        self.now += seconds
        return self.read(elephants)

    def idle(self, seconds: int) -> NodeFootprint:
        for _ in range(seconds):
            found = self.after(1.0)
        assert found is not None
        return found

    def elephants_for(self, seconds: int, rate: int = 100 * MBIT, owner: str = "u1") -> NodeFootprint:
        for _ in range(seconds):
            self.send(owner, tx=rate, etx=rate)
            found = self.after(1.0, [elephant(owner)])
        assert found is not None
        return found


def only(footprint: NodeFootprint | None) -> PodFootprint:
    assert footprint is not None
    [found] = footprint.pods
    return found


def test_one_reading_gives_no_footprint_nor_do_two() -> None:
    node = Node()
    node.send("u1", tx=10**9)
    assert node.read() is None
    assert node.after(1.0) is None
    assert node.after(1.0) is not None


def test_bytes_from_before_the_first_reading_are_no_rate() -> None:
    node = Node()
    node.send("u1", tx=10**9)
    node.read()
    assert only(node.idle(2)).tx == 0


def test_no_rate_is_taken_across_epochs() -> None:
    node = Node()
    node.read()
    node.idle(3)
    node.epoch, node.owners = 2, {}
    node.send("u1", tx=10**9)  # what the new epoch begins with is not what the last second carried
    assert only(node.after(1.0)).tx == 0
    node.send("u1", tx=MBIT)
    assert 0 < only(node.after(1.0)).tx <= 1e6


def test_counters_that_went_backwards_give_no_rate_and_are_counted() -> None:
    node = Node()
    node.send("u1", tx=10**6)
    node.read()
    node.idle(3)
    node.owners["u1"].tx_bytes = 10
    assert only(node.after(1.0)).tx == 0
    assert node.aggregator.refused == 1
    node.owners["u1"].tx_bytes = 20  # from the new base on it counts again
    assert only(node.after(1.0)).tx > 0
    assert node.aggregator.refused == 1


def test_time_that_stands_still_gives_no_rate_and_is_counted() -> None:
    node = Node()
    node.read()
    node.idle(2)
    node.send("u1", tx=10**6)
    assert only(node.after(0.0)).tx == 0
    assert node.aggregator.refused == 1


def test_an_owner_seen_first_within_an_epoch_began_at_zero() -> None:
    node = Node()
    node.read()
    node.idle(2)
    node.send("u1", tx=MBIT)
    assert only(node.after(1.0)).tx > 0


def test_an_owner_that_was_left_out_adds_only_what_it_is_shown_with_again() -> None:
    node = Node()
    node.read()
    node.send("u1", tx=10**9)
    node.idle(2)
    counted = node.aggregator.counted.all
    assert counted == 10**9
    del node.owners["u1"]  # it left, and nothing was counted for it for a while
    node.known = pods()
    node.idle(2)
    node.send("u1", tx=100)
    node.idle(2)
    assert node.aggregator.counted.all == counted + 100


@pytest.mark.parametrize("pace", [[1.0], [0.4, 1.6], [0.2, 0.3, 2.5]], ids=["regular", "uneven", "ragged"])
def test_a_steady_elephant_reads_within_a_tenth_after_three_seconds_at_any_pace(pace: list[float]) -> None:
    node = Node()
    node.read()
    node.idle(20)
    start = node.now
    while node.now - start < 3:
        for seconds in pace:
            node.send("u1", tx=int(160 * MBIT * seconds), etx=int(160 * MBIT * seconds))
            found = node.after(seconds, [elephant("u1")])
    assert only(found).etx == pytest.approx(160e6, rel=0.1)
    assert found is not None
    assert found.el.tx == only(found).etx


def test_the_first_elephant_is_published_with_its_rate_not_half_of_it() -> None:
    node = Node()
    node.read()
    node.idle(20)
    found = node.elephants_for(1)
    assert only(found).etx == pytest.approx(100e6)
    assert only(found).cls is TrafficClass.ELEPHANT
    assert only(found).el == 1


@pytest.mark.parametrize("part", [0.02, 0.5, 0.98])
def test_an_interval_in_which_an_elephant_began_is_not_taken_for_its_rate(part: float) -> None:
    node = Node()
    node.read()
    node.idle(20)
    node.send("u1", tx=100 * MBIT, etx=int(100 * MBIT * part))
    node.after(1.0, [elephant("u1", since=node.now + 1 - part)])
    node.send("u1", tx=50 * MBIT, etx=50 * MBIT)
    found = only(node.after(0.5, [elephant("u1", since=node.now - part)]))
    assert found.tx == pytest.approx(100e6)
    assert found.etx == pytest.approx(100e6)
    assert found.cls is TrafficClass.ELEPHANT


def test_the_last_elephants_end_shows_at_once_and_leaves_the_rest() -> None:
    node = Node()
    node.read()
    node.elephants_for(5)
    node.send("u1", tx=60 * MBIT, etx=50 * MBIT)  # it ended within this second
    found = node.after(1.0)
    assert only(found).etx == 0
    assert only(found).tx == pytest.approx(10e6)
    assert found is not None
    assert found.el == LinkRates()


def test_elephants_of_host_and_unattributed_count_for_the_node() -> None:
    node = Node()
    node.read()
    for _ in range(3):
        for owner, rate in ((HOST, 10), (UNATTRIBUTED, 20), ("u1", 30)):
            node.send(owner, tx=rate * MBIT, etx=rate * MBIT)
        found = node.after(1.0, [elephant(HOST), elephant(UNATTRIBUTED), elephant("u1")])
    assert found is not None
    assert found.el.tx == pytest.approx(60e6)
    assert found.host.tx == pytest.approx(10e6)
    assert found.un.tx == pytest.approx(20e6)


def test_what_tunnels_carry_is_in_no_sum() -> None:
    node = Node()
    node.read()
    for _ in range(3):
        node.send("u1", tx=MBIT)
        node.send(CARRIER, tx=2 * MBIT)
        found = node.after(1.0)
    assert node.aggregator.counted.all == 3 * MBIT
    assert found is not None
    assert (found.host, found.un, found.el) == (LinkRates(), LinkRates(), LinkRates())
    assert [pod.uid for pod in found.pods] == ["u1"]


def test_local_traffic_is_told_apart_and_no_elephant_of_the_link() -> None:
    node = Node()
    node.known = pods(pod("u1"), pod("u2"))
    node.read()
    for _ in range(3):
        node.send("u1", local=8 * MBIT)
        node.send("u2", local=8 * MBIT)
        found = node.after(1.0, [elephant("u1", "u2", local=True)])
    assert found is not None
    assert found.local == pytest.approx(8e6)
    assert {(p.tx, p.el) for p in found.pods} == {(0.0, 0)}


@pytest.mark.parametrize("info", [pod(phase="Pending"), pod(host_network=True)], ids=["pending", "host network"])
def test_pods_without_traffic_of_their_own_yet_or_ever(info: LocalPod) -> None:
    node = Node()
    node.known = pods(info)
    node.read()
    found = node.idle(3)
    # A pending pod with an address already runs as far as the network is concerned; host-network pods show only
    # where a source tells their traffic from the host's.
    assert len(found.pods) == (0 if info.host_network else 1)


def test_a_pod_on_the_nodes_network_shows_once_its_sockets_are_seen() -> None:
    node = Node()
    node.known = pods(pod("u1", host_network=True))
    node.read()
    for _ in range(3):
        node.send("u1", tx=8 * MBIT)
        found = node.after(1.0)
    assert found is not None
    [shown] = found.pods
    assert shown.uid == "u1"
    assert shown.tx == pytest.approx(8e6)
    node.owners.clear()
    node.epoch += 1
    found = node.idle(3)
    assert found.pods == (), "a source that does not tell it from the host"


def test_a_pod_without_an_address_is_not_measured_as_quiet() -> None:
    node = Node()
    node.known = {"u1": LocalPod(uid="u1", ns="d", name="n", workload="w", phase="Pending")}
    node.read()
    assert node.idle(60).pods == ()


@pytest.mark.parametrize("end", ["Succeeded", "Failed", None])
def test_an_ended_pod_teaches_what_it_did_while_it_ran(end: str | None) -> None:
    node = Node()
    node.read()
    node.elephants_for(12)
    node.idle(3)  # a job's last seconds are idle
    node.known = pods(pod(phase=end)) if end else {}
    found = node.after(1.0)
    assert found is not None
    assert found.pods == ()
    [taught] = found.ended
    assert taught.cls is TrafficClass.ELEPHANT
    assert taught.tx == pytest.approx(100e6, rel=0.05)
    assert taught.etx == pytest.approx(100e6, rel=0.05)
    assert taught.el == 1
    assert found.el == LinkRates()  # but it uses the link no more


def test_a_pod_of_a_few_seconds_still_teaches() -> None:
    node = Node()
    node.read()
    node.elephants_for(2)
    node.known = {}
    found = node.after(1.0)
    assert found is not None
    [taught] = found.ended
    assert taught.cls is TrafficClass.ELEPHANT


def test_a_pod_with_one_sample_teaches_nothing() -> None:
    node = Node()
    node.known = {}
    node.read()
    node.idle(3)
    node.known = pods(pod())
    node.send("u1", tx=10**9)
    node.after(1.0)
    node.known = pods(pod(phase="Succeeded"))
    found = node.after(1.0)
    assert found is not None
    # The interval in which it ended is its second sample: it may teach from there on, never from one.
    assert len(found.ended) == 1
    other = Node()
    other.known = {}
    other.read()
    other.idle(3)
    other.known = pods(pod(phase="Succeeded"))
    assert other.idle(2).ended == ()


def test_ended_pods_stay_for_their_retention() -> None:
    node = Node(retention=30.0)
    node.read()
    node.elephants_for(5)
    node.known = {}
    assert len(node.idle(1).ended) == 1
    assert len(node.idle(29).ended) == 1
    assert len(node.idle(2).ended) == 0


def test_ended_pods_are_bounded_per_workload_and_in_all_the_latest_kept() -> None:
    node = Node()
    node.read()
    for index in range(ENDED_LIMIT + 20):
        node.known = pods(pod(f"a{index}", workload="Job/same"), pod(f"b{index}", workload=f"Job/{index}"))
        node.idle(3)
        node.known = {}
        found = node.idle(1)
    assert len(found.ended) == ENDED_LIMIT
    same = [ended.uid for ended in found.ended if ended.wl == "Job/same"]
    assert len(same) == ENDED_PER_WORKLOAD
    assert f"a{ENDED_LIMIT + 19}" in same


def test_what_an_earlier_agent_published_of_ended_pods_goes_on_teaching() -> None:
    node = Node(retention=30.0)
    old = PodFootprint("old", "d", "old", "Job/j", TrafficClass.ELEPHANT, tx=1e8)
    node.aggregator.restore([old], node.now)
    node.read()
    assert node.idle(3).ended == (old,)
    assert node.idle(30).ended == ()


def test_a_loss_is_a_reason_while_it_is_recent() -> None:
    node = Node()
    node.read()
    assert node.idle(2).bad == ()
    node.lost = {LossKind.EVENTS_OVERRUN: 1}
    assert node.idle(1).bad == ("events-overrun",)
    assert node.idle(int(LOSS_MEMORY) - 1).bad == ("events-overrun",)
    assert node.idle(1).bad == ()


def test_flows_and_mice_share_come_from_what_was_born_and_ended() -> None:
    node = Node()
    node.read()
    for _ in range(60):
        counters = node.owners.setdefault("u1", Counters())
        counters.flows_born += 4
        counters.flows_ended += 4
        counters.mice_ended += 3
        node.after(1.0)
    found = only(node.idle(1))
    assert found.nf == pytest.approx(4, rel=0.1)
    assert found.ms == pytest.approx(0.75)
    assert only(node.idle(7200)).ms == pytest.approx(0.75)  # the share stands while nothing ends


def test_whatever_the_source_counts_the_result_can_be_published() -> None:
    node = Node()
    node.read()
    for _ in range(4):
        node.send("u1", tx=2**80, rx=2**80, etx=2**80, local=2**80)
        node.send(HOST, tx=2**80, etx=2**80)
        node.owners["u1"].flows_born += 2**70
        found = node.after(0.001)
    assert found is not None
    assert decode(encode(found).text) == quantised(found)
